//! Settings of the proxy: where its sockets lie, and how long it waits.

use std::path::PathBuf;

use rustls_pki_types::CertificateDer;

/// What an [`Egress`](crate::Egress) is opened with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder of the sockets; made with mode 0700 where it is missing. Short: a socket's path
    /// holds at most 107 bytes.
    pub folder: PathBuf,
    /// Certificate authorities beside Mozilla's, for TLS that the proxy speaks.
    pub roots: Vec<CertificateDer<'static>>,
    /// For a name to be resolved, in milliseconds.
    pub resolve_ms: u64,
    /// For a connection and its TLS handshake, in milliseconds.
    pub connect_ms: u64,
    /// For the head of a request, and for the first bytes of a tunnel, in milliseconds.
    pub head_ms: u64,
    /// For the head of an answer, in milliseconds.
    pub answer_ms: u64,
    /// Without a byte in either direction, in milliseconds.
    pub idle_ms: u64,
    /// For a whole request or tunnel, in milliseconds.
    pub whole_ms: u64,
    /// The largest head of a request or of an answer, in bytes.
    pub head_bytes: usize,
}

impl Settings {
    /// The usual waits: seconds to connect, minutes for a whole request.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            roots: Vec::new(),
            resolve_ms: 5_000,
            connect_ms: 5_000,
            head_ms: 10_000,
            answer_ms: 60_000,
            idle_ms: 60_000,
            whole_ms: 600_000,
            head_bytes: 32 << 10,
        }
    }

    /// # Errors
    /// The first field that is out of its range.
    pub fn check(&self) -> Result<(), SettingsError> {
        let waits = [
            ("resolve_ms", self.resolve_ms),
            ("connect_ms", self.connect_ms),
            ("head_ms", self.head_ms),
            ("answer_ms", self.answer_ms),
            ("idle_ms", self.idle_ms),
            ("whole_ms", self.whole_ms),
        ];
        for (field, value) in waits {
            if !(1..=3_600_000).contains(&value) {
                return Err(SettingsError { field, value, least: 1, most: 3_600_000 });
            }
        }
        if !(8_192..=1 << 20).contains(&self.head_bytes) {
            let value = self.head_bytes as u64;
            return Err(SettingsError { field: "head_bytes", value, least: 8_192, most: 1 << 20 });
        }
        Ok(())
    }
}

/// A setting out of its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}; choose a number from {least} to {most}")]
pub struct SettingsError {
    pub field: &'static str,
    pub value: u64,
    pub least: u64,
    pub most: u64,
}
