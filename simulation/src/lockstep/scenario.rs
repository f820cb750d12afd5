//! Scenario files: which workload runs on how many nodes for how long, and what may go wrong.

use std::path::Path;

use serde::Deserialize;

/// The nodes that one run may have.
const NODES_MAX: usize = 16;

/// One scenario, as its TOML file says it. Times are virtual.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub name: String,
    /// What the nodes and their clients do; see `WORKLOADS`.
    pub workload: String,
    #[serde(default = "default_nodes")]
    pub nodes: usize,
    /// The whole run.
    pub duration_ms: u64,
    /// From here on nothing goes wrong any more.
    pub heal_ms: u64,
    /// How often nodes and coordinator meet; no message takes less than that.
    #[serde(default = "default_tick_ms")]
    pub tick_ms: u64,
    /// Shortest and longest way of a message.
    #[serde(default = "default_delay_ms")]
    pub delay_ms: [u64; 2],
    /// The most that the wall clocks of two nodes differ, unless `skew_beyond` strikes.
    #[serde(default = "default_max_skew_ms")]
    pub max_skew_ms: u64,
    /// The kinds of faults from which each seed draws some.
    #[serde(default)]
    pub faults: Vec<FaultKind>,
    /// What the workload takes beside that.
    #[serde(default)]
    pub parameters: toml::Table,
}

/// A kind of fault that a scenario may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Nothing passes between two nodes.
    Partition,
    /// Nothing passes between one node and all others.
    Isolate,
    /// Nothing passes in one direction between two nodes.
    OneWay,
    /// A node stands still, then goes on with a jump of its clocks.
    Freeze,
    /// A node's process is killed, and started again later.
    Kill,
    /// The wall clocks differ, within `max_skew_ms`.
    ClockSkew,
    /// A node's wall clock steps further than `max_skew_ms` allows.
    SkewBeyond,
    StoreSlow,
    StoreConflict,
    StoreTooOld,
    StoreUnknownCommitted,
    StoreUnknownLost,
    StoreOutage,
    /// Nothing passes between one node and the store.
    StoreCut,
}

/// Why a scenario cannot run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioError(String);

impl std::fmt::Display for ScenarioError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for ScenarioError {}

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// That it cannot be read, or what in it is wrong.
    pub fn read(path: &Path) -> Result<Scenario, ScenarioError> {
        let place = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            ScenarioError(format!("scenario {place} cannot be read: {error}; name another file"))
        })?;
        Scenario::parse(&text)
            .map_err(|ScenarioError(problem)| ScenarioError(format!("scenario {place}: {problem}")))
    }

    /// Reads a scenario from the text of its file.
    ///
    /// # Errors
    /// What in it is wrong.
    pub fn parse(text: &str) -> Result<Scenario, ScenarioError> {
        let scenario: Scenario =
            toml::from_str(text).map_err(|error| ScenarioError(error.to_string()))?;
        match scenario.problem() {
            Some(problem) => Err(ScenarioError(problem)),
            None => Ok(scenario),
        }
    }

    fn problem(&self) -> Option<String> {
        let [shortest_ms, longest_ms] = self.delay_ms;
        let doubled = |kind: &FaultKind| self.faults.iter().filter(|it| *it == kind).count() > 1;
        if !(1..=NODES_MAX).contains(&self.nodes) {
            return Some(format!("`nodes` is {}; take 1 to {NODES_MAX}", self.nodes));
        }
        if !(1..=100).contains(&self.tick_ms) {
            return Some(format!("`tick_ms` is {}; take 1 to 100", self.tick_ms));
        }
        if shortest_ms < self.tick_ms || longest_ms < shortest_ms {
            return Some(format!(
                "`delay_ms` is [{shortest_ms}, {longest_ms}]; the first must be at least \
                 `tick_ms` ({}) and the second at least the first",
                self.tick_ms
            ));
        }
        if self.heal_ms >= self.duration_ms {
            return Some(format!(
                "`heal_ms` is {}, which is not before `duration_ms` {}; leave the world time to \
                 make progress after the last fault",
                self.heal_ms, self.duration_ms
            ));
        }
        let twice = self.faults.iter().find(|kind| doubled(kind))?;
        Some(format!("`faults` names {twice:?} twice; name each kind once"))
    }
}

fn default_nodes() -> usize {
    3
}

fn default_tick_ms() -> u64 {
    2
}

fn default_delay_ms() -> [u64; 2] {
    [2, 25]
}

fn default_max_skew_ms() -> u64 {
    500
}
