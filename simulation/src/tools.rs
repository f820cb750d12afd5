//! The tools workload: a swarm of agents calls tools through the real tool service and the real
//! quotas, on nodes that are killed, cut off and frozen over a store that fails.
//!
//! One service outside of the nodes does what the tools do, and counts it: lost answers, silence
//! and late arrival must not have anything done twice, charged twice, or answered in two ways.
//! Each process of a node has books of its own; what it had not written down dies with it.

mod agent;
mod book;
mod catalog;
mod checks;
mod node;
mod people;
pub(crate) mod runs;
mod service;

use std::sync::Arc;

use crate::outcome::Outcome;
use crate::shared_store::{Commit, SharedStore};
use crate::world::{End, World};

use book::Book;
use node::Node;
use runs::Runs;
use service::{Mood, Service};

/// When faults stop, in virtual ms.
const HEAL_MS: u64 = 40_000;
/// When agents ask for nothing new, in virtual ms.
const STOP_MS: u64 = 45_000;
/// When every call is asked after, in virtual ms.
const ASK_AFTER_MS: u64 = 50_000;
/// When every call must have ended, in virtual ms.
const CHECK_MS: u64 = 150_000;
const END_MS: u64 = 151_000;
/// The longest that a request to the store is late, in ms.
const LATE_MS: u64 = 800;

/// What must happen in some of many seeds.
pub(crate) const SOMETIMES: &[&str] = &[
    "approval given",
    "approval refused",
    "approval used after a death",
    "asked again by another process",
    "asynchronous call taken over",
    "call answered",
    "call cancelled",
    "everything checked",
    "node cut from the store",
    "node frozen",
    "node killed",
    "outcome unknown",
    "refused: breaker_open",
    "refused: in_progress",
    "refused: output_invalid",
    "refused: output_too_large",
    "refused: session_budget",
    "store down",
    "tool arrived late",
    "tool busy",
    "tool hung",
    "tool lost its answer",
    "tool not reached",
    "tool said something else",
    "tool said too much",
];

/// What a seed draws.
#[derive(Debug, Clone)]
struct Options {
    nodes: u64,
    agents: u64,
    /// Calls that an agent asks for, repetitions left out.
    calls: u64,
    /// Calls and money of each session.
    sessions: Vec<(u64, u64)>,
    /// For how long a process that makes a call is believed to live.
    lease_ms: u64,
    /// Percent of what agents do that is an earlier call once more.
    repeats: u64,
    mood: Mood,
    cuts: bool,
    freezes: bool,
    kills: bool,
    store_fails: bool,
}

impl Options {
    fn draw(world: &World) -> Options {
        let budget = |_| (world.between(1, 8), world.between(1, 6) * world.between(50, 8_000));
        Options {
            nodes: world.between(1, 3),
            agents: world.between(2, 5),
            calls: world.between(4, 9),
            sessions: (0..world.between(1, 4)).map(budget).collect(),
            lease_ms: world.between(1_500, 6_000),
            repeats: world.between(20, 60),
            mood: Mood::draw(world),
            cuts: world.percent(50),
            freezes: world.percent(50),
            kills: world.percent(50),
            store_fails: world.percent(40),
        }
    }
}

/// What everybody in a run shares; cheap to clone.
#[derive(Clone)]
struct Stage {
    world: World,
    options: Arc<Options>,
    book: Book,
    nodes: Arc<Vec<Node>>,
}

impl Stage {
    fn some_node(&self) -> Option<&Node> {
        let last = self.nodes.len().checked_sub(1)? as u64;
        self.nodes.get(self.world.between(0, last) as usize)
    }
}

/// Runs one seed.
pub(crate) fn run(seed: u64) -> Outcome {
    let world = World::new(seed);
    let options = Options::draw(&world);
    play(seed, &world, options, None)
}

/// A swarm's calls, or the runs of its agents, from the first one to the checks.
fn play(seed: u64, world: &World, options: Options, runs: Option<Runs>) -> Outcome {
    let (options, book) = (Arc::new(options), Book::new(world));
    let store = SharedStore::draw(world, 30, LATE_MS, Arc::new(|_: &Commit<'_>| {}));
    let of_runs = runs.as_ref().map(|runs| format!("; {:?}", runs.options)).unwrap_or_default();
    let described = format!("{options:?}{of_runs}; store: {}", store.describe());
    let service = Service::new(world, &book, options.mood);
    let start = |number| Node::start(world, &options, &store, &service, runs.as_ref(), number);
    let nodes: Arc<Vec<Node>> = Arc::new((0..options.nodes).map(start).collect());
    let stage = Stage { world: world.clone(), options, book, nodes };
    world.spawn(people::publish(stage.clone()));
    world.spawn(people::approve(stage.clone()));
    for number in 0..stage.options.agents {
        match &runs {
            None => world.spawn(agent::run(stage.clone(), number)),
            Some(runs) => world.spawn(runs::client::run(stage.clone(), runs.clone(), number)),
        }
    }
    if let Some(runs) = &runs {
        world.spawn(runs::keys::revoke(stage.clone(), runs.clone()));
    }
    for number in 0..stage.nodes.len() {
        world.spawn(trouble(stage.clone(), number));
    }
    world.spawn(outages(stage.clone(), store.clone()));
    match &runs {
        None => world.spawn(checks::check(stage.clone(), store)),
        Some(runs) => world.spawn(runs::checks::check(stage.clone(), runs.clone(), store)),
    }
    let end = world.run(END_MS);
    // Nodes follow the store for ever.
    if end == End::Endless {
        world.violated("everything_comes_to_rest", format_args!("the world ended {end:?}"));
    }
    if runs.is_some_and(|runs| !runs.is_checked()) {
        world.violated("everything_comes_to_rest", "the checks of the runs did not end");
    }
    stage.nodes.iter().for_each(Node::close);
    stage.book.close();
    let (trace, counts, violations) = world.take_notes();
    world.clear();
    Outcome { seed, options: described, counts, violations, trace }
}

/// One node is cut off, frozen or killed now and then.
async fn trouble(stage: Stage, number: usize) {
    let Stage { world, options, book, nodes } = stage;
    let Some(node) = nodes.get(number) else { return };
    loop {
        world.sleep(world.between(500, 8_000)).await;
        if world.now_ms() >= HEAL_MS {
            return;
        }
        let length_ms = world.between(50, 9_000);
        match world.between(0, 2) {
            0 if options.cuts => {
                world.count("node cut from the store");
                node.cut(true);
                world.sleep(length_ms).await;
                node.cut(false);
            }
            1 if options.freezes => {
                world.count("node frozen");
                node.freeze(true);
                world.sleep(length_ms).await;
                node.freeze(false);
            }
            2 if options.kills => {
                world.count("node killed");
                world.note(format_args!("{:?} is killed", node.place()));
                book.died(node.place());
                node.restart(&options);
            }
            _ => {}
        }
    }
}

/// The store is away now and then, until the world heals.
async fn outages(stage: Stage, store: SharedStore) {
    let Stage { world, options, .. } = stage;
    while options.store_fails && world.now_ms() < HEAL_MS {
        world.sleep(world.between(500, 8_000)).await;
        if world.now_ms() < HEAL_MS {
            store.set_down(true);
            world.count("store down");
            world.sleep(world.between(50, 6_000)).await;
            store.set_down(false);
        }
    }
}
