//! Why a connection is refused or ended, as a code for the peer and as a line in the log.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use headwater_cluster::ProtocolRange;
use quinn::{ConnectionError, VarInt};

use crate::frame::FrameError;

/// One line per source and reason in this time.
const LOG_PAUSE: Duration = Duration::from_secs(60);
/// Sources and reasons that are remembered; beyond them only the count grows.
const LOG_ENTRIES_MAX: usize = 1_024;

/// Why a connection ends. The text goes to the peer, so it holds nothing that the peer lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("this side speaks protocol {} to {}, the peer {} to {}; upgrade one of them",
        own.oldest, own.newest, peer.oldest, peer.newest)]
    Version { own: ProtocolRange, peer: ProtocolRange },
    #[error("the peer belongs to another cluster")]
    Cluster,
    #[error("the peer's name is not the one in its certificate, or not the one expected")]
    Name,
    #[error("{0}")]
    Certificate(&'static str),
    #[error("this is the node itself")]
    Own,
    #[error("a newer incarnation of the peer is known")]
    Stale,
    #[error("the pair has a link already")]
    Duplicate,
    #[error("a newer connection of the pair took its place")]
    Replaced,
    #[error("the peer sent {0}")]
    Frame(#[from] FrameError),
    #[error("the handshake took too long")]
    Slow,
    #[error("too many handshakes at once")]
    Busy,
    #[error("this node was told to forget the peer")]
    Forgotten,
    #[error("the node is closing")]
    Closing,
    #[error("the pair has no such link")]
    NoLink,
    #[error("the control stream was dropped")]
    ControlDropped,
    #[error("this node uses no control streams")]
    ControlUnused,
    /// The connection ended by itself or by the peer.
    #[error("{0}")]
    Lost(String),
    /// The peer ended it, with a code of ours.
    #[error("the peer ended it: {reason}")]
    ByPeer { code: u32, reason: String },
}

impl Refusal {
    pub(crate) const DUPLICATE: u32 = 7;
    pub(crate) const CONTROL_UNUSED: u32 = 16;

    pub(crate) fn code(&self) -> u32 {
        match self {
            Refusal::Version { .. } => 1,
            Refusal::Cluster => 2,
            Refusal::Name => 3,
            Refusal::Certificate(_) => 4,
            Refusal::Own => 5,
            Refusal::Stale => 6,
            Refusal::Duplicate => Refusal::DUPLICATE,
            Refusal::Replaced => 8,
            Refusal::Frame(_) => 9,
            Refusal::Slow => 10,
            Refusal::Busy => 11,
            Refusal::Forgotten => 12,
            Refusal::Closing => 13,
            Refusal::NoLink => 14,
            Refusal::ControlDropped => 15,
            Refusal::ControlUnused => Refusal::CONTROL_UNUSED,
            Refusal::Lost(_) => 17,
            Refusal::ByPeer { .. } => 18,
        }
    }

    /// Part of a healthy cluster's life: neither logged as a warning nor counted.
    pub(crate) fn is_ordinary(&self) -> bool {
        let code = match self {
            Refusal::ByPeer { code, .. } => *code,
            own => own.code(),
        };
        matches!(code, 5 | 7 | 8 | 12..=16)
    }

    pub(crate) fn close(&self, connection: &quinn::Connection) {
        connection.close(VarInt::from_u32(self.code()), self.to_string().as_bytes());
    }
}

impl From<ConnectionError> for Refusal {
    fn from(error: ConnectionError) -> Refusal {
        match error {
            ConnectionError::ApplicationClosed(close) => Refusal::ByPeer {
                code: close.error_code.into_inner().try_into().unwrap_or(u32::MAX),
                // Escaped: the peer must not write lines into our log.
                reason: String::from_utf8_lossy(&close.reason).escape_debug().to_string(),
            },
            ConnectionError::TimedOut => Refusal::Lost("no sign of life from the peer".to_owned()),
            ConnectionError::LocallyClosed => Refusal::Lost("this side closed it".to_owned()),
            other => Refusal::Lost(other.to_string().escape_debug().to_string()),
        }
    }
}

/// Counts the refusals, and logs each source and reason once in a while.
#[derive(Default)]
pub(crate) struct Refusals {
    count: AtomicU64,
    logged: Mutex<BTreeMap<(IpAddr, u32), Instant>>,
}

impl Refusals {
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// A connection from this source was refused.
    pub(crate) fn refused(&self, source: IpAddr, refusal: &Refusal) {
        if refusal.is_ordinary() {
            return tracing::debug!(%source, reason = %refusal, "cluster connection not kept");
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        if self.may_log(source, refusal.code()) {
            tracing::warn!(%source, reason = %refusal, "cluster connection refused");
        }
    }

    /// Dialling this address failed.
    pub(crate) fn undialled(&self, to: IpAddr, refusal: &Refusal) {
        // The dialler's lines and the acceptor's do not hide each other.
        if !refusal.is_ordinary() && self.may_log(to, refusal.code() | 1 << 16) {
            tracing::warn!(%to, reason = %refusal, "cluster node not linked; dialling again");
        }
    }

    /// A name did not resolve.
    pub(crate) fn unresolved(&self, name: &str, problem: &str) {
        // All names share a line per minute: a name that fails is seldom alone.
        if self.may_log(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 1 << 17) {
            tracing::warn!(name, problem, "cluster address not resolved; trying again");
        }
    }

    fn may_log(&self, source: IpAddr, code: u32) -> bool {
        let now = Instant::now();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: &Instant| now.duration_since(*at) < LOG_PAUSE;
        if logged.get(&(source, code)).is_some_and(is_recent) {
            return false;
        }
        if logged.len() >= LOG_ENTRIES_MAX {
            logged.retain(|_, at| is_recent(at));
        }
        if logged.len() >= LOG_ENTRIES_MAX {
            return false;
        }
        logged.insert((source, code), now);
        true
    }
}
