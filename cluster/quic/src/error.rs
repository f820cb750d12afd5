//! Why the transport or the authority could not do what it was asked for.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// An error of starting, of reloading, or of the authority.
#[derive(Debug, thiserror::Error)]
pub enum QuicError {
    /// A setting is out of its range.
    #[error("the cluster settings are wrong: {0}")]
    Settings(String),
    /// A certificate or key is missing, unreadable or not this node's.
    #[error("{path}: {problem}")]
    Identity { path: PathBuf, problem: String },
    /// The UDP address cannot be bound.
    #[error("cannot listen on udp {address}: {source}; choose another address or stop its owner")]
    Listen { address: SocketAddr, source: io::Error },
}

impl QuicError {
    pub(crate) fn identity(path: &Path, problem: impl ToString) -> QuicError {
        QuicError::Identity { path: path.to_owned(), problem: problem.to_string() }
    }
}
