//! The agents workload: runs of agents through the real runner, the real gateway and the real tool
//! service, on nodes that are killed, cut off and frozen over a store that fails.
//!
//! They ask a model that is late, fails and calls what there is not; what tools do is counted
//! outside of the nodes. Whoever listens to a run, on whatever node, must hear one journal that
//! only grows, and one end.

mod book;
pub(super) mod checks;
pub(super) mod client;
pub(super) mod keys;
mod model;

use headwater_actors::tools::{AgentsSettings, RunFinish};

use super::Options;
use super::catalog::Entry;
use crate::outcome::Outcome;
use crate::world::World;

pub(super) use book::Runs;
pub(super) use model::serve;

/// When every run must have ended, in virtual ms: what was begun last is past its deadline.
const RUNS_CHECK_MS: u64 = 130_000;
/// The longest that a run may take, in ms.
const RUN_MS: u64 = 60_000;

/// What must happen in some of many seeds.
pub(crate) const SOMETIMES: &[&str] = &[
    "approval given",
    "approval refused",
    "asked again by another process",
    "everything checked",
    "journal heard from its middle",
    "model asked again",
    "model asked again by another process",
    "model asked for garbled arguments",
    "model asked for several calls at once",
    "model asked for unknown tools",
    "model broke off",
    "model broken",
    "model late",
    "model refused",
    "model said nothing",
    "model silent",
    "no room for a run",
    "node cut from the store",
    "node frozen",
    "node killed",
    "run asked for again",
    "run asked for otherwise",
    "run cancelled",
    "key revoked",
    "run ended with its key",
    "run ended: answered",
    "run ended: cancelled",
    "run ended: deadline",
    "run ended: error",
    "run ended: iterations",
    "run ended: loop",
    "run ended: money",
    "run ended: refused",
    "run taken over after a death",
    "run taken over from a node that lives",
    "run waits for an approval",
    "store down",
    "tool arrived late",
    "tool lost its answer",
];

/// What a seed draws for its runs.
#[derive(Debug, Clone)]
pub(super) struct RunOptions {
    /// Runs that a client begins, repetitions left out.
    runs: u64,
    /// Keys that some runs are begun with; all are revoked.
    keys: u64,
    pub(super) agents: AgentsSettings,
    mood: model::Mood,
}

impl RunOptions {
    fn draw(world: &World) -> RunOptions {
        let lease_ms = world.between(1_500, 6_000);
        let runs_max = world.between(2, 12) as usize;
        RunOptions {
            runs: world.between(2, 4),
            keys: world.between(0, 3),
            agents: AgentsSettings { lease_ms, runs_max, team_runs_max: runs_max },
            mood: model::Mood::draw(world),
        }
    }
}

/// Runs one seed.
pub(crate) fn run(seed: u64) -> Outcome {
    let world = World::new(seed);
    let options = Options::draw(&world);
    let runs = Runs::new(&world, RunOptions::draw(&world));
    super::play(seed, &world, options, Some(runs))
}

/// The tool that a model calls by this name.
fn tool_called(function: &str) -> Option<Entry> {
    function.rsplit_once("_v").and_then(|(name, _)| Entry::named(name))
}

/// What the run's counts call it.
fn ended(finish: RunFinish) -> &'static str {
    match finish {
        RunFinish::Answered => "run ended: answered",
        RunFinish::Iterations => "run ended: iterations",
        RunFinish::Money => "run ended: money",
        RunFinish::Loop => "run ended: loop",
        RunFinish::Deadline => "run ended: deadline",
        RunFinish::Cancelled => "run ended: cancelled",
        RunFinish::Refused => "run ended: refused",
        RunFinish::Error => "run ended: error",
    }
}
