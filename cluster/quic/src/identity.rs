//! TLS: this node's certificate turned into quinn's settings, and the names in a peer's.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use headwater_cluster::NodeId;
use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::error::QuicError;
use crate::frame::LANES_MAX;
use crate::names;
use crate::settings::QuicSettings;

/// The protocol of data connections, as TLS names it.
pub(crate) const ALPN_DATA: &[u8] = b"headwater-data/1";
/// The protocol of control connections.
pub(crate) const ALPN_CONTROL: &[u8] = b"headwater-control/1";
/// What one stream may have on its way: half a megabyte fills 500 MB/s at 1 ms.
const STREAM_WINDOW_BYTES: u32 = 512 << 10;
/// Connections that may wait for the accept loop, which takes each at once.
const INCOMING_MAX: usize = 256;

/// Quinn's settings made from one reading of the identity's files.
pub(crate) struct Identity {
    pub(crate) server: quinn::ServerConfig,
    pub(crate) data: quinn::ClientConfig,
    pub(crate) control: quinn::ClientConfig,
    /// What every node of this cluster is called as a server: TLS itself then refuses a
    /// certificate of another cluster.
    pub(crate) server_name: String,
}

/// Who a certificate says that its holder is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) cluster: String,
}

impl Identity {
    /// Reads the files and checks that they fit each other and the settings.
    pub(crate) fn load(settings: &QuicSettings) -> Result<Identity, QuicError> {
        let files = &settings.identity;
        let wrong_certificate =
            |problem: &dyn ToString| QuicError::identity(&files.certificate, problem.to_string());
        let chain = certificates(&files.certificate)?;
        let own = chain.first().map(Peer::of_certificate).transpose();
        let own = own.map_err(|problem| wrong_certificate(&problem))?;
        let named = Peer { node: settings.node.clone(), cluster: settings.cluster.clone() };
        if own.as_ref() != Some(&named) {
            let (node, cluster) = (&named.node, &named.cluster);
            let problem = format!("not the certificate of {node} in {cluster}; issue one");
            return Err(wrong_certificate(&problem));
        }
        let key = fs::read(&files.key).map_err(|error| QuicError::identity(&files.key, error))?;
        let key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|error| QuicError::identity(&files.key, error))?;
        let mut roots = RootCertStore::empty();
        for authority in certificates(&files.authority)? {
            roots.add(authority).map_err(|error| QuicError::identity(&files.authority, error))?;
        }
        let tls = Tls { roots: Arc::new(roots), chain, key, transport: transport(settings) };
        Ok(Identity {
            server: tls.server().map_err(|problem| wrong_certificate(&problem))?,
            data: tls.client(ALPN_DATA).map_err(|problem| wrong_certificate(&problem))?,
            control: tls.client(ALPN_CONTROL).map_err(|problem| wrong_certificate(&problem))?,
            server_name: names::of_cluster(&settings.cluster),
        })
    }
}

impl Peer {
    /// The names in a certificate whose chain TLS has already verified.
    pub(crate) fn of_connection(connection: &quinn::Connection) -> Result<Peer, &'static str> {
        let identity = connection.peer_identity().ok_or("the peer showed no certificate")?;
        let chain = identity
            .downcast::<Vec<CertificateDer<'static>>>()
            .map_err(|_| "the peer showed no certificate")?;
        Peer::of_certificate(chain.first().ok_or("the peer showed no certificate")?)
    }

    fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Peer, &'static str> {
        const UNREADABLE: &str = "the certificate cannot be read";
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| UNREADABLE)?;
        let alternative = parsed.subject_alternative_name().map_err(|_| UNREADABLE)?;
        let alternative = alternative.ok_or("the certificate names no node")?;
        let dns = || {
            alternative.value.general_names.iter().filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(*name),
                _ => None,
            })
        };
        // Two nodes in one certificate would be one holder with two names.
        let (mut nodes, mut clusters) =
            (dns().filter_map(names::node), dns().filter_map(names::cluster));
        match (nodes.next(), nodes.next(), clusters.next(), clusters.next()) {
            (Some(node), None, Some(cluster), None) => Ok(Peer { node, cluster }),
            _ => Err("the certificate does not name one node and one cluster"),
        }
    }
}

/// The protocol that TLS agreed on.
pub(crate) fn protocol(connection: &quinn::Connection) -> Option<Vec<u8>> {
    connection.handshake_data()?.downcast::<HandshakeData>().ok()?.protocol
}

/// Every certificate of a PEM file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, QuicError> {
    let pem = fs::read(path).map_err(|error| QuicError::identity(path, error))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(QuicError::identity(path, "holds no certificate")),
        Ok(found) => Ok(found),
        Err(error) => Err(QuicError::identity(path, error)),
    }
}

fn transport(settings: &QuicSettings) -> Arc<quinn::TransportConfig> {
    let idle = Duration::from_millis(settings.idle_timeout_ms);
    let mut transport = quinn::TransportConfig::default();
    // A time too long for QUIC to say is none at all.
    transport.max_idle_timeout(idle.try_into().ok());
    transport.keep_alive_interval(Some(idle / 4));
    transport.stream_receive_window(STREAM_WINDOW_BYTES.into());
    // One more for the handshake's own stream.
    transport.max_concurrent_bidi_streams((settings.streams + 1).into());
    transport.max_concurrent_uni_streams(u32::from(LANES_MAX).into());
    transport.datagram_receive_buffer_size(None);
    Arc::new(transport)
}

struct Tls {
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    transport: Arc<quinn::TransportConfig>,
}

impl Tls {
    fn server(&self) -> Result<quinn::ServerConfig, String> {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.roots), provider())
                .build()
                .map_err(|error| error.to_string())?;
        let mut tls = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&version::TLS13])
            .map_err(|error| error.to_string())?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(|error| error.to_string())?;
        tls.alpn_protocols = vec![ALPN_DATA.to_vec(), ALPN_CONTROL.to_vec()];
        // A resumed session would skip the certificate.
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        tls.send_tls13_tickets = 0;
        let tls = QuicServerConfig::try_from(tls).map_err(|error| error.to_string())?;
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(tls));
        server.transport_config(Arc::clone(&self.transport)).max_incoming(INCOMING_MAX);
        Ok(server)
    }

    fn client(&self, alpn: &[u8]) -> Result<quinn::ClientConfig, String> {
        let mut tls = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&version::TLS13])
            .map_err(|error| error.to_string())?
            .with_root_certificates(Arc::clone(&self.roots))
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
            .map_err(|error| error.to_string())?;
        tls.alpn_protocols = vec![alpn.to_vec()];
        tls.resumption = Resumption::disabled();
        let tls = QuicClientConfig::try_from(tls).map_err(|error| error.to_string())?;
        let mut client = quinn::ClientConfig::new(Arc::new(tls));
        client.transport_config(Arc::clone(&self.transport));
        Ok(client)
    }
}

/// Named here, so that no other crate's choice of a process-wide default matters.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
