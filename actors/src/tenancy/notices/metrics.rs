//! What the delivery of notices counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

/// The metric families; cheap to clone.
#[derive(Debug, Clone)]
pub struct NoticeMetrics {
    deliveries: Family<ByOutcome, Counter>,
    pending: Gauge,
}

impl NoticeMetrics {
    /// Makes the families and registers them under `headwater_notices_*`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = NoticeMetrics { deliveries: Family::default(), pending: Gauge::default() };
        let group = registry.sub_registry_with_prefix("headwater_notices");
        group.register(
            "deliveries",
            "Deliveries of notices to webhooks by outcome; expired: no webhook took it in time",
            metrics.deliveries.clone(),
        );
        group.register(
            "pending",
            "Notices that some webhook has not taken; 0 on nodes that do not deliver",
            metrics.pending.clone(),
        );
        metrics
    }

    pub(super) fn delivery(&self, outcome: &'static str) {
        self.deliveries.get_or_create(&ByOutcome { outcome }).inc();
    }

    pub(super) fn pending(&self, notices: usize) {
        self.pending.set(notices as i64);
    }
}
