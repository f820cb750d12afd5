//! Connections to the outside: to exactly the address that was checked, and TLS over them.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::host::HostName;
use crate::refusal::Refusal;
use crate::settings::Settings;

/// Anything that bytes go over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(crate) type AnyStream = Pin<Box<dyn Stream>>;

/// Opens a connection to an address; the tests have a double that says where it was sent.
#[async_trait]
pub(crate) trait Dial: Send + Sync {
    async fn dial(&self, address: SocketAddr) -> io::Result<AnyStream>;
}

pub(crate) struct TcpDial;

#[async_trait]
impl Dial for TcpDial {
    async fn dial(&self, address: SocketAddr) -> io::Result<AnyStream> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::pin(stream))
    }
}

/// A client of TLS that trusts Mozilla's list and the settings' own roots.
pub(crate) fn connector(settings: &Settings) -> Result<TlsConnector, rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    for root in &settings.roots {
        roots.add(root.clone())?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Opens a connection within a time.
pub(crate) async fn open(
    dial: &dyn Dial,
    address: SocketAddr,
    connect_ms: u64,
) -> Result<AnyStream, Refusal> {
    match timeout(Duration::from_millis(connect_ms), dial.dial(address)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(_)) => Err(Refusal::Unreachable("it took no connection")),
        Err(_) => Err(Refusal::Deadline("connecting")),
    }
}

/// Speaks TLS with the host over a connection, within a time.
pub(crate) async fn secure(
    connector: &TlsConnector,
    host: &HostName,
    stream: AnyStream,
    connect_ms: u64,
) -> Result<AnyStream, Refusal> {
    let name = match host.address() {
        Some(address) => ServerName::from(address),
        None => ServerName::try_from(host.as_str().to_owned())
            .map_err(|_| Refusal::Unreachable("its name does not go into TLS"))?,
    };
    match timeout(Duration::from_millis(connect_ms), connector.connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(Box::pin(stream)),
        Ok(Err(_)) => Err(Refusal::Unreachable("its TLS handshake or certificate is not good")),
        Err(_) => Err(Refusal::Deadline("speaking TLS")),
    }
}
