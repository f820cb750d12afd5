//! What the gateway counts. Names of models and backends come from the settings, so there are
//! few; tenants are no labels.

use headwater_models::chat::Usage;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::nouns::Served;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByModel {
    model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRefusal {
    model: String,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByTarget {
    backend: String,
    backend_model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByFailure {
    backend: String,
    backend_model: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    model: String,
    backend: String,
    backend_model: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKind {
    model: String,
    backend: String,
    backend_model: String,
    kind: &'static str,
}

type Histograms = Family<ByModel, Histogram, fn() -> Histogram>;

/// The metric families; cheap to clone.
#[derive(Debug, Clone)]
pub struct GatewayMetrics {
    refused: Family<ByRefusal, Counter>,
    failed: Family<ByFailure, Counter>,
    answers: Family<ByOutcome, Counter>,
    tokens: Family<ByKind, Counter>,
    cost: Family<ByModel, Counter>,
    estimated: Family<ByModel, Counter>,
    open: Family<ByTarget, Gauge>,
    replayed: Family<ByModel, Counter>,
    canaries_taken_back: Counter,
    version: Gauge,
    versions_refused: Counter,
    first: Histograms,
    took: Histograms,
}

/// 1 ms to about 130 s.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 18))
}

impl GatewayMetrics {
    /// Makes the families and registers them under `headwater_gateway_*`.
    pub fn register(registry: &mut Registry) -> GatewayMetrics {
        let metrics = GatewayMetrics {
            refused: Family::default(),
            failed: Family::default(),
            answers: Family::default(),
            tokens: Family::default(),
            cost: Family::default(),
            estimated: Family::default(),
            open: Family::default(),
            replayed: Family::default(),
            canaries_taken_back: Counter::default(),
            version: Gauge::default(),
            versions_refused: Counter::default(),
            first: Family::new_with_constructor(seconds as fn() -> Histogram),
            took: Family::new_with_constructor(seconds as fn() -> Histogram),
        };
        let group = registry.sub_registry_with_prefix("headwater_gateway");
        group.register("refused", "Requests without an answer", metrics.refused.clone());
        group.register("failed_tries", "Tries at a backend that failed", metrics.failed.clone());
        group.register("answers", "Answers that began, by their end", metrics.answers.clone());
        group.register("tokens", "Tokens charged", metrics.tokens.clone());
        group.register(
            "cost_micro_usd",
            "Money charged, in millionths of a US dollar",
            metrics.cost.clone(),
        );
        group.register(
            "estimated_answers",
            "Answers whose tokens the backend did not tell in full",
            metrics.estimated.clone(),
        );
        group.register("open_breakers", "Backends left alone now", metrics.open.clone());
        group.register("cache_hits", "Answers given before", metrics.replayed.clone());
        group.register(
            "canaries_taken_back",
            "Canaries that this node took back",
            metrics.canaries_taken_back.clone(),
        );
        group.register("version", "Of what is served; 0 for settings", metrics.version.clone());
        group.register(
            "versions_refused",
            "Versions that this node could not serve",
            metrics.versions_refused.clone(),
        );
        group.register_with_unit(
            "first_part",
            "From the request to the first part of its answer",
            Unit::Seconds,
            metrics.first.clone(),
        );
        group.register_with_unit(
            "answer",
            "From the request to the end of its answer",
            Unit::Seconds,
            metrics.took.clone(),
        );
        metrics
    }

    pub(super) fn refused(&self, model: &str, reason: &'static str) {
        let model = model.to_owned();
        self.refused.get_or_create(&ByRefusal { model, reason }).inc();
    }

    pub(super) fn failed(&self, backend: &str, model: &str, kind: &'static str) {
        let (backend, backend_model) = (backend.to_owned(), model.to_owned());
        self.failed.get_or_create(&ByFailure { backend, backend_model, kind }).inc();
    }

    pub(super) fn begun(&self, served: &Served, after_ms: u64) {
        let model = served.asked.clone();
        self.first.get_or_create(&ByModel { model }).observe(after_ms as f64 / 1_000.0);
    }

    pub(super) fn ended(
        &self,
        model: &str,
        backend: &str,
        backend_model: &str,
        outcome: &'static str,
        took_ms: u64,
    ) {
        let (model, backend) = (model.to_owned(), backend.to_owned());
        let by = ByModel { model: model.clone() };
        self.took.get_or_create(&by).observe(took_ms as f64 / 1_000.0);
        let backend_model = backend_model.to_owned();
        let by = ByOutcome { model, backend, backend_model, outcome };
        self.answers.get_or_create(&by).inc();
    }

    pub(super) fn used(
        &self,
        model: &str,
        backend: &str,
        backend_model: &str,
        usage: &Usage,
        micro_usd: u64,
        is_estimated: bool,
    ) {
        for (kind, count) in
            [("input", usage.input), ("input_cached", usage.input_cached), ("output", usage.output)]
        {
            let (model, backend) = (model.to_owned(), backend.to_owned());
            let by = ByKind { model, backend, backend_model: backend_model.to_owned(), kind };
            self.tokens.get_or_create(&by).inc_by(count);
        }
        let by = ByModel { model: model.to_owned() };
        self.cost.get_or_create(&by).inc_by(micro_usd);
        if is_estimated {
            self.estimated.get_or_create(&by).inc();
        }
    }

    pub(super) fn replayed(&self, model: &str) {
        self.replayed.get_or_create(&ByModel { model: model.to_owned() }).inc();
    }

    pub(super) fn canary_taken_back(&self) {
        self.canaries_taken_back.inc();
    }

    pub(super) fn version(&self, number: u64) {
        self.version.set(i64::try_from(number).unwrap_or(i64::MAX));
    }

    pub(super) fn version_refused(&self) {
        self.versions_refused.inc();
    }

    pub(super) fn breaker(&self, backend: &str, model: &str, is_closed: bool) {
        let (backend, backend_model) = (backend.to_owned(), model.to_owned());
        let open = self.open.get_or_create(&ByTarget { backend, backend_model });
        open.set(i64::from(!is_closed));
    }
}
