//! What the edge counts, by route.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByStatus {
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRoute {
    route: String,
}

fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 16))
}

/// The edge's metric families; cheap to clone.
#[derive(Debug, Clone)]
pub struct EdgeMetrics {
    requests: Family<ByStatus, Counter>,
    duration: Family<ByRoute, Histogram>,
}

impl EdgeMetrics {
    /// Makes the families and registers them under `headwater_http_*`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = EdgeMetrics {
            requests: Family::default(),
            duration: Family::new_with_constructor(durations),
        };
        let group = registry.sub_registry_with_prefix("headwater_http");
        group.register("requests", "Requests by route and status", metrics.requests.clone());
        group.register_with_unit(
            "request_duration",
            "From the head of a request to the head of its answer",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        metrics
    }

    pub(crate) fn request(&self, route: &str, status: u16, elapsed: Duration) {
        let route = route.to_owned();
        self.duration
            .get_or_create(&ByRoute { route: route.clone() })
            .observe(elapsed.as_secs_f64());
        self.requests.get_or_create(&ByStatus { route, status }).inc();
    }
}
