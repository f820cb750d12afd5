//! What the prompt service counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    event: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

/// See the module; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct PromptMetrics {
    prompts: Gauge,
    failed_reads: Counter,
    fallbacks: Counter,
    events: Family<EventLabels, Counter>,
    judged: Family<OutcomeLabels, Counter>,
}

impl PromptMetrics {
    /// Counts in this registry.
    pub fn register(registry: &mut Registry) -> PromptMetrics {
        let metrics = PromptMetrics::default();
        let registry = registry.sub_registry_with_prefix("headwater_prompts");
        registry.register("held", "Prompts in this node's memory", metrics.prompts.clone());
        registry.register(
            "failed_reads",
            "Reads of changed prompts that failed",
            metrics.failed_reads.clone(),
        );
        registry.register(
            "fallbacks",
            "Requests that got the fallback of the node's settings",
            metrics.fallbacks.clone(),
        );
        registry.register("events", "Steps of promotions, by event", metrics.events.clone());
        registry.register(
            "live_answers",
            "Answers of users that were drawn to be judged, by outcome",
            metrics.judged.clone(),
        );
        metrics
    }

    pub(super) fn judged(&self, outcome: &'static str) {
        self.judged.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub(super) fn prompts(&self, held: usize) {
        self.prompts.set(i64::try_from(held).unwrap_or(i64::MAX));
    }

    pub(super) fn failed_read(&self) {
        self.failed_reads.inc();
    }

    pub(super) fn fell_back(&self) {
        self.fallbacks.inc();
    }

    pub(super) fn event(&self, event: &'static str) {
        self.events.get_or_create(&EventLabels { event }).inc();
    }
}
