//! The lake as its users see it.

use async_trait::async_trait;

use super::record::AuditRecord;
use super::table::Table;

/// Whose records a question may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    All,
    Team(String),
}

/// What a question may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryLimits {
    /// Most rows of an answer.
    pub rows: usize,
    /// Longest time, in ms.
    pub time_ms: u64,
    /// Most memory of the engine; the answer has a limit of its own below this.
    pub memory_bytes: usize,
}

impl Default for QueryLimits {
    fn default() -> Self {
        QueryLimits { rows: 10_000, time_ms: 30_000, memory_bytes: 256 << 20 }
    }
}

/// A question in SQL to the view `audit`, and what it may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditQuery {
    /// One `select`. The view's columns are [`super::COLUMNS`].
    pub sql: String,
    pub scope: Scope,
    pub limits: QueryLimits,
}

/// Why a lake did not do it, by what the caller should do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// Another try gives the same; the text says what to change.
    #[error("{0}")]
    Refused(String),
    /// What waits for the lake has reached its limit.
    #[error("{waiting_bytes} bytes wait for the lake, and {limit_bytes} may; bring the lake back")]
    Full { waiting_bytes: u64, limit_bytes: u64 },
    /// Try again later. An append may have come through.
    #[error("{0}")]
    Unavailable(String),
    #[error("the question took longer than {after_ms} ms; ask for fewer days or fewer columns")]
    TimedOut { after_ms: u64 },
}

/// What waits for the lake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    pub bytes: u64,
    pub records: u64,
    /// When the oldest of them ended, in ms since 1970.
    pub oldest_ms: Option<u64>,
}

/// What a pruning did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Files (or records, where there are no files) made smaller by what was said.
    pub stripped: u64,
    /// Files (or records) removed, but for what is flagged.
    pub removed: u64,
    /// Small files made into larger ones.
    pub compacted: u64,
}

/// Where records go. Two ship: [`super::MemoryAudit`] and the adapter over Parquet files.
#[async_trait]
pub trait AuditLake: Send + Sync {
    /// Keeps the records so that the end of the process does not lose them. All or none; an id
    /// that was appended lately is passed over, so a repetition is harmless. Returns how many were
    /// new.
    ///
    /// # Errors
    /// [`AuditError::Full`], and [`AuditError::Unavailable`] when this node's own disk fails; both
    /// are worth another try.
    async fn append(&self, records: &[AuditRecord]) -> Result<u64, AuditError>;

    /// Brings what was appended into the lake. Repeated, or broken off, it doubles nothing.
    ///
    /// # Errors
    /// [`AuditError::Unavailable`]; what waits goes on waiting.
    async fn flush(&self) -> Result<(), AuditError>;

    /// Answers a question; sees what still waits, too.
    ///
    /// # Errors
    /// [`AuditError::Refused`] says what is wrong with the question.
    async fn query(&self, query: AuditQuery) -> Result<Table, AuditError>;

    /// Takes away what has reached its age at this time (ms since 1970), and keeps house.
    ///
    /// # Errors
    /// [`AuditError::Unavailable`]; the next time does the rest.
    async fn prune(&self, now_ms: u64) -> Result<Pruned, AuditError>;

    fn backlog(&self) -> Backlog;
}
