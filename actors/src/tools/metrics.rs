//! What the tool service counts.

use headwater_tools::call::Ending;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    tool: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToolLabels {
    tool: String,
}

/// See the module; cheap to clone.
#[derive(Debug, Clone)]
pub struct ToolsMetrics {
    tools: Gauge,
    calls: Family<CallLabels, Counter>,
    refused: Family<ReasonLabels, Counter>,
    took: Family<ToolLabels, Histogram>,
    agent_runs: Family<ReasonLabels, Counter>,
}

impl ToolsMetrics {
    /// Counts in this registry.
    pub fn register(registry: &mut Registry) -> ToolsMetrics {
        let took = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let metrics = ToolsMetrics {
            tools: Gauge::default(),
            calls: Family::default(),
            refused: Family::default(),
            took: Family::new_with_constructor(took),
            agent_runs: Family::default(),
        };
        let registry = registry.sub_registry_with_prefix("headwater_tools");
        registry.register("served", "Tools that this node serves", metrics.tools.clone());
        registry.register("calls", "Calls that ended, by tool and outcome", metrics.calls.clone());
        let help = "Calls refused before any tool was asked, by reason";
        registry.register("refused", help, metrics.refused.clone());
        let agents = metrics.agent_runs.clone();
        registry.register("agent_runs", "Runs of agents that ended, by reason", agents);
        let help = "From a call to its end";
        registry.register_with_unit("call", help, Unit::Seconds, metrics.took.clone());
        metrics
    }

    pub(super) fn tools(&self, served: usize) {
        self.tools.set(i64::try_from(served).unwrap_or(i64::MAX));
    }

    pub(super) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabels { reason }).inc();
    }

    pub(super) fn agent_ended(&self, reason: &'static str) {
        self.agent_runs.get_or_create(&ReasonLabels { reason }).inc();
    }

    pub(super) fn called(&self, tool: &str, ending: &Ending, took_ms: u64) {
        let outcome = match ending {
            Ok(result) if result.is_cached => "cached",
            Ok(result) if result.is_fallback => "fallback",
            Ok(result) if result.is_error => "tool_error",
            Ok(_) => "done",
            Err(refusal) => refusal.code(),
        };
        let tool = tool.to_owned();
        self.calls.get_or_create(&CallLabels { tool: tool.clone(), outcome }).inc();
        self.took.get_or_create(&ToolLabels { tool }).observe(took_ms as f64 / 1e3);
    }
}
