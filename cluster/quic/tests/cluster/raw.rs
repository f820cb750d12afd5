//! A stranger made by hand: any certificate, any bytes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::{CLUSTER, within};

pub(crate) type Identity = (CertificateDer<'static>, PrivateKeyDer<'static>);

/// A certificate signed by the authority in this folder, with the names as they are given.
pub(crate) fn forge(authority: &Path, names: &[String]) -> Identity {
    let pem = std::fs::read_to_string(authority.join("ca.pem")).unwrap();
    let key = std::fs::read_to_string(authority.join("ca.key")).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&pem, KeyPair::from_pem(&key).unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    let dns = |name: &String| SanType::DnsName(name.clone().try_into().unwrap());
    params.subject_alt_names = names.iter().map(dns).collect();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, &issuer).unwrap();
    (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
}

/// A name as certificates carry it.
pub(crate) fn hex(name: &str, ending: &str) -> String {
    let digits: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{digits}.{ending}.headwater")
}

pub(crate) fn names(node: &str, cluster: &str) -> Vec<String> {
    vec![hex(node, "node"), hex(cluster, "cluster")]
}

/// A client at this address of the loopback network, so that its log lines can be told apart.
pub(crate) struct Raw {
    endpoint: Endpoint,
    config: quinn::ClientConfig,
}

impl Raw {
    /// Trusts the authority in the folder, whoever signed its own certificate.
    pub(crate) fn new(source: &str, authority: &Path, own: Option<Identity>, alpn: &str) -> Raw {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority.join("ca.pem")).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let mut tls = match own {
            Some((certificate, key)) => {
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        tls.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let source: SocketAddr = format!("{source}:0").parse().unwrap();
        Raw { endpoint: Endpoint::client(source).unwrap(), config }
    }

    pub(crate) async fn connect(&self, to: SocketAddr) -> Result<Connection, ConnectionError> {
        let name = hex(CLUSTER, "cluster");
        within(self.endpoint.connect_with(self.config.clone(), to, &name).unwrap()).await
    }
}

/// Opens the handshake's stream and writes these bytes.
pub(crate) async fn say(connection: &Connection, bytes: &[u8]) -> (SendStream, RecvStream) {
    let (mut send, receive) = connection.open_bi().await.unwrap();
    send.write_all(bytes).await.unwrap();
    (send, receive)
}

/// A Hello as the wire has it.
pub(crate) fn hello(cluster: &str, node: &str, lanes: u16) -> Vec<u8> {
    let mut body = vec![1, 0, 1, 0, 1];
    let text = |body: &mut Vec<u8>, text: &str| {
        body.extend((text.len() as u16).to_be_bytes());
        body.extend(text.as_bytes());
    };
    text(&mut body, cluster);
    text(&mut body, node);
    body.extend(1_u64.to_be_bytes());
    body.extend(lanes.to_be_bytes());
    body.extend(1_000_000_u32.to_be_bytes());
    text(&mut body, "host:1");
    frame(&body)
}

pub(crate) fn frame(body: &[u8]) -> Vec<u8> {
    [b"hwq1".as_slice(), &(body.len() as u16).to_be_bytes(), body].concat()
}

/// The code and text with which the other side closed.
pub(crate) async fn refused(connection: &Connection) -> (u64, String) {
    match within(connection.closed()).await {
        ConnectionError::ApplicationClosed(close) => {
            (close.error_code.into_inner(), String::from_utf8(close.reason.to_vec()).unwrap())
        }
        // A TLS alert, as QUIC carries it.
        ConnectionError::ConnectionClosed(close) => (close.error_code.into(), String::new()),
        other => panic!("not refused but {other}"),
    }
}
