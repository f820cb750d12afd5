//! What the embedding service counts, by model and pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use headwater_embedding::{Pool, Signals};
use headwater_models::{Sequence, TokenBatch};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::cache::{CacheMetrics, ModelCacheMetrics};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPool {
    model: String,
    pool: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    model: String,
    pool: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByDirection {
    model: String,
    pool: &'static str,
    direction: &'static str,
}

type Share = Gauge<f64, AtomicU64>;
pub(super) type Seconds = Counter<f64, AtomicU64>;

/// The service's metric families; cheap to clone.
#[derive(Debug, Clone)]
pub struct EmbeddingMetrics {
    requests: Family<ByOutcome, Counter>,
    tokens: Family<ByPool, Counter>,
    padded_tokens: Family<ByPool, Counter>,
    queue_items: Family<ByPool, Gauge>,
    queue_tokens: Family<ByPool, Gauge>,
    queue_oldest_age_ms: Family<ByPool, Gauge>,
    batch_fill: Family<ByPool, Share>,
    busy_share: Family<ByPool, Share>,
    live_replicas: Family<ByPool, Gauge>,
    wanted_replicas: Family<ByPool, Gauge>,
    replica_changes: Family<ByDirection, Counter>,
    replicas_lost: Family<ByPool, Counter>,
    batch_rows: Family<ByPool, Histogram>,
    queue_wait: Family<ByPool, Histogram>,
    encode: Family<ByPool, Histogram>,
    ingest_paused: Seconds,
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
            queue_oldest_age_ms: Family::default(),
            batch_fill: Family::default(),
            busy_share: Family::default(),
            live_replicas: Family::default(),
            wanted_replicas: Family::default(),
            replica_changes: Family::default(),
            replicas_lost: Family::default(),
            batch_rows: Family::new_with_constructor(row_counts),
            queue_wait: Family::new_with_constructor(durations),
            encode: Family::new_with_constructor(durations),
            ingest_paused: Seconds::default(),
        };
        metrics.register_counters(registry.sub_registry_with_prefix("headwater_embedding"));
        metrics.register_signals(registry.sub_registry_with_prefix("headwater_embedding"));
        metrics
    }

    fn register_counters(&self, group: &mut Registry) {
        group.register(
            "requests",
            "Requests by outcome; left: the client went away first",
            self.requests.clone(),
        );
        group.register("tokens", "Tokens encoded, without padding", self.tokens.clone());
        group.register("padded_tokens", "Tokens computed", self.padded_tokens.clone());
        group.register("replicas_lost", "Replicas lost", self.replicas_lost.clone());
        group.register(
            "replica_changes",
            "Replicas added and taken away by the controller",
            self.replica_changes.clone(),
        );
        group.register("batch_rows", "Texts in a batch", self.batch_rows.clone());
        group.register_with_unit(
            "queue_wait",
            "From a request's arrival to the start of a batch with a text of it",
            Unit::Seconds,
            self.queue_wait.clone(),
        );
        group.register_with_unit(
            "encode",
            "One batch on its replica",
            Unit::Seconds,
            self.encode.clone(),
        );
        group.register_with_unit(
            "ingest_paused",
            "Time that threads of ingest stood still to let queries go first",
            Unit::Seconds,
            self.ingest_paused.clone(),
        );
    }

    /// What replica controllers look at, KEDA's among them.
    fn register_signals(&self, group: &mut Registry) {
        group.register("queue_items", "Texts that wait", self.queue_items.clone());
        group.register("queue_tokens", "Tokens that wait", self.queue_tokens.clone());
        group.register(
            "queue_oldest_age_ms",
            "How long the oldest waiting text has waited",
            self.queue_oldest_age_ms.clone(),
        );
        group.register(
            "batch_fill",
            "Tokens of a batch, padding counted, over its budget, lately",
            self.batch_fill.clone(),
        );
        group.register(
            "busy_share",
            "Share of their time in which the replicas ran a batch, lately",
            self.busy_share.clone(),
        );
        group.register("live_replicas", "Loaded replicas", self.live_replicas.clone());
        group.register(
            "wanted_replicas",
            "Replicas that shall be loaded",
            self.wanted_replicas.clone(),
        );
    }

    pub(super) fn ingest_paused(&self) -> Seconds {
        self.ingest_paused.clone()
    }

    pub(super) fn for_model(&self, model: &str) -> ModelMetrics {
        let of = |pool: Pool| PoolMetrics {
            all: self.clone(),
            label: ByPool { model: model.to_owned(), pool: pool.name() },
            state: Arc::default(),
        };
        ModelMetrics { pools: Pool::ALL.map(of) }
    }
}

/// The metrics of one model.
#[derive(Debug, Clone)]
pub(super) struct ModelMetrics {
    pools: [PoolMetrics; 2],
}

impl ModelMetrics {
    pub(super) fn cache(&self) -> ModelCacheMetrics {
        let [PoolMetrics { all, label, .. }, _] = &self.pools;
        all.cache.for_model(&label.model)
    }

    pub(super) fn of(&self, pool: Pool) -> &PoolMetrics {
        &self.pools[pool.index()]
    }

