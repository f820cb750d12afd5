//! What the audit counts.

use headwater_storage::audit::Backlog;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByWork {
    work: &'static str,
}

/// The metric families; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct AuditMetrics {
    dropped: Counter,
    written: Counter,
    failed: Family<ByWork, Counter>,
    spill_bytes: Gauge,
    spill_records: Gauge,
    lag_seconds: Gauge,
}

impl AuditMetrics {
    /// Makes the families and registers them under `headwater_audit_*`.
    pub fn register(registry: &mut Registry) -> AuditMetrics {
        let metrics = AuditMetrics::default();
        let group = registry.sub_registry_with_prefix("headwater_audit");
        group.register("dropped", "Records that found no room", metrics.dropped.clone());
        group.register("written", "Records kept on this node's disk", metrics.written.clone());
        group.register("failed", "What the lake did not do, by work", metrics.failed.clone());
        let bytes = metrics.spill_bytes.clone();
        group.register_with_unit("spill", "What waits for the lake", Unit::Bytes, bytes);
        group.register("spill_records", "Records waiting", metrics.spill_records.clone());
        group.register_with_unit(
            "lag",
            "Age of the oldest record that is not in the lake",
            Unit::Seconds,
            metrics.lag_seconds.clone(),
        );
        metrics
    }

    pub(super) fn dropped(&self, records: u64) {
        self.dropped.inc_by(records);
    }

    pub(super) fn written(&self, records: u64) {
        self.written.inc_by(records);
    }

    pub(super) fn failed(&self, work: &'static str) {
        self.failed.get_or_create(&ByWork { work }).inc();
    }

    pub(super) fn backlog(&self, backlog: &Backlog, wall_ms: u64) {
        let int = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.spill_bytes.set(int(backlog.bytes));
        self.spill_records.set(int(backlog.records));
        let lag_ms = backlog.oldest_ms.map_or(0, |oldest| wall_ms.saturating_sub(oldest));
        self.lag_seconds.set(int(lag_ms / 1_000));
    }

    /// Records dropped so far.
    pub fn dropped_records(&self) -> u64 {
        self.dropped.get()
    }
}
