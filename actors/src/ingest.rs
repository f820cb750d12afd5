//! Bulk ingest: documents wait in the store, workers of all nodes hold partitions of them, and a
//! vector for each chunk and version is written exactly once, whoever dies when.
//!
//! A task is begun, and later ended, by one transaction each, both proven by the partition's
//! fence. In between every step may be repeated: chunks are named by their text, and so are
//! their vectors. What began is ended whatever becomes of its job, so a document is never left
//! half written.

mod document;
mod fence;
mod handle;
mod holds;
mod intake;
mod jobs;
mod keys;
mod metrics;
mod near;
mod node;
mod nouns;
mod pace;
mod parse;
mod records;
mod rests;
mod source;
mod staging;
mod tasks;
#[cfg(test)]
mod tests;
mod window;
mod worker;

pub use handle::{IngestHandle, IngestSettings};
pub use holds::HoldSettings;
pub use intake::Intake;
pub use metrics::IngestMetrics;
pub use node::IngestWorkers;
pub use nouns::{
    BadLine, DeadLetter, Document, IngestError, Job, JobKey, JobSpec, JobStatus, PRIORITY_MAX,
    Received, SourceSpec,
};
pub use source::{DocumentSource, SourceError};

/// The pure service's nouns that a caller of the handle meets.
pub use headwater_embedding::ingest::{
    AttemptSettings, Counts, JobState, Lane, NearDuplicates, Progress, Refusal, Standing,
};
pub use headwater_embedding::{ChunkSettings, Split};