    /// Takes the model's gauges out of what is shown: it is not here any more.
    pub(super) fn forget(&self) {
        for PoolMetrics { all, label, .. } in &self.pools {
            for gauges in [
                &all.queue_items,
                &all.queue_tokens,
                &all.queue_oldest_age_ms,
                &all.live_replicas,
                &all.wanted_replicas,
            ] {
                gauges.remove(label);
            }
            all.batch_fill.remove(label);
            all.busy_share.remove(label);
        }
    }
}

/// The metrics of one pool of a model, and what is measured from them.
#[derive(Debug, Clone)]
pub(super) struct PoolMetrics {
    all: EmbeddingMetrics,
    label: ByPool,
    state: Arc<State>,
}

/// Numbers that handles read.
#[derive(Debug, Default)]
struct State {
    last_batch_tokens: AtomicU64,
    /// Decayed, for the estimate of a wait.
    tokens_per_s: AtomicU64,
    live: AtomicUsize,
    wanted: AtomicUsize,
    busy_percent: AtomicUsize,
}

impl PoolMetrics {
    pub(super) fn outcome(&self, outcome: &'static str) {
        let ByPool { model, pool } = self.label.clone();
        self.all.requests.get_or_create(&ByOutcome { model, pool, outcome }).inc();
    }

    /// A batch starts, under this budget in tokens.
    pub(super) fn batch(&self, batch: &TokenBatch, budget: usize) {
        let rows = batch.sequences.len();
        let tokens: usize = batch.sequences.iter().map(Sequence::tokens).sum();
        self.all.tokens.get_or_create(&self.label).inc_by(tokens as u64);
        let padded = rows * batch.longest();
        self.all.padded_tokens.get_or_create(&self.label).inc_by(padded as u64);
        self.all.batch_rows.get_or_create(&self.label).observe(rows as f64);
        let fill = self.all.batch_fill.get_or_create(&self.label);
        fill.set(fill.get() * 0.9 + padded as f64 / budget.max(1) as f64 * 0.1);
        self.state.last_batch_tokens.store(tokens as u64, Ordering::Relaxed);
    }

    pub(super) fn encode_seconds(&self, seconds: f64) {
        self.all.encode.get_or_create(&self.label).observe(seconds);
        let tokens = self.state.last_batch_tokens.load(Ordering::Relaxed) as f64;
        let now = tokens / seconds.max(1e-6);
        let before = self.state.tokens_per_s.load(Ordering::Relaxed) as f64;
        let smooth = if before == 0.0 { now } else { before * 0.9 + now * 0.1 };
        self.state.tokens_per_s.store(smooth as u64, Ordering::Relaxed);
    }

    /// How long this many queued tokens may take, in ms; a second until anything was measured.
    pub(super) fn estimated_wait_ms(&self, tokens: usize) -> u64 {
        match self.state.tokens_per_s.load(Ordering::Relaxed) {
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

    /// The controller went from one number of replicas to another.
    pub(super) fn replicas_changed(&self, from: usize, to: usize) {
        let direction = if to > from { "up" } else { "down" };
        let ByPool { model, pool } = self.label.clone();
        let label = ByDirection { model, pool, direction };
        self.all.replica_changes.get_or_create(&label).inc_by(to.abs_diff(from) as u64);
    }

    pub(super) fn queue(&self, items: usize, tokens: usize) {
        self.all.queue_items.get_or_create(&self.label).set(items as i64);
        self.all.queue_tokens.get_or_create(&self.label).set(tokens as i64);
    }

    pub(super) fn replicas(&self, live: usize, wanted: usize) {
        self.all.live_replicas.get_or_create(&self.label).set(live as i64);
        self.all.wanted_replicas.get_or_create(&self.label).set(wanted as i64);
        self.state.live.store(live, Ordering::Relaxed);
        self.state.wanted.store(wanted, Ordering::Relaxed);
    }

    /// What the controller looked at.
    pub(super) fn signals(&self, signals: &Signals) {
        let age_ms = i64::try_from(signals.oldest_age_ms).unwrap_or(i64::MAX);
        self.all.queue_oldest_age_ms.get_or_create(&self.label).set(age_ms);
        self.all.busy_share.get_or_create(&self.label).set(signals.busy_share);
        let percent = (signals.busy_share * 100.0) as usize;
        self.state.busy_percent.store(percent, Ordering::Relaxed);
    }

    pub(super) fn batch_fill(&self) -> f64 {
        self.all.batch_fill.get_or_create(&self.label).get()
    }

    /// Number of loaded replicas.
    pub(super) fn live_replicas(&self) -> usize {
        self.state.live.load(Ordering::Relaxed)
    }

    /// Number of replicas that shall be loaded.
    pub(super) fn wanted_replicas(&self) -> usize {
        self.state.wanted.load(Ordering::Relaxed)
    }

    /// How much of their time the replicas ran batches in the controller's last step, in percent.
    pub(super) fn busy_percent(&self) -> usize {
        self.state.busy_percent.load(Ordering::Relaxed)
    }
}
