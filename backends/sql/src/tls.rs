//! TLS under the database's protocol, or none.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as RustlsStream;

use crate::meter::Metered;
use crate::settings::{SettingsError, Tls};

/// Makes secured streams to one host; cheap to clone.
#[derive(Clone)]
pub(crate) struct Connector {
    connector: TlsConnector,
    host: ServerName<'static>,
    pub(crate) mode: SslMode,
}

impl Connector {
    pub(crate) fn new(host: &str, tls: &Tls) -> Result<Connector, SettingsError> {
        let mut roots = RootCertStore::empty();
        let mode = match tls {
            Tls::Off => SslMode::Disable,
            Tls::Verify { ca_file } => {
                roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
                if let Some(file) = ca_file {
                    add(&mut roots, file)?;
                }
                SslMode::Require
            }
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| SettingsError::new("tls", error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let host = ServerName::try_from(host.to_owned())
            .map_err(|_| SettingsError::new("host", "must be a host's name or address"))?;
        Ok(Connector { connector: TlsConnector::from(Arc::new(config)), host, mode })
    }
}

fn add(roots: &mut RootCertStore, file: &Path) -> Result<(), SettingsError> {
    let wrong = |why: String| {
        let why = format!("{}: {why}; name a PEM file of certificates", file.display());
        SettingsError::new("ca_file", why)
    };
    let found = CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
    let mut count = 0;
    for certificate in found {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        count += 1;
    }
    if count == 0 {
        return Err(wrong("holds no certificate".to_owned()));
    }
    Ok(())
}

impl TlsConnect<Metered> for Connector {
    type Stream = Secured;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Secured>> + Send>>;

    fn connect(self, stream: Metered) -> Self::Future {
        Box::pin(async move {
            let secured = self.connector.connect(self.host, stream).await?;
            Ok(Secured(Box::new(secured)))
        })
    }
}

/// A stream that nobody on the way can read.
pub(crate) struct Secured(Box<RustlsStream<Metered>>);

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(context)
    }
}

impl TlsStream for Secured {
    /// None: the host's name is verified in any case.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}
