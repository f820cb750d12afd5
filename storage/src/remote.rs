//! One node's store served to other nodes over any request and response channel.
//!
//! [`RemoteStore`] is the asking side, [`StoreServer`] the answering one. A transaction
//! lives on both: the client keeps its writes back and sends them with the commit, the
//! server keeps the transaction of the store below from which the client reads. The server
//! is one node and one point of failure.
//!
//! # A message that is lost or comes twice
//! The server numbers transactions and never gives a number twice, so a message that comes
//! late meets its own transaction or none. A commit is carried out at most once: its
//! outcome is kept for [`OUTCOME_MS`] and given again. A commit whose transaction the server
//! does not know is [`crate::StoreError::TooOld`] only where it cannot have happened under
//! that number; where the server forgot, or lived an earlier life, the answer is
//! [`crate::StoreError::CommitUnknown`], which the retry loop's operation row settles.

mod changes;
mod client;
mod page;
mod server;
mod table;
#[cfg(test)]
mod tests;
mod wire;

use async_trait::async_trait;

pub use client::RemoteStore;
pub use server::StoreServer;
pub use table::ServerLimits;

/// Longest request and longest answer, in bytes. Ranges come in pages and large commits in
/// stages, so that a transaction may still have [`crate::limits::TRANSACTION_BYTES`].
pub const MESSAGE_BYTES: usize = 512 << 10;
/// Longest time for which the server holds the question after a watch, in ms. Deadlines of
/// an [`Exchange`] must be longer.
pub const WATCH_HOLD_MS: u64 = 2_000;
/// How long the outcome of a commit is kept, in ms.
pub const OUTCOME_MS: u64 = 30_000;
/// How long a watch is kept that nobody asks after, in ms.
pub const WATCH_IDLE_MS: u64 = 30_000;

/// What of a message is left for keys and values; the rest is for what surrounds them.
const PAYLOAD_BYTES: usize = MESSAGE_BYTES - (16 << 10);

/// Why a request has no answer. The texts are for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// The request certainly did not reach the server.
    #[error("the store's node was not reached: {0}")]
    NotSent(String),
    /// The request may have been carried out, or may yet be.
    #[error("the store's node did not answer: {0}")]
    Unknown(String),
}

/// The channel to the server. It may lose, repeat, delay and reorder requests; it must not
/// change them. An exchange must end by itself, by a deadline or when its connection breaks.
#[async_trait]
pub trait Exchange: Send + Sync {
    /// Takes a request of at most [`MESSAGE_BYTES`] to [`StoreServer::answer`] and its
    /// answer back.
    ///
    /// # Errors
    /// [`ExchangeError`], by whether the request may have been carried out.
    async fn exchange(&self, request: Vec<u8>) -> Result<Vec<u8>, ExchangeError>;
}
