//! What a run is about: the clients' side in the coordinator and the program on each node.

use headwater_storage::Pair;

use super::chance::Chance;
use super::conditions::Conditions;
use super::demonstration;
use super::outcome::{LineKind, Trace};
use super::process::LockstepError;
use super::program::Program;
use super::quota;

/// The clients of a run and the checks of what they saw. Lives in the coordinator, where it
/// sees everything; it must act by nothing but what it is given.
pub trait Workload {
    /// Called once a tick, until the run's end.
    fn step(&mut self, clients: &mut Clients<'_>);

    /// A node's program answered.
    fn result(&mut self, clients: &mut Clients<'_>, node: usize, result: &[u8]);

    /// The run has ended: `reports` has each node's last word, `store` all rows.
    fn end(&mut self, clients: &mut Clients<'_>, reports: &[(usize, Vec<u8>)], store: &[Pair]);
}

/// What the clients know and may do. Nodes are counted from 0.
pub struct Clients<'a> {
    pub now_ms: u64,
    /// From here on no fault strikes any more.
    pub heal_ms: u64,
    pub nodes: usize,
    /// A stream of its own.
    pub chance: &'a mut Chance,
    pub(super) conditions: &'a Conditions,
    pub(super) trace: &'a mut Trace,
    pub(super) sent: &'a mut Vec<(usize, Vec<u8>)>,
}

impl Clients<'_> {
    /// Sends work to a node's program; it is lost when the node dies before it arrives.
    pub fn send(&mut self, node: usize, work: Vec<u8>) {
        self.sent.push((node, work));
    }

    /// How long no fault has struck; `None` before the world heals.
    pub fn healed_since_ms(&self) -> Option<u64> {
        self.now_ms.checked_sub(self.heal_ms)
    }

    /// Whether a node's process runs. A frozen one does.
    pub fn is_running(&self, node: usize) -> bool {
        !self.conditions.dead.contains(&node)
    }

    /// Which start of a node's process this is.
    pub fn incarnation(&self, node: usize) -> u64 {
        self.conditions.incarnations.get(node).copied().unwrap_or_default()
    }

    /// Adds a line to the story.
    pub fn note(&mut self, text: impl Into<String>) {
        self.trace.add(self.now_ms, "client", LineKind::Client, text);
    }

    /// Counts something that a large run must have seen.
    pub fn count(&mut self, what: &str) {
        self.trace.count(what);
    }

    /// Says that a named invariant does not hold.
    pub fn violated(&mut self, invariant: &str, seen: impl std::fmt::Display) {
        self.trace.violated(self.now_ms, "client", &format!("{invariant}: {seen}"));
    }
}

/// A workload that scenarios may name.
pub struct WorkloadKind {
    pub name: &'static str,
    /// The clients' side, from the scenario's parameters.
    pub clients: fn(&toml::Table) -> Result<Box<dyn Workload>, String>,
    /// The nodes' side, from the same parameters.
    pub program: fn(&toml::Table) -> Result<Box<dyn Program>, String>,
}

/// Every workload.
pub const WORKLOADS: &[WorkloadKind] = &[demonstration::KIND, quota::KIND];

fn kind(name: &str) -> Result<&'static WorkloadKind, LockstepError> {
    let known = || WORKLOADS.iter().map(|kind| kind.name).collect();
    let found = WORKLOADS.iter().find(|kind| kind.name == name);
    found.ok_or_else(|| LockstepError::NoWorkload { name: name.to_owned(), known: known() })
}

pub(super) fn clients(
    name: &str,
    parameters: &toml::Table,
) -> Result<Box<dyn Workload>, LockstepError> {
    (kind(name)?.clients)(parameters).map_err(LockstepError::Parameters)
}

/// For a node's process.
pub(super) fn program(name: &str, parameters: &str) -> Result<Box<dyn Program>, String> {
    let parameters = toml::from_str(parameters).map_err(|error| error.to_string())?;
    (kind(name).map_err(|error| error.to_string())?.program)(&parameters)
}
