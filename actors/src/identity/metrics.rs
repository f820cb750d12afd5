//! What the directory counts. Keys and teams are not labels: there may be many.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

/// The metric families; cheap to clone.
#[derive(Debug, Clone)]
pub struct IdentityMetrics {
    refusals: Family<ByReason, Counter>,
    keys: Gauge,
    failed_reads: Counter,
    stale: Gauge,
}

impl IdentityMetrics {
    /// Makes the families and registers them under `headwater_identity_*`.
    pub fn register(registry: &mut Registry) -> IdentityMetrics {
        let metrics = IdentityMetrics {
            refusals: Family::default(),
            keys: Gauge::default(),
            failed_reads: Counter::default(),
            stale: Gauge::default(),
        };
        let group = registry.sub_registry_with_prefix("headwater_identity");
        group.register("refusals", "Virtual keys refused, by reason", metrics.refusals.clone());
        group.register("keys", "Virtual keys that are not revoked", metrics.keys.clone());
        group.register(
            "failed_reads",
            "Looks into the store for changed keys that failed",
            metrics.failed_reads.clone(),
        );
        group.register(
            "stale",
            "1 while this node refuses keys because it has not heard from the store; alert above 0",
            metrics.stale.clone(),
        );
        metrics
    }

    pub(super) fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&ByReason { reason }).inc();
    }

    pub(super) fn keys(&self, count: usize) {
        self.keys.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn failed_read(&self) {
        self.failed_reads.inc();
    }

    pub(super) fn stale(&self, is_stale: bool) {
        self.stale.set(i64::from(is_stale));
    }
}
