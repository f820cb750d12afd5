//! What the proxy tells of each decision.

use std::net::SocketAddr;

use crate::grant::Labels;
use crate::refusal::Refusal;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Connection,
    Request,
    Tunnel,
    Name,
}

/// The words of the question, as far as they could be read; never a query, a header or a body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asked {
    pub host: String,
    pub port: u16,
    pub method: String,
    /// The path without its query, at most 256 characters.
    pub path: String,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Allowed {
        /// Where the connection went; none for a name.
        address: Option<SocketAddr>,
        /// The status of the answer; 0 for a tunnel or a name.
        status: u16,
        bytes_out: u64,
        bytes_in: u64,
        duration_ms: u64,
        /// Why it ended before its end.
        cut: Option<Refusal>,
    },
    Refused(Refusal),
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressEvent {
    pub labels: Labels,
    pub kind: Kind,
    pub asked: Asked,
    pub verdict: Verdict,
}

/// Hears every decision. Called from the proxy's tasks: it must return at once.
pub trait Hears: Send + Sync {
    fn heard(&self, event: EgressEvent);
}

impl<F: Fn(EgressEvent) + Send + Sync> Hears for F {
    fn heard(&self, event: EgressEvent) {
        self(event);
    }
}
