//! The storage port: transactions with FoundationDB's semantics, whatever the engine.
//!
//! Transactions are strictly serializable and optimistic: reads come from one version,
//! writes are kept back, and the commit fails with [`StoreError::Conflict`] when another
//! transaction wrote what this one read. Every engine keeps FoundationDB's limits
//! ([`limits`]), so that what runs on a laptop runs on a cluster.

pub mod audit;
pub mod codec;
#[cfg(feature = "conformance")]
pub mod conformance;
mod environment;
mod error;
pub mod limits;
pub mod memory;
mod mutation;
pub mod optimistic;
pub mod remote;
pub mod retry;
mod transaction;
pub mod tuple;

pub use environment::{Environment, Pause};
pub use error::StoreError;
pub use mutation::{AtomicOp, STAMP_BYTES, Stamp, Stamped};
pub use transaction::{Committed, KeyRange, Pair, RangeRead, ReadMode, Store, Transaction, Watch};
