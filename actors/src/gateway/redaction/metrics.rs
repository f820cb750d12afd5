//! What redaction counts.

use std::collections::BTreeMap;

use headwater_gateway::redaction::Entity;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::entities;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByEntity {
    entity: &'static str,
}

/// The metric families; cheap to clone.
#[derive(Debug, Clone)]
pub struct RedactionMetrics {
    requests: Counter,
    skipped: Counter,
    refused: Counter,
    blocked: Family<ByEntity, Counter>,
    replaced: Family<ByEntity, Counter>,
    took: Histogram,
}

impl RedactionMetrics {
    /// Makes the families and registers them under `headwater_redaction_*`. An alert at one
    /// percent skipped is `rate(headwater_redaction_skipped_total) /
    /// rate(headwater_redaction_requests_total) > 0.01`.
    pub fn register(registry: &mut Registry) -> RedactionMetrics {
        let metrics = RedactionMetrics {
            requests: Counter::default(),
            skipped: Counter::default(),
            refused: Counter::default(),
            blocked: Family::default(),
            replaced: Family::default(),
            // 0.1 ms to about 200 ms.
            took: Histogram::new(exponential_buckets(0.000_1, 2.0, 12)),
        };
        for entity in entities() {
            drop(metrics.replaced.get_or_create(&ByEntity { entity }));
        }
        let group = registry.sub_registry_with_prefix("headwater_redaction");
        group.register("requests", "Requests looked through", metrics.requests.clone());
        group.register(
            "skipped",
            "Requests that went on as they came, because their time was up",
            metrics.skipped.clone(),
        );
        group.register(
            "refused",
            "Requests refused because their time was up and their policy must hold",
            metrics.refused.clone(),
        );
        group.register("blocked", "Requests and answers blocked", metrics.blocked.clone());
        group.register("replaced", "Replacements", metrics.replaced.clone());
        group.register_with_unit(
            "look",
            "Time that a request was looked through",
            Unit::Seconds,
            metrics.took.clone(),
        );
        metrics
    }

    pub(super) fn looked_through(&self, took_ms: u64) {
        self.requests.inc();
        self.took.observe(took_ms as f64 / 1_000.0);
    }

    pub(super) fn skipped(&self) {
        self.skipped.inc();
    }

    pub(super) fn refused(&self) {
        self.refused.inc();
    }

    pub(super) fn blocked(&self, entity: Entity) {
        let entity = entity.name();
        self.blocked.get_or_create(&ByEntity { entity }).inc();
    }

    pub(super) fn replaced(&self, counts: &BTreeMap<Entity, u64>) {
        for (entity, count) in counts {
            let entity = entity.name();
            self.replaced.get_or_create(&ByEntity { entity }).inc_by(*count);
        }
    }
}
