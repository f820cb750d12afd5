//! Deterministic simulation, tier 2: the real actors and `ractor_cluster`, in lockstep.
//!
//! Several nodes cannot share a process, because `ractor` keeps its registries in statics. So
//! each simulated node is a process of its own (the binary `headwater-lockstep`), and this
//! coordinator hands all of them short stretches of virtual time, in which they compute side by
//! side. What they send meets a seeded network, a seeded store and a schedule of faults; no
//! message takes less than one stretch, so the outcome does not depend on this machine's speed.

mod builtin;
mod chance;
mod conditions;
mod coordinator;
mod demonstration;
mod executor;
mod links;
mod node;
mod outcome;
mod process;
mod program;
mod queues;
mod quota;
mod scenario;
mod schedule;
mod shrink;
mod store;
#[cfg(test)]
mod tests;
mod timeline;
mod wire;
mod workload;

use std::path::Path;

use headwater_cluster::NodeId;

pub use chance::Chance;
pub use node::{LockstepTransport, Overrides, serve};
pub use outcome::{Cost, Divergence, Line, LineKind, LockstepOutcome};
pub use process::{LockstepError, NODE_BINARY};
pub use program::{Command, ControlLink, NodeContext, Program, Reporter, Running};
pub use scenario::{FaultKind, Scenario, ScenarioError};
pub use schedule::{ScheduledFault, Strike, draw as draw_faults};
pub use shrink::{Shrunk, shrink};
pub use timeline::html as timeline_html;
pub use workload::{Clients, WORKLOADS, Workload, WorkloadKind};

use coordinator::Coordinator;

/// Runs one seed of a scenario with the faults that the seed draws.
///
/// # Errors
/// Why the run could not be made; what it found stands in the outcome.
pub fn run(scenario: &Scenario, seed: u64) -> Result<LockstepOutcome, LockstepError> {
    run_with(scenario, seed, &draw_faults(scenario, seed), None)
}

/// Runs one seed with the given faults; `binary` names the nodes' program where it does not lie
/// beside this executable.
///
/// # Errors
/// As [`run`].
pub fn run_with(
    scenario: &Scenario,
    seed: u64,
    faults: &[ScheduledFault],
    binary: Option<&Path>,
) -> Result<LockstepOutcome, LockstepError> {
    let drawn: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let options = match drawn.is_empty() {
        true => format!("{} nodes, no faults", scenario.nodes),
        false => format!("{} nodes; {}", scenario.nodes, drawn.join("; ")),
    };
    Coordinator::new(scenario, seed, faults, binary)?.run(options)
}

/// A run, held against its second run.
#[derive(Debug, Clone)]
pub struct LockstepVerdict {
    pub outcome: LockstepOutcome,
    /// Where the two runs differ.
    pub divergence: Option<Divergence>,
}

impl LockstepVerdict {
    pub fn is_good(&self) -> bool {
        self.outcome.violations.is_empty() && self.divergence.is_none()
    }
}

/// Runs a seed twice and compares all that the nodes did, byte for byte.
///
/// # Errors
/// As [`run`].
pub fn verify(
    scenario: &Scenario,
    seed: u64,
    binary: Option<&Path>,
) -> Result<LockstepVerdict, LockstepError> {
    let faults = draw_faults(scenario, seed);
    let outcome = run_with(scenario, seed, &faults, binary)?;
    let second = run_with(scenario, seed, &faults, binary)?;
    let divergence = outcome.divergence(&second);
    Ok(LockstepVerdict { outcome, divergence })
}

/// Every node's name, in the order of their numbers.
fn node_names(nodes: usize) -> Vec<NodeId> {
    (1..=nodes).filter_map(|number| NodeId::new(format!("n{number}")).ok()).collect()
}
