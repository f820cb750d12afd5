//! What an engine fails with, told by what the caller should do.

use crate::limits::LimitError;

/// An engine's failure; how a program ended is no failure but an [`Outcome`](crate::Outcome).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// This host cannot run the engine, now or later: choose another one, or mend the host.
    #[error("engine {engine} cannot run here: {why}; {mend}")]
    Unable { engine: &'static str, why: String, mend: String },
    /// The caller asks for what the engine does not do.
    #[error("engine {engine} does not {what}")]
    Unsupported { engine: &'static str, what: String },
    /// A limit is out of its range, or greater than the slot's.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// A file is not there, is too large, or is no file; the slot goes on.
    #[error("file {path:?}: {why}")]
    File { path: String, why: String },
    /// The slot is gone; the call may have run in part. A caller that may repeat it takes another.
    #[error("the slot was lost: {why}")]
    Lost { why: String },
    /// The host is short of something (processes, memory, files): try again later.
    #[error("the host is short: {why}; try again later")]
    Busy { why: String },
    /// The slot did not prove that it is clean, or did not go away whole. It is never used again.
    #[error("the slot left something behind: {what}")]
    Dirty { what: String },
}
