//! The server's certificate: read from two PEM files, and read again when they change.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::TlsError;
use crate::provider;

/// A certificate chain and its key. Clones share one, so that a reload reaches every socket:
/// new connections are shown the new chain, running ones keep theirs.
#[derive(Clone)]
pub struct Certificate(Arc<Files>);

struct Files {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    /// Reads a PEM chain, the server's own certificate first, and its PEM key in PKCS#8, PKCS#1
    /// or SEC1, not encrypted.
    ///
    /// # Errors
    /// [`TlsError::File`] when a file cannot be read or the key does not fit the certificate.
    pub fn open(certificate: &Path, key: &Path) -> Result<Certificate, TlsError> {
        let current = RwLock::new(Arc::new(read(certificate, key)?));
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        Ok(Certificate(Arc::new(Files { certificate, key, current })))
    }

    /// Reads the files again; true when the chain changed. On an error the one before goes on.
    ///
    /// # Errors
    /// See [`Certificate::open`].
    pub fn reload(&self) -> Result<bool, TlsError> {
        let fresh = read(&self.0.certificate, &self.0.key)?;
        let mut current = self.0.current.write().unwrap_or_else(PoisonError::into_inner);
        // A key fits only its own chain: the same chain is the same key.
        let changed = current.cert != fresh.cert;
        if changed {
            *current = Arc::new(fresh);
        }
        Ok(changed)
    }

    /// Reloads every so often, for as long as it is polled. Logs each change, and a failure once
    /// until it is another or over: renewals replace two files one after the other, so that a
    /// short misfit is normal.
    pub async fn follow(self, every: Duration) {
        let mut told = None;
        loop {
            tokio::time::sleep(every).await;
            let certificate = self.clone();
            // The files may lie on a network, and a worker thread must not wait for that.
            let reload = tokio::task::spawn_blocking(move || certificate.reload());
            let Ok(reloaded) = reload.await else { return };
            let path = self.0.certificate.display();
            match reloaded {
                Ok(changed) => {
                    told = None;
                    if changed {
                        tracing::info!(%path, "the certificate changed; new connections get it");
                    }
                }
                Err(error) => {
                    let problem = error.to_string();
                    if told.as_ref() != Some(&problem) {
                        tracing::warn!(%problem, "the certificate stays the one before");
                        told = Some(problem);
                    }
                }
            }
        }
    }

    /// TLS settings that show this certificate, for these protocols in the server's order.
    pub(crate) fn server(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&[u8]],
    ) -> Result<ServerConfig, TlsError> {
        let mut tls = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .map_err(TlsError::setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        tls.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        tls.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(TlsError::setup)?;
        Ok(tls)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (certificate, key) = (&self.0.certificate, &self.0.key);
        let mut out = out.debug_struct("Certificate");
        out.field("certificate", certificate).field("key", key).finish_non_exhaustive()
    }
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let pem = contents(certificate)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    // The parser's own words can quote a line of the file, which may be a key.
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| {
        let wanted = "name the PEM file of the whole chain";
        TlsError::file(certificate, format!("holds no certificate that can be read; {wanted}"))
    })?;
    let pem = contents(key)?;
    let secret = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        let wanted = "name a PEM file in PKCS#8, PKCS#1 or SEC1 that is not encrypted";
        TlsError::file(key, format!("holds no private key that can be read; {wanted}"))
    })?;
    CertifiedKey::from_der(chain, secret, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            let other = certificate.display();
            let problem = format!("not the key of the certificate in {other}; name its key");
            TlsError::file(key, problem)
        }
        rustls::Error::InvalidCertificate(error) => {
            let problem = format!("the first certificate cannot be used: {error:?}");
            TlsError::file(certificate, problem)
        }
        _ => TlsError::file(key, "no key that TLS can use; use an RSA, ECDSA or Ed25519 key"),
    })
}

fn contents(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| {
        TlsError::file(path, format!("{error}; name a file that this process may read"))
    })
}
