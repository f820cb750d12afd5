//! The embedding service's shells: handle, supervisor, model actor, replica actor.

mod actor;
mod cache;
mod embedder;
mod fleet;
mod handle;
mod messages;
mod metrics;
mod records;
mod remote;
mod replica;
mod supervisor;
mod wire;

pub use cache::CacheSettings;
pub use embedder::Embedder;
pub use fleet::{EmbeddingFleet, FleetModel};
pub use handle::{EmbedCall, EmbedError, Embedded, EmbeddingHandle, Inputs, ModelHandle, Purpose};
pub use metrics::EmbeddingMetrics;
pub use records::{ServedBefore, record_served_model};
pub use remote::{RemoteEmbedding, RemoteModel, ServedElsewhere, offer_of, serve_embedding};
pub use supervisor::{EmbeddingSettings, ServedModel, start};

/// The pure service's nouns that a caller of the handle meets.
pub use headwater_embedding::{
    BatchSettings, InputLimits, InputProblem, OutputFormat, Pool, Quantised, quantise, shorten,
};
/// The port's nouns that a caller of the handle meets.
pub use headwater_models::{Model, ModelCard, Piece, Task, TokenIds, TokenizeError};

#[cfg(test)]
mod tests;
