//! The default vector sink: records are rows of the store, and an index of them lies in memory.
//!
//! **Durable and shared.** A record is a row of the store, so it is as durable and as shared as
//! the store is: on one node the embedded engine, in a cluster FoundationDB. Every commit leaves a
//! row in the space's log. A node's index is made of the records when the space is first searched
//! there, and a search first reads what the log has gained: it sees everything that was committed
//! before it began, on whatever node. Large calls are split into several transactions, each of
//! which happens whole.
//!
//! **Exact or by a graph.** Up to [`EmbeddedVectorsSettings::exact_records_max`] records a search
//! looks at every vector, and so it does in binary spaces of any size and under filters that few
//! records pass. Else it asks a graph (HNSW, in half precision, by `usearch`) which a task of
//! tokio's fills in the background, and looks at every vector that is not in it yet: a search
//! never misses what is new. Without the feature `usearch`, and outside tokio, every search is
//! exact. Scores are always those of the vectors as they are kept.
//!
//! **Memory.** A searched space takes, for each record, the bytes of its number format, its
//! fields, and about 150 bytes; with a graph 2 bytes more for each component and about 200; and up
//! to half as much again for records that changed and are not compacted yet. It is given back
//! when the space is dropped, and when others are searched and all together pass
//! [`EmbeddedVectorsSettings::memory_bytes_max`].
//!
//! **Limits.** A name has at most [`NAME_BYTES_MAX`] bytes, a vector [`DIMENSIONS_MAX`]
//! components, and a record with its fields 100,000 bytes, which is the store's limit for a value.

mod best;
mod calibrate;
mod failure;
#[cfg(feature = "usearch")]
mod graph;
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
pub use sink::{DIMENSIONS_MAX, EmbeddedSink, NAME_BYTES_MAX, SpaceInMemory};
