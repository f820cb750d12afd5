//! What the embedding service counts, by model.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use headwater_models::{Sequence, TokenBatch};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::cache::{CacheMetrics, ModelCacheMetrics};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByModel {
    model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    model: String,
    outcome: &'static str,
}

/// The service's metric families; cheap to clone.
#[derive(Debug, Clone)]
pub struct EmbeddingMetrics {
    requests: Family<ByOutcome, Counter>,
    tokens: Family<ByModel, Counter>,
    padded_tokens: Family<ByModel, Counter>,
    queue_items: Family<ByModel, Gauge>,
    queue_tokens: Family<ByModel, Gauge>,
    live_replicas: Family<ByModel, Gauge>,
    replicas_lost: Family<ByModel, Counter>,
    batch_rows: Family<ByModel, Histogram>,
    queue_wait: Family<ByModel, Histogram>,
    encode: Family<ByModel, Histogram>,
    cache: CacheMetrics,
}

fn durations() -> Histogram {
    // 0.5 ms to about 16 s.
    Histogram::new(exponential_buckets(0.0005, 2.0, 16))
}

fn row_counts() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 10))
}

impl EmbeddingMetrics {
    /// Makes the families and registers them under `headwater_embedding_*`.
    pub fn register(registry: &mut Registry) -> Self {
        let group = registry.sub_registry_with_prefix("headwater_embedding");
        let metrics = EmbeddingMetrics {
            cache: CacheMetrics::register(group),
            requests: Family::default(),
            tokens: Family::default(),
            padded_tokens: Family::default(),
            queue_items: Family::default(),
            queue_tokens: Family::default(),
            live_replicas: Family::default(),
            replicas_lost: Family::default(),
            batch_rows: Family::new_with_constructor(row_counts),
            queue_wait: Family::new_with_constructor(durations),
            encode: Family::new_with_constructor(durations),
        };
        group.register(
            "requests",
            "Requests by outcome; left: the client went away first",
            metrics.requests.clone(),
        );
        group.register("tokens", "Tokens encoded, without padding", metrics.tokens.clone());
        group.register("padded_tokens", "Tokens computed", metrics.padded_tokens.clone());
        group.register("queue_items", "Texts that wait", metrics.queue_items.clone());
        group.register("queue_tokens", "Tokens that wait", metrics.queue_tokens.clone());
        group.register("live_replicas", "Loaded replicas", metrics.live_replicas.clone());
        group.register("replicas_lost", "Replicas lost", metrics.replicas_lost.clone());
        group.register("batch_rows", "Texts in a batch", metrics.batch_rows.clone());
        group.register_with_unit(
            "queue_wait",
            "From a request's arrival to the start of a batch with a text of it",
            Unit::Seconds,
            metrics.queue_wait.clone(),
        );
        group.register_with_unit(
            "encode",
            "One batch on its replica",
            Unit::Seconds,
            metrics.encode.clone(),
        );
        metrics
    }

    pub(super) fn for_model(&self, model: &str) -> ModelMetrics {
        let label = ByModel { model: model.to_owned() };
        ModelMetrics { all: self.clone(), label, pace: Arc::default() }
    }
}

/// The metrics of one model, and the pace measured from them.
#[derive(Debug, Clone)]
pub(super) struct ModelMetrics {
    all: EmbeddingMetrics,
    label: ByModel,
    pace: Arc<Pace>,
}

/// Tokens and microseconds spent in encoders, both decayed, for the estimate of a wait.
#[derive(Debug, Default)]
struct Pace {
    last_batch_tokens: AtomicU64,
    tokens_per_s: AtomicU64,
}

impl ModelMetrics {
    pub(super) fn cache(&self) -> ModelCacheMetrics {
        self.all.cache.for_model(&self.label.model)
    }

    pub(super) fn outcome(&self, outcome: &'static str) {
        let model = self.label.model.clone();
        self.all.requests.get_or_create(&ByOutcome { model, outcome }).inc();
    }

    pub(super) fn batch(&self, batch: &TokenBatch) {
        let rows = batch.sequences.len();
        let tokens: usize = batch.sequences.iter().map(Sequence::tokens).sum();
        self.all.tokens.get_or_create(&self.label).inc_by(tokens as u64);
        let padded = (rows * batch.longest()) as u64;
        self.all.padded_tokens.get_or_create(&self.label).inc_by(padded);
        self.all.batch_rows.get_or_create(&self.label).observe(rows as f64);
        self.pace.last_batch_tokens.store(tokens as u64, Ordering::Relaxed);
    }

    pub(super) fn encode_seconds(&self, seconds: f64) {
        self.all.encode.get_or_create(&self.label).observe(seconds);
        let tokens = self.pace.last_batch_tokens.load(Ordering::Relaxed) as f64;
        let now = tokens / seconds.max(1e-6);
        let before = self.pace.tokens_per_s.load(Ordering::Relaxed) as f64;
        let smooth = if before == 0.0 { now } else { before * 0.9 + now * 0.1 };
        self.pace.tokens_per_s.store(smooth as u64, Ordering::Relaxed);
    }

    /// How long this many queued tokens may take, in ms; a second until anything was measured.
    pub(super) fn estimated_wait_ms(&self, tokens: usize) -> u64 {
        match self.pace.tokens_per_s.load(Ordering::Relaxed) {
            0 => 1000,
            pace => (tokens as u64).saturating_mul(1000) / pace,
        }
    }

    pub(super) fn waited_ms(&self, waited_ms: u64) {
        let seconds = waited_ms as f64 / 1000.0;
        self.all.queue_wait.get_or_create(&self.label).observe(seconds);
    }

    pub(super) fn replica_lost(&self) {
        self.all.replicas_lost.get_or_create(&self.label).inc();
    }

    pub(super) fn queue(&self, items: usize, tokens: usize, live: usize) {
        self.all.queue_items.get_or_create(&self.label).set(items as i64);
        self.all.queue_tokens.get_or_create(&self.label).set(tokens as i64);
        self.all.live_replicas.get_or_create(&self.label).set(live as i64);
    }

    /// Number of loaded replicas.
    pub(super) fn live_replicas(&self) -> usize {
        self.all.live_replicas.get_or_create(&self.label).get().max(0) as usize
    }
}
