//! HTTP/3: one QUIC endpoint whose requests an `axum::Router` answers.

mod body;
mod connection;
mod meter;
mod quic;
mod request;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use h3::error::Code;
use quinn::crypto::rustls::QuicServerConfig;
use rustls::version::TLS13;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::certificate::Certificate;
use crate::error::TlsError;

/// The protocol, as TLS names it.
const ALPN: [&[u8]; 1] = [b"h3"];
/// How long a connection may be silent; the server does not keep one alive that nobody uses.
const IDLE: Duration = Duration::from_secs(30);
/// Requests that one connection may run at once.
const REQUESTS_MAX: u32 = 256;
/// Streams of one direction that a client may have open: HTTP/3 needs three, and allows for more.
const OTHER_STREAMS_MAX: u32 = 16;
/// What one request's body may have on its way, in bytes.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// What all bodies of one connection may have on their way, in bytes.
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// Connections that may wait for the accept loop, which takes each at once.
const INCOMING_MAX: usize = 1024;
/// Handshakes that may run at once; past them, a new connection is refused.
const HANDSHAKES_MAX: usize = 1024;
/// Past so many, a client must first show that it hears at its address, which a forged one fails.
const HANDSHAKES_CALM: usize = 128;

/// A bound endpoint of HTTP/3; it serves with [`Http3::serve`].
pub struct Http3 {
    endpoint: quinn::Endpoint,
}

impl Http3 {
    /// Binds the UDP address; within a tokio runtime.
    ///
    /// # Errors
    /// [`TlsError::Address`] when the address cannot be bound, [`TlsError::Setup`] when the
    /// system has no randomness for session tickets.
    pub fn bind(address: SocketAddr, certificate: &Certificate) -> Result<Http3, TlsError> {
        let tls = QuicServerConfig::try_from(certificate.server(&[&TLS13], &ALPN)?);
        let tls = tls.map_err(TlsError::setup)?;
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(tls));
        server.transport_config(Arc::new(transport())).max_incoming(INCOMING_MAX);
        let endpoint = quinn::Endpoint::server(server, address)
            .map_err(|source| TlsError::Address { address, source })?;
        Ok(Http3 { endpoint })
    }

    /// Where the endpoint is bound, its port the one that the system chose where 0 was asked for.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Answers requests until `stop` resolves, then takes no new ones, tells clients so (GOAWAY),
    /// lets those that run get to their end and closes. The caller bounds that time: dropping
    /// the future ends everything at once.
    ///
    /// Bodies stream both ways; trailers are dropped. Each request is a task of its own. The
    /// handler's future, or the body that it returned, is dropped as soon as the client's word
    /// arrives, also while the handler is silent, when the client
    /// - closes its connection, or is silent for 30 s;
    /// - stops the stream (STOP_SENDING), which is how HTTP/3 cancels a request.
    ///
    /// A client that only resets its own side, in the middle of a body, is noticed at the
    /// handler's next read of that body, which then ends the request.
    pub async fn serve(self, router: Router, stop: impl Future<Output = ()> + Send + 'static) {
        let (stopping, stopped) = watch::channel(false);
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        let mut connections = JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            let incoming = tokio::select! {
                () = &mut stop => break,
                Some(_) = connections.join_next() => continue,
                incoming = self.endpoint.accept() => incoming,
            };
            let Some(incoming) = incoming else {
                tracing::error!("the UDP socket of HTTP/3 failed; HTTP/3 ends");
                break;
            };
            let Ok(handshake) = Arc::clone(&handshakes).try_acquire_owned() else {
                incoming.refuse();
                continue;
            };
            let calm = handshakes.available_permits() >= HANDSHAKES_MAX - HANDSHAKES_CALM;
            if !calm && incoming.may_retry() {
                let _ = incoming.retry();
                continue;
            }
            let (router, stopped) = (router.clone(), stopped.clone());
            connections.spawn(connection::serve(incoming, handshake, router, stopped));
        }
        let _ = stopping.send(true);
        self.drain(connections).await;
    }

    async fn drain(&self, mut connections: JoinSet<()>) {
        while !connections.is_empty() {
            tokio::select! {
                _ = connections.join_next() => {}
                // A refusal tells a client at once; silence would let it wait.
                Some(incoming) = self.endpoint.accept() => incoming.refuse(),
            }
        }
        self.endpoint.close(stream::code(Code::H3_NO_ERROR), b"");
        self.endpoint.wait_idle().await;
    }
}

fn transport() -> quinn::TransportConfig {
    let mut transport = quinn::TransportConfig::default();
    transport
        // A time too long for QUIC to say is none at all; this one is not.
        .max_idle_timeout(IDLE.try_into().ok())
        .max_concurrent_bidi_streams(REQUESTS_MAX.into())
        .max_concurrent_uni_streams(OTHER_STREAMS_MAX.into())
        .stream_receive_window(STREAM_WINDOW_BYTES.into())
        .receive_window(CONNECTION_WINDOW_BYTES.into())
        .send_window(CONNECTION_WINDOW_BYTES.into())
        .datagram_receive_buffer_size(None);
    transport
}
