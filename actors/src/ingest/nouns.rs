//! What a caller of the ingest service meets.

use std::collections::BTreeMap;

use headwater_embedding::ChunkSettings;
use headwater_embedding::ingest::{Counts, JobState, NearDuplicates, Progress, Refusal};
use headwater_storage::StoreError;
use headwater_vectors::Value;

use crate::collection::CollectionError;

/// Names a job: the tenant's own id for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobKey {
    pub tenant: String,
    pub id: String,
}

/// Where documents come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceSpec {
    /// A client sends them.
    Stream,
    /// A node reads them: JSON lines at these places, in this order. A place is one object, or
    /// all objects below it.
    Places(Vec<String>),
}

/// What a job is created with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSpec {
    pub collection: String,
    /// Whose tokens the chunks are cut by; the collection's own model without it.
    pub model: Option<String>,
    /// The window is cut down to what the model reads.
    pub chunks: ChunkSettings,
    /// 0 to 9; a higher one goes first.
    pub priority: u8,
    pub tokens_per_s: Option<u64>,
    /// Most workers at a time, over all nodes.
    pub workers_max: u32,
    pub near_duplicates: NearDuplicates,
    pub source: SourceSpec,
}

/// Highest priority.
pub const PRIORITY_MAX: u8 = 9;

/// A job as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub key: JobKey,
    pub spec: JobSpec,
    pub state: JobState,
}

/// What has come in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Received {
    /// Lines, blank ones counted: the next line has the number behind it.
    pub lines: u64,
    pub bytes: u64,
    /// The place that a node reads, the object of it that is being read, and how far into that,
    /// in bytes.
    pub place: u32,
    pub object: Option<String>,
    pub object_bytes: u64,
}

/// A job with all that it has counted.
#[derive(Debug, Clone, PartialEq)]
pub struct JobStatus {
    pub job: Job,
    pub received: Received,
    pub counts: Counts,
    pub progress: Progress,
    /// Workers on it now.
    pub workers: u32,
    /// How long the document has waited that waits longest, in ms.
    pub oldest_waiting_ms: Option<u64>,
}

/// A document to take in.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub id: String,
    pub text: String,
    pub fields: BTreeMap<String, Value>,
}

/// A line that holds no document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// The field at fault; the whole line without one.
    pub field: Option<String>,
    /// What is allowed.
    pub problem: String,
}

/// A document or line that did not make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    pub line: u64,
    /// None when the line holds none.
    pub document: Option<String>,
    /// The field at fault, in a bad line.
    pub field: Option<String>,
    pub reason: String,
    pub attempts: u32,
    /// When it died, in ms since 1970.
    pub at_ms: u64,
}

impl DeadLetter {
    /// Whether its document can be queued again.
    pub fn is_retryable(&self) -> bool {
        self.document.is_some()
    }
}

/// Why a call did nothing, by what the caller should do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    #[error("there is no job '{0}'; list yours with GET /v1/ingest/jobs")]
    NoJob(String),
    /// A job of that id has other settings.
    #[error("the job '{0}' was created with other settings; take another id")]
    Exists(String),
    /// A setting is outside what is allowed.
    #[error("{field} must be {allowed}")]
    Invalid { field: &'static str, allowed: String },
    #[error("the job is {}; it cannot do this any more", .0.0.name())]
    Refused(Refusal),
    /// Lines are missing, or another client sends documents of the same job.
    #[error("the next line of this job is line {}; send from there on", .received + 1)]
    Gap { received: u64 },
    #[error(
        "{allowed} jobs of this tenant have not ended, and no more are allowed; wait for one, or \
         cancel one"
    )]
    TooManyJobs { allowed: usize },
    /// More than the store takes; another try would fail the same way.
    #[error(
        "the {what} would take {given} bytes in the store, which takes at most {allowed}; send \
         less at a time, or split the document"
    )]
    TooLarge { what: &'static str, given: usize, allowed: usize },
    #[error(transparent)]
    Collection(#[from] CollectionError),
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for IngestError {
    fn from(error: StoreError) -> IngestError {
        match error {
            StoreError::Limit { what, given, allowed } => {
                IngestError::TooLarge { what, given, allowed }
            }
            other => IngestError::Store(other),
        }
    }
}
