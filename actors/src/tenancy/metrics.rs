//! What the edge's quota handle counts. Tenants are not labels: there may be many.

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

/// The metric families; cheap to clone.
#[derive(Debug, Clone)]
pub struct TenancyMetrics {
    admissions: Family<ByOutcome, Counter>,
    asks: Family<ByOutcome, Counter>,
    waited: Histogram,
    unwritten: Gauge,
    outages: Gauge,
}

impl TenancyMetrics {
    /// Makes the families and registers them under `headwater_tenancy_*`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = TenancyMetrics {
            admissions: Family::default(),
            asks: Family::default(),
            // 0.5 ms to about 8 s.
            waited: Histogram::new(exponential_buckets(0.0005, 2.0, 15)),
            unwritten: Gauge::default(),
            outages: Gauge::default(),
        };
        let group = registry.sub_registry_with_prefix("headwater_tenancy");
        group.register(
            "admissions",
            "Requests by outcome; unverified: admitted in an outage, without the owner's word",
            metrics.admissions.clone(),
        );
        group.register("asks", "Questions to tenants' owners by outcome", metrics.asks.clone());
        group.register_with_unit(
            "admission_wait",
            "How long requests waited for an allowance",
            Unit::Seconds,
            metrics.waited.clone(),
        );
        group.register(
            "unwritten_entries",
            "Ledger entries that no owner has written down yet",
            metrics.unwritten.clone(),
        );
        group.register(
            "outages",
            "Tenants and models that are admitted without their owner's word; alert above 0",
            metrics.outages.clone(),
        );
        metrics
    }

    pub(super) fn admission(&self, outcome: &'static str) {
        self.admissions.get_or_create(&ByOutcome { outcome }).inc();
    }

    pub(super) fn ask(&self, outcome: &'static str) {
        self.asks.get_or_create(&ByOutcome { outcome }).inc();
    }

    pub(super) fn waited_ms(&self, waited_ms: u64) {
        self.waited.observe(waited_ms as f64 / 1000.0);
    }

    pub(super) fn unwritten(&self, entries: usize) {
        self.unwritten.set(entries as i64);
    }

    pub(super) fn outage(&self, began: bool) {
        if began {
            self.outages.inc()
        } else {
            self.outages.dec()
        };
    }
}
