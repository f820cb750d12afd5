//! TLS over TCP, for `axum::serve`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use rustls::version::{TLS12, TLS13};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::certificate::Certificate;
use crate::error::TlsError;

/// What a client may choose from, the server's favourite first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// How long accepting rests when the system has no socket to give.
const REST: Duration = Duration::from_secs(1);

/// What handshakes may take.
#[derive(Clone, Copy, Debug)]
pub struct TlsSettings {
    /// How long one handshake may last before its connection is dropped; 10 s by default.
    pub handshake_timeout: Duration,
    /// How many may run at once; past them, a new connection is dropped. 1024 by default.
    pub handshakes_max: usize,
}

impl Default for TlsSettings {
    fn default() -> Self {
        TlsSettings { handshake_timeout: Duration::from_secs(10), handshakes_max: 1024 }
    }
}

/// Accepts TLS connections. Each handshake is a task of its own, so that a slow client holds up
/// nobody; dropping the listener ends those that run.
pub struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    settings: TlsSettings,
    handshakes: JoinSet<Option<(TlsStream<TcpStream>, SocketAddr)>>,
    /// When accepting goes on.
    rested: Instant,
}

impl TlsListener {
    /// Serves TLS 1.2 and 1.3 on a bound socket, HTTP/2 or HTTP/1.1 by ALPN.
    ///
    /// # Errors
    /// [`TlsError::Setup`] when the system has no randomness for session tickets.
    pub fn new(
        listener: TcpListener,
        certificate: &Certificate,
        settings: TlsSettings,
    ) -> Result<TlsListener, TlsError> {
        let acceptor = TlsAcceptor::from(Arc::new(certificate.server(&[&TLS13, &TLS12], &ALPN)?));
        let (handshakes, rested) = (JoinSet::new(), Instant::now());
        Ok(TlsListener { listener, acceptor, settings, handshakes, rested })
    }

    fn shake_hands(&mut self, stream: TcpStream, peer: SocketAddr) {
        if self.handshakes.len() >= self.settings.handshakes_max {
            tracing::debug!(%peer, "dropped a connection: too many TLS handshakes run");
            return;
        }
        let limit = self.settings.handshake_timeout;
        let handshake = self.acceptor.accept(stream);
        self.handshakes.spawn(async move {
            match timeout(limit, handshake).await {
                Ok(Ok(stream)) => return Some((stream, peer)),
                Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
                Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
            }
            None
        });
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            tokio::select! {
                accepted = accept_from(&self.listener, self.rested) => match accepted {
                    Ok((stream, peer)) => {
                        // Small answers must not wait for Nagle's algorithm.
                        let _ = stream.set_nodelay(true);
                        self.shake_hands(stream, peer);
                    }
                    Err(error) if is_of_the_peer(&error) => {}
                    Err(error) => {
                        tracing::error!(%error, "cannot accept a connection; trying again");
                        self.rested = Instant::now() + REST;
                    }
                },
                Some(ended) = self.handshakes.join_next() => {
                    if let Ok(Some(ready)) = ended {
                        return ready;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

async fn accept_from(
    listener: &TcpListener,
    rested: Instant,
) -> io::Result<(TcpStream, SocketAddr)> {
    sleep_until(rested).await;
    listener.accept().await
}

/// Errors of one connection say nothing about the next.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
