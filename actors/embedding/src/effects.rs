//! The nouns that the dispatcher and its shell exchange.

use crate::pool::Pool;

/// One client call, numbered by the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One text of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId {
    pub request: RequestId,
    /// Place of the text in the request, from 0.
    pub index: usize,
}

/// One run of one replica; numbered by the dispatcher, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// A replica's slot. A restarted replica keeps its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaIndex(pub usize);

/// Why a request gets no vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Two replicas were lost under it. Another try may succeed.
    ReplicaLost,
    /// The encoder refused the batch itself; another try would meet the same answer.
    Refused(String),
}

/// What the shell shall do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Hand these items, all of one pool, to the replica.
    Run { replica: ReplicaIndex, batch: BatchId, pool: Pool, items: Vec<ItemId> },
    /// All vectors of the request are there: answer it.
    Complete { request: RequestId },
    /// Answer the request with this failure and forget it.
    Fail { request: RequestId, failure: Failure },
    /// Start the replica in this slot after a pause.
    Start { replica: ReplicaIndex, after_ms: u64 },
    /// End the replica in this slot: it has no work and is not wanted any more.
    Stop { replica: ReplicaIndex },
    /// Give up the replica: its batch is overdue.
    Kill { replica: ReplicaIndex },
    /// Call `wake` at this time, in ms on the caller's clock.
    WakeAt { at_ms: u64 },
}
