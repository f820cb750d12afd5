//! Collections: documents cut into chunks, and vectors of every live model version of them.
//!
//! The store holds what is true (documents, chunks, versions); sinks hold vectors, which are
//! brought in line with it. A chunk's row goes before its vectors and its vectors go after it,
//! so at every moment a crash leaves something that a later look mends: see `mend.rs`.

mod chunks;
mod documents;
mod handle;
mod mend;
mod nouns;
mod records;
mod vectors;

pub use handle::Collections;
pub use nouns::{
    ChunkId, ChunkText, Chunking, Collection, CollectionError, CollectionId, CollectionSettings,
    DocumentInfo, Put, Target,
};

/// The pure service's nouns that a caller of the handle meets.
pub use headwater_embedding::{Build, NewVersion, Policy, Role, Version, VersionProblem, Versions};
/// The port's nouns that a caller of the handle meets.
pub use headwater_vectors::{Filter, Metric, NumberFormat, Sink, SinkError, Space, Value};

#[cfg(test)]
mod tests;
