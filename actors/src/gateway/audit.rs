//! The audit: one record for each request, on its way to the lake without ever holding a request
//! up.

mod content;
mod cost;
mod metrics;
mod open;
mod trail;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use content::{ContentMode, ContentPolicy, HashKey};
pub use cost::{CostBy, CostProblem, CostQuestion};
pub use metrics::AuditMetrics;
pub use open::OpenRecord;
pub(super) use trail::Trail;

use headwater_storage::audit::{
    AuditError, AuditLake, AuditQuery, AuditRecord, Content, QueryLimits, RecordSink, RequestTrace,
    Scope, Table, TraceParent,
};
use tokio::sync::Notify;

use crate::runtime::Runtime;

/// How records wait and go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditSettings {
    /// Most records that wait in memory; more are dropped and counted.
    pub buffer_records: usize,
    /// Most bytes of what was said that wait in memory; past it records go without.
    pub buffer_bytes: usize,
    /// How often what was appended goes into the lake, in ms.
    pub flush_interval_ms: u64,
    /// How often what has reached its age is taken away, in ms.
    pub prune_interval_ms: u64,
    pub limits: QueryLimits,
}

impl Default for AuditSettings {
    fn default() -> Self {
        AuditSettings {
            buffer_records: 10_000,
            buffer_bytes: 64 << 20,
            flush_interval_ms: 30_000,
            prune_interval_ms: 3_600_000,
            limits: QueryLimits::default(),
        }
    }
}

/// The audit of this node; cheap to clone.
#[derive(Clone)]
pub struct AuditHandle {
    shared: Arc<Shared>,
}

struct Shared {
    runtime: Runtime,
    lake: Arc<dyn AuditLake>,
    settings: AuditSettings,
    policy: ContentPolicy,
    metrics: AuditMetrics,
    traces: Option<Arc<dyn RecordSink>>,
    buffer: Mutex<Buffer>,
    /// Something waits.
    filled: Notify,
    /// Nothing waits any more.
    emptied: Notify,
}

#[derive(Default)]
struct Buffer {
    records: VecDeque<AuditRecord>,
    /// Records that are being appended.
    leaving: usize,
    /// Of what was said in all of them.
    bytes: usize,
    /// Records dropped since the log was told.
    untold: u64,
    told_ms: Option<u64>,
}

/// The log hears of dropped records so often, in ms.
const TOLD_MS: u64 = 10_000;
/// A record that waits goes without what was said, as too much of it waits already.
const CONTENT_DROPPED: &str = "content_dropped";

impl Shared {
    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all records are in the spill.
    fn is_empty(&self) -> bool {
        let buffer = self.buffer();
        buffer.records.is_empty() && buffer.leaving == 0
    }
}

impl AuditHandle {
    pub fn new(
        runtime: Runtime,
        lake: Arc<dyn AuditLake>,
        settings: AuditSettings,
        policy: ContentPolicy,
        metrics: AuditMetrics,
    ) -> AuditHandle {
        let (buffer, filled, emptied) = Default::default();
        let traces = None;
        let shared =
            Shared { runtime, lake, settings, policy, metrics, traces, buffer, filled, emptied };
        AuditHandle { shared: Arc::new(shared) }
    }

    /// The same audit, before its first record; each record goes to the sink, too.
    pub fn tracing(mut self, sink: Arc<dyn RecordSink>) -> AuditHandle {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.traces = Some(sink);
        }
        self
    }

    /// What is kept of a call's texts, as the team's policy is.
    pub(crate) fn texts(&self, team: &str, request: &str, response: &str) -> Option<Content> {
        self.shared.policy.texts(team, request, response)
    }

    /// What an upstream is told of the trace that a request belongs to: this gateway's own span,
    /// where there is one, else the client's.
    pub(super) fn traceparent(&self, id: &str, client: Option<TraceParent>) -> Option<String> {
        let own = self.shared.traces.as_ref().and_then(|_| RequestTrace::of(id, client));
        own.map(|trace| trace.model).or(client).map(|trace| trace.header())
    }

    /// Takes a record. Never waits: what there is no room for is dropped and counted.
    pub fn record(&self, mut record: AuditRecord) {
        let Shared { settings, metrics, runtime, filled, .. } = &*self.shared;
        if let Some(traces) = &self.shared.traces {
            traces.take(&record);
        }
        let now_ms = runtime.now_ms();
        let mut buffer = self.shared.buffer();
        if buffer.records.len() + buffer.leaving >= settings.buffer_records {
            buffer.untold += 1;
            metrics.dropped(1);
            let is_due = buffer.told_ms.is_none_or(|told| told + TOLD_MS <= now_ms);
            if is_due {
                let dropped = std::mem::take(&mut buffer.untold);
                buffer.told_ms = Some(now_ms);
                tracing::warn!(
                    dropped,
                    "audit records are dropped: the spill takes no more; look at the lake and \
                     at this node's disk"
                );
            }
            return;
        }
        if record.content_bytes() + buffer.bytes > settings.buffer_bytes {
            record.content = None;
            record.flags.push(CONTENT_DROPPED.to_owned());
        }
        buffer.bytes += record.content_bytes();
        buffer.records.push_back(record);
        drop(buffer);
        filled.notify_one();
    }

    /// Asks the lake, within the audit's limits.
    ///
    /// # Errors
    /// See [`AuditError`].
    pub async fn query(&self, sql: String, scope: Scope) -> Result<Table, AuditError> {
        let limits = self.shared.settings.limits;
        self.shared.lake.query(AuditQuery { sql, scope, limits }).await
    }

    /// What was spent, day by day.
    ///
    /// # Errors
    /// See [`AuditError`].
    pub async fn cost(&self, question: &CostQuestion, scope: Scope) -> Result<Table, AuditError> {
        self.query(question.sql(), scope).await
    }
}
