//! What ingest counts. Jobs and tenants are not labels: there may be many.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

/// What waits in the store, over all jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Backlog {
    pub(super) jobs: u64,
    pub(super) waiting: u64,
    pub(super) waiting_bytes: u64,
    pub(super) running: u64,
    pub(super) dead: u64,
    pub(super) workers: u64,
    pub(super) oldest_ms: u64,
}

/// The metric families; cheap to clone.
#[derive(Debug, Clone)]
pub struct IngestMetrics {
    jobs: Gauge,
    waiting: Gauge,
    waiting_bytes: Gauge,
    running: Gauge,
    dead: Gauge,
    workers: Gauge,
    oldest: Gauge,
    documents: Family<ByOutcome, Counter>,
    holds: Family<ByOutcome, Counter>,
    chunks: Counter,
    vectors: Counter,
    tokens: Counter,
    took: Histogram,
}

impl IngestMetrics {
    /// Makes the families and registers them under `headwater_ingest_*`. The gauges tell what
    /// this node last saw in the shared store: take the greatest over all nodes, not the sum.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = IngestMetrics {
            jobs: Gauge::default(),
            waiting: Gauge::default(),
            waiting_bytes: Gauge::default(),
            running: Gauge::default(),
            dead: Gauge::default(),
            workers: Gauge::default(),
            oldest: Gauge::default(),
            documents: Family::default(),
            holds: Family::default(),
            chunks: Counter::default(),
            vectors: Counter::default(),
            tokens: Counter::default(),
            // 5 ms to about 80 s.
            took: Histogram::new(exponential_buckets(0.005, 2.0, 15)),
        };
        let group = registry.sub_registry_with_prefix("headwater_ingest");
        for (name, help, gauge) in [
            ("jobs", "Jobs that have not ended", &metrics.jobs),
            ("waiting_documents", "Documents that have not ended", &metrics.waiting),
            ("waiting_bytes", "Text of documents that have not ended", &metrics.waiting_bytes),
            ("leased_documents", "Documents that began and have not ended", &metrics.running),
            ("dead_letters", "Dead letters of jobs that have not ended", &metrics.dead),
            ("workers", "Partitions that a worker holds", &metrics.workers),
            ("oldest_waiting_ms", "Age of the document that waits longest", &metrics.oldest),
        ] {
            group.register(name, help, gauge.clone());
        }
        group.register("documents", "Documents by what became of them", metrics.documents.clone());
        group.register("holds", "Holds on partitions by outcome", metrics.holds.clone());
        group.register("chunks", "Chunks of documents that are done", metrics.chunks.clone());
        group.register("vectors", "Vectors computed and written", metrics.vectors.clone());
        group.register("tokens", "Tokens of documents that are done", metrics.tokens.clone());
        group.register_with_unit(
            "document_time",
            "From the beginning of an attempt to its end",
            Unit::Seconds,
            metrics.took.clone(),
        );
        metrics
    }

    pub(super) fn backlog(&self, backlog: &Backlog) {
        for (gauge, value) in [
            (&self.jobs, backlog.jobs),
            (&self.waiting, backlog.waiting),
            (&self.waiting_bytes, backlog.waiting_bytes),
            (&self.running, backlog.running),
            (&self.dead, backlog.dead),
            (&self.workers, backlog.workers),
            (&self.oldest, backlog.oldest_ms),
        ] {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }

    pub(super) fn document(&self, outcome: &'static str, documents: u64) {
        self.documents.get_or_create(&ByOutcome { outcome }).inc_by(documents);
    }

    pub(super) fn hold(&self, outcome: &'static str) {
        self.holds.get_or_create(&ByOutcome { outcome }).inc();
    }

    pub(super) fn vectors(&self, vectors: u64) {
        self.vectors.inc_by(vectors);
    }

    pub(super) fn done(&self, chunks: u64, tokens: u64, took_ms: u64) {
        self.chunks.inc_by(chunks);
        self.tokens.inc_by(tokens);
        self.took.observe(took_ms as f64 / 1000.0);
    }
}
