//! What can go wrong before a socket serves.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Why TLS cannot be served. None of these holds a byte of a key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read, or that does not fit the other one.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file at fault.
        path: PathBuf,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// The UDP address of HTTP/3 cannot be bound.
    #[error("cannot listen on {address} over UDP: {source}; free the port or choose another")]
    Address {
        /// The address asked for.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// TLS refuses its settings, or the system has no randomness to give.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

impl TlsError {
    pub(crate) fn file(path: &Path, problem: impl Into<String>) -> TlsError {
        TlsError::File { path: path.to_owned(), problem: problem.into() }
    }

    pub(crate) fn setup(error: impl ToString) -> TlsError {
        TlsError::Setup(error.to_string())
    }
}
