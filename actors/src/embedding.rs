//! The embedding service's shells: handle, supervisor, model actor, replica actor.

mod actor;
mod background;
mod cache;
mod calibrations;
mod charged;
mod embedder;
mod fleet;
mod handle;
mod loader;
mod messages;
mod metrics;
mod models;
mod output;
mod precedence;
mod read;
mod records;
mod remote;
mod replica;
mod scaling;
mod start;
mod supervisor;
mod table;
mod wire;

pub use cache::{CacheSettings, StoredVectors};
pub use calibrations::{CalibrationSettings, Calibrations, Learnt};
pub use charged::ChargedEmbedder;
pub use embedder::Embedder;
pub(crate) use embedder::unit;
pub use fleet::{EmbeddingFleet, FleetModel, ModelStatus};
pub use handle::{EmbedCall, EmbedError, Embedded, Inputs, ModelHandle, Purpose};
pub use loader::{ModelLoader, Opening};
pub use metrics::EmbeddingMetrics;
pub use models::EmbeddingHandle;
pub use output::{Quantised, fixed_range, quantise};
pub use records::{ServedBefore, record_served_model};
pub use remote::{RemoteEmbedding, RemoteModel, ServedElsewhere, offer_of, serve_embedding};
pub use start::{EmbeddingSettings, ModelPools, NodePools, ServedModel, start};
pub use table::{ChangeError, NotOffered, Phase};

/// The pure service's nouns that a caller of the handle meets.
pub use headwater_embedding::{
    Alias, AliasProblem, BatchSettings, InputLimits, InputProblem, OutputFormat, Pool,
    ScaleSettings, Target, shorten,
};
/// The port's nouns that a caller of the handle meets.
pub use headwater_models::{Model, ModelCard, Piece, Task, TokenIds, TokenizeError};

#[cfg(test)]
mod tests;
