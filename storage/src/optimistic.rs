//! Optimistic transactions for engines that have snapshots and ordered commits but no
//! transactions of FoundationDB's kind: the memory store and the embedded one.
//!
//! A [`Backend`] offers a snapshot and a commit. [`begin`] puts a transaction above it:
//! reads come from the snapshot and the transaction's own writes, writes are kept back.
//! Where commits are put in order, a [`Sequencer`] decides which of them conflict.

mod overlay;
mod resolver;
mod sequencer;
#[cfg(test)]
mod tests;
mod transaction;
mod watches;

use std::sync::Arc;

use async_trait::async_trait;

use crate::mutation::Mutation;
use crate::{Committed, KeyRange, Pair, StoreError, Transaction};

pub use crate::mutation::{Target, apply};
pub use resolver::Resolver;
pub use sequencer::{Decision, Sequencer};
pub use watches::WatchRequest;

/// What was committed at one version.
#[async_trait]
pub trait Snapshot: Send + Sync {
    fn version(&self) -> u64;

    /// # Errors
    /// When the engine cannot read.
    async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` pairs in ascending order: the first of the range, or the last ones
    /// when `reverse` is set.
    ///
    /// # Errors
    /// When the engine cannot read.
    async fn range(
        &self,
        range: &KeyRange,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<Pair>, StoreError>;
}

/// What a transaction asks to be committed.
#[derive(Debug, Default)]
pub struct Proposal {
    /// The version that the transaction read.
    pub read_version: u64,
    /// What it read and must not have changed since.
    pub reads: Vec<KeyRange>,
    /// What it writes, in the order of the calls.
    pub mutations: Vec<Mutation>,
    /// What it counts as written besides.
    pub writes: Vec<KeyRange>,
    /// What it watches from the commit on.
    pub watches: Vec<WatchRequest>,
}

impl Proposal {
    /// Whether there is nothing to put in order: such a proposal always commits.
    pub fn is_read_only(&self) -> bool {
        self.mutations.is_empty() && self.writes.is_empty()
    }
}

/// An engine below the transactions.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Monotonic time in ms, by which a transaction's age is told.
    fn now_ms(&self) -> u64;

    /// # Errors
    /// When the engine cannot read.
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError>;

    /// Called ahead of every read, so that an engine can refuse it.
    ///
    /// # Errors
    /// When the engine does not answer.
    async fn before_read(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Puts the proposal in order behind all commits so far and writes it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::TooOld`], and the engine's own.
    async fn commit(&self, proposal: Proposal) -> Result<Committed, StoreError>;
}

/// Begins a transaction on what is committed now.
///
/// # Errors
/// The backend's.
pub async fn begin(backend: Arc<dyn Backend>) -> Result<Box<dyn Transaction>, StoreError> {
    let began_ms = backend.now_ms();
    let snapshot = backend.snapshot().await?;
    Ok(Box::new(transaction::OptimisticTransaction::new(backend, snapshot, began_ms)))
}
