//! Collections: documents cut into chunks, and vectors of every live model version of them.
//!
//! The store holds what is true (documents, chunks, versions); sinks hold vectors, which are
//! brought in line with it. A chunk's row goes before its vectors and its vectors go after it,
//! so at every moment a crash leaves something that a later look mends: see `mend.rs`.

mod background;
mod checks;
mod chunks;
mod documents;
mod filter;
mod handle;
mod keys;
mod mend;
mod metrics;
mod near;
mod nouns;
mod places;
mod records;
mod reembed;
mod search;
mod sweep;
mod vectors;
mod versions;

pub(crate) use checks::{DOCUMENT_ID_BYTES, FIELD_NAME_BYTES, FIELDS, FIELDS_BYTES};
pub use filter::{FilterProblem, parse_filter};
pub use handle::Collections;
pub use metrics::CollectionMetrics;
pub(crate) use near::{remember, resembles};
pub use nouns::{
    ChunkId, ChunkText, Chunking, Collection, CollectionError, CollectionId, CollectionSettings,
    DocumentInfo, Put, Target,
};
pub use places::ChunkPlace;
pub use records::collection_of_row;
pub use reembed::{ReembedSettings, Reembedding};
pub use search::{Found, FoundHit, SearchFor, check_limit, check_vector};
pub use versions::{Progress, SweepPhase};

/// The pure service's nouns that a caller of the handle meets.
pub use headwater_embedding::{Build, NewVersion, Policy, Role, Version, VersionProblem, Versions};
/// The port's nouns that a caller of the handle meets.
pub use headwater_vectors::{Filter, Metric, NumberFormat, Sink, SinkError, Space, Value};

#[cfg(test)]
mod tests;
