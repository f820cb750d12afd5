//! The pure embedding service: what to admit, what to batch, what to do when a replica
//! is lost. It has no clock, no threads and no I/O: time comes in as `now_ms`, and what
//! shall happen goes out as [`Effect`]s.

mod cache;
mod chunk;
mod dispatch;
mod duplicate;
mod effects;
pub mod ingest;
mod input;
pub mod mutants;
mod output;
pub mod plan;
mod pool;
mod queue;
mod route;
mod scale;
mod settings;
mod slots;
mod version;

pub use cache::{CacheKey, FULL_PERCENT, Fullness, KeySpace, entry_bytes};
pub use chunk::{Chunk, ChunkProblem, ChunkSettings, Split, chunk_id, normalised, plan};
pub use dispatch::Dispatcher;
pub use duplicate::{BANDS, Fingerprint, NEAR_BITS, SIMILAR_BITS, bands, distance, fingerprint};
pub use effects::{BatchId, Effect, Failure, ItemId, ReplicaIndex, RequestId};
pub use input::{InputProblem, check_count, check_ids, check_length, check_text, check_total};
pub use output::{OutputFormat, shorten};
pub use pool::Pool;
pub use queue::{Item, Queue};
pub use route::{Alias, AliasProblem, Target};
pub use scale::{ScaleSettings, Scaler, Signals};
pub use settings::{BatchSettings, InputLimits, PoolPlan};
pub use version::{Build, NewVersion, Policy, Role, Version, VersionProblem, Versions};

#[cfg(test)]
mod tests;
