//! The default vector sink: records are rows of the store, and an index of them lies in memory.
//!
//! **Durable and shared.** A record is a row of the store, so it is as durable and as shared as
//! the store is: on one node the embedded engine, in a cluster FoundationDB. Every commit leaves a
//! row in the space's log. A node's index is made of the records when the space is first searched
//! there, and a search first reads what the log has gained: it sees everything that was committed
//! before it began, on whatever node. Large calls are split into several transactions, each of
//! which happens whole.
//!
//! **Exact.** Up to [`EmbeddedVectorsSettings::exact_records_max`] records a search looks at every
//! vector. Scores are always those of the vectors as they are kept.
//!
//! **Memory.** A searched space takes, for each record, the bytes of its number format, its
//! fields, and about 150 bytes; up to half as much again for records that changed and are not
//! compacted yet. It is given back when the space is dropped.
//!
//! **Limits.** A name has at most [`NAME_BYTES_MAX`] bytes, a vector [`DIMENSIONS_MAX`]
//! components, and a record with its fields 100,000 bytes, which is the store's limit for a value.

mod best;
mod calibrate;
mod failure;
mod index;
mod keys;
mod records;
mod search;
mod settings;
mod sink;
mod slab;
mod steps;
mod write;

#[cfg(test)]
mod tests;

pub use settings::EmbeddedVectorsSettings;
pub use sink::{DIMENSIONS_MAX, EmbeddedSink, NAME_BYTES_MAX};
