//! What the sandboxes count.

use headwater_sandbox::{Ended, Outcome};
use headwater_tools::Tier;
use headwater_tools::pool::{Counts, Reason};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SlotLabels {
    engine: &'static str,
    image: String,
    tier: &'static str,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    engine: &'static str,
    ended: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EngineLabels {
    engine: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

/// See the module; cheap to clone.
#[derive(Debug, Clone)]
pub struct SandboxMetrics {
    slots: Family<SlotLabels, Gauge>,
    ended: Family<EndLabels, Counter>,
    violations: Counter,
    took: Family<EngineLabels, Histogram>,
    refused: Family<ReasonLabels, Counter>,
    leaks: Counter,
}

impl SandboxMetrics {
    /// Counts in this registry.
    pub fn register(registry: &mut Registry) -> SandboxMetrics {
        let took = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let metrics = SandboxMetrics {
            slots: Family::default(),
            ended: Family::default(),
            violations: Counter::default(),
            took: Family::new_with_constructor(took),
            refused: Family::default(),
            leaks: Counter::default(),
        };
        let registry = registry.sub_registry_with_prefix("headwater_sandbox");
        registry.register("slots", "Slots, and calls that wait, by state", metrics.slots.clone());
        registry.register("runs", "Programs that ended, by how", metrics.ended.clone());
        registry.register(
            "seccomp_violations",
            "Programs killed for a system call that no guest may make",
            metrics.violations.clone(),
        );
        let help = "From a program's start to its end";
        registry.register_with_unit("run", help, Unit::Seconds, metrics.took.clone());
        registry.register("refused", "Calls that got no slot, by reason", metrics.refused.clone());
        registry.register("leaks", "Slots that left something behind", metrics.leaks.clone());
        metrics
    }

    pub(super) fn pool(&self, engine: &'static str, image: &str, tier: Tier, counts: Counts) {
        for (state, count) in [
            ("starting", counts.starting),
            ("idle", counts.idle),
            ("running", counts.running),
            ("recycling", counts.recycling),
            ("closing", counts.closing),
            ("waiting", counts.waiting),
        ] {
            let labels = SlotLabels { engine, image: image.to_owned(), tier: tier.word(), state };
            self.slots.get_or_create(&labels).set(i64::from(count));
        }
    }

    pub(super) fn ended(&self, engine: &'static str, outcome: &Outcome) {
        let ended = match outcome.ended {
            Ended::Exit(0) => "exit",
            Ended::Exit(_) => "failed",
            Ended::Signal(_) => "signal",
            Ended::WallTime => "wall_time",
            Ended::CpuTime => "cpu_time",
            Ended::Memory => "memory",
            Ended::Output => "output",
            Ended::Violation => "violation",
        };
        self.ended.get_or_create(&EndLabels { engine, ended }).inc();
        if outcome.ended == Ended::Violation {
            self.violations.inc();
        }
        self.took.get_or_create(&EngineLabels { engine }).observe(outcome.wall_us as f64 / 1e6);
    }

    pub(super) fn refused(&self, reason: Reason) {
        self.refused.get_or_create(&ReasonLabels { reason: reason.name() }).inc();
    }

    pub(super) fn leaked(&self) {
        self.leaks.inc();
    }
}
