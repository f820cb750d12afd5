//! The edge's sockets: HTTPS over TCP, with certificates that reload, and HTTP/3 over QUIC. What
//! they serve is an `axum::Router`; the node binds and wires them.
//!
//! Cancels are told promptly: a client that closes its connection or stops its stream drops the
//! handler's future, also while the handler is silent. See [`Http3::serve`].

mod certificate;
mod error;
mod http3;
mod listener;

use std::sync::Arc;

use http::HeaderValue;
use rustls::crypto::CryptoProvider;

pub use certificate::Certificate;
pub use error::TlsError;
pub use http3::Http3;
pub use listener::{TlsListener, TlsSettings};

#[cfg(test)]
mod tests;

/// How long a client may remember that HTTP/3 is offered, in seconds.
const OFFER_S: u32 = 86_400;

/// The `Alt-Svc` field of answers over TCP: HTTP/3 is served on this UDP port of the same host,
/// for the next day.
pub fn alt_svc(port: u16) -> HeaderValue {
    let offer = format!("h3=\":{port}\"; ma={OFFER_S}");
    // Digits and these signs are always a valid value; no offer is the harmless other case.
    HeaderValue::try_from(offer).unwrap_or_else(|_| HeaderValue::from_static("clear"))
}

/// Named here, so that no other crate's choice of a process-wide default matters.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
