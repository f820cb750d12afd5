//! The node's sockets for clients: HTTP, or HTTPS and HTTP/3 on one port number.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderName;
use axum::middleware::map_response;
use axum::response::Response;
use axum::serve::ListenerExt;
use headwater_edge_tls::{Certificate, Http3, TlsError, TlsListener, TlsSettings, alt_svc};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::config::ServerSettings;
use crate::failure::{Failure, FailureKind};

/// How often the certificate's files are looked at.
const LOOK: Duration = Duration::from_secs(10);
/// Tells clients of HTTP/1.1 and HTTP/2 where HTTP/3 is.
const ALT_SVC: HeaderName = HeaderName::from_static("alt-svc");

/// Bound, and not served yet.
pub(crate) struct Sockets {
    tcp: TcpListener,
    address: SocketAddr,
    secure: Option<Secure>,
}

struct Secure {
    certificate: Certificate,
    http3: Option<Http3>,
}

impl Sockets {
    /// # Errors
    /// Kind `Address` when the port is taken, `Settings` when the certificate cannot be used.
    pub(crate) async fn bind(settings: &ServerSettings) -> Result<Sockets, Failure> {
        let certificate = match &settings.tls {
            None => None,
            Some(files) => {
                let opened = Certificate::open(&files.certificate, &files.key);
                Some(opened.map_err(|error| Failure::settings(format!("server.tls: {error}")))?)
            }
        };
        let listen = settings.listen;
        let tcp = TcpListener::bind(listen).await.map_err(|error| taken(listen, &error))?;
        let address = tcp.local_addr().map_err(Failure::broken)?;
        let secure = match certificate {
            None => None,
            Some(certificate) => {
                let http3 = settings.http3.then(|| Http3::bind(address, &certificate));
                let http3 = http3.transpose().map_err(|error| of_http3(address, error))?;
                Some(Secure { certificate, http3 })
            }
        };
        Ok(Sockets { tcp, address, secure })
    }

    /// Of all of them; its port is that of TCP and of UDP.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is stopped; what runs by then gets to its end.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub(crate) fn serve(
        self,
        router: Router,
        stopped: oneshot::Receiver<()>,
    ) -> Result<JoinHandle<io::Result<()>>, Failure> {
        let Some(Secure { certificate, http3 }) = self.secure else {
            // Small answers must not wait for Nagle's algorithm.
            let listener = self.tcp.tap_io(|stream| {
                let _ = stream.set_nodelay(true);
            });
            let stop = async {
                let _ = stopped.await;
            };
            let serving = axum::serve(listener, router).with_graceful_shutdown(stop);
            return Ok(tokio::spawn(async { serving.await }));
        };
        let listener = TlsListener::new(self.tcp, &certificate, TlsSettings::default());
        let listener = listener.map_err(Failure::broken)?;
        tokio::spawn(certificate.follow(LOOK));
        // Its end is the word for both.
        let (running, stop) = watch::channel(());
        let told = match &http3 {
            None => router.clone(),
            Some(_) => {
                let offer = alt_svc(self.address.port());
                router.clone().layer(map_response(move |mut response: Response| {
                    response.headers_mut().insert(ALT_SVC, offer.clone());
                    async { response }
                }))
            }
        };
        let tcp = axum::serve(listener, told).with_graceful_shutdown(ended(stop.clone()));
        Ok(tokio::spawn(async move {
            let udp = async {
                if let Some(http3) = http3 {
                    http3.serve(router, ended(stop)).await;
                }
            };
            let stopping = async {
                let _ = stopped.await;
                drop(running);
            };
            tokio::join!(tcp, udp, stopping).0
        }))
    }
}

async fn ended(mut stop: watch::Receiver<()>) {
    while stop.changed().await.is_ok() {}
}

fn taken(address: SocketAddr, error: &dyn std::fmt::Display) -> Failure {
    let advice = "free the port or choose another with --listen";
    Failure::new(FailureKind::Address, format!("cannot listen on {address}: {error}; {advice}"))
}

fn of_http3(address: SocketAddr, error: TlsError) -> Failure {
    match error {
        TlsError::Address { source, .. } => taken(address, &format!("UDP, for HTTP/3: {source}")),
        error => Failure::broken(error),
    }
}
