//! The prompts workload: people commit, promote and take back versions, and begin experiments,
//! through nodes that are cut off, frozen and killed over a store that fails, while others ask
//! every node what it serves.
//!
//! The pointer must be one line of moves, seen by every node in order and never in part; what the
//! guard has to take back it must take back, once; and when the world has healed every node serves
//! the same. Golden sets are asked through gateways of the nodes: a night is run once, flags become
//! cases by editors alone, and no two experiments have one part of a layer.

mod book;
mod flags;
mod golden;
mod model;
mod node;
mod people;

use std::sync::Arc;

use crate::outcome::Outcome;
use crate::shared_store::{Commit, SharedStore};
use crate::world::{End, World};

use book::Book;
use node::Node;

/// When faults stop, in virtual ms.
const HEAL_MS: u64 = 30_000;
/// When people begin nothing new, in virtual ms.
const STOP_MS: u64 = 40_000;
/// When every promotion must have ended and every node know it, in virtual ms.
const CHECK_MS: u64 = 80_000;
const END_MS: u64 = 81_000;
/// The longest that a request to the store is late, in ms.
const LATE_MS: u64 = 500;

/// What must happen in some of many seeds.
pub(crate) const SOMETIMES: &[&str] = &[
    "bad version taken back",
    "canary taken back",
    "canary promoted",
    "change failed",
    "change of unknown fate",
    "committed",
    "everything checked",
    "experiment began",
    "experiment expired",
    "flag dropped",
    "flag taken by an editor",
    "flag waits",
    "fresh read",
    "good version kept",
    "last good served",
    "layer was taken",
    "model failed",
    "moved elsewhere meanwhile",
    "night counted",
    "node cut from the store",
    "node frozen",
    "node killed",
    "promotion began",
    "promotion withdrawn",
    "stepped back by hand",
    "store down",
    "variant served",
];

/// What a seed draws.
#[derive(Debug, Clone)]
struct Options {
    nodes: u64,
    prompts: u64,
    authors: u64,
    readers: u64,
    refresh_ms: u64,
    guard_ms: u64,
    /// Whether nodes have a gateway, and prompts a golden set.
    evals: bool,
    cuts: bool,
    freezes: bool,
    kills: bool,
    store_fails: bool,
}

impl Options {
    fn draw(world: &World) -> Options {
        Options {
            nodes: world.between(1, 4),
            prompts: world.between(1, 3),
            authors: world.between(1, 3),
            readers: world.between(2, 5),
            refresh_ms: world.between(50, 800),
            guard_ms: world.between(2_000, 8_000),
            evals: world.percent(60),
            cuts: world.percent(60),
            freezes: world.percent(40),
            kills: world.percent(40),
            store_fails: world.percent(50),
        }
    }
}

/// Runs one seed.
pub(crate) fn run(seed: u64) -> Outcome {
    let world = World::new(seed);
    let options = Options::draw(&world);
    let book = Book::new(&world, options.guard_ms);
    let seen = book.clone();
    let witness = Arc::new(move |commit: &Commit<'_>| seen.written(commit));
    let store = SharedStore::draw(&world, 40, LATE_MS, witness);
    let described = format!("{options:?}; store: {}", store.describe());
    let nodes: Vec<Node> =
        (0..options.nodes).map(|number| Node::start(&world, &options, &store, number)).collect();
    let nodes = Arc::new(nodes);
    for _ in 0..options.authors {
        world.spawn(people::write(
            world.clone(),
            Arc::clone(&nodes),
            book.clone(),
            options.clone(),
        ));
    }
    for _ in 0..options.readers {
        world.spawn(people::read(world.clone(), Arc::clone(&nodes), book.clone(), options.clone()));
    }
    if options.evals {
        world.spawn(golden::set_up(world.clone(), Arc::clone(&nodes), options.clone()));
        let (world, nodes, book) = (world.clone(), Arc::clone(&nodes), book.clone());
        world.clone().spawn(flags::flag(world, nodes, book, options.clone()));
    }
    for number in 0..nodes.len() {
        world.spawn(trouble(world.clone(), Arc::clone(&nodes), number, options.clone()));
    }
    world.spawn(outages(world.clone(), store.clone(), options.clone()));
    world.spawn(check(world.clone(), Arc::clone(&nodes), store, book, options));
    let end = world.run(END_MS);
    // Nodes follow the store for ever.
    if end == End::Endless {
        world.violated("everything_comes_to_rest", format_args!("the world ended {end:?}"));
    }
    nodes.iter().for_each(Node::close);
    let (trace, counts, violations) = world.take_notes();
    world.clear();
    Outcome { seed, options: described, counts, violations, trace }
}

/// One node is cut off, frozen or killed now and then.
async fn trouble(world: World, nodes: Arc<Vec<Node>>, number: usize, options: Options) {
    let Some(node) = nodes.get(number) else { return };
    loop {
        world.sleep(world.between(500, 8_000)).await;
        if world.now_ms() >= HEAL_MS {
            return;
        }
        let length_ms = world.between(50, 6_000);
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
                node.restart(&options);
            }
            _ => {}
        }
    }
}

/// The store is away now and then, until the world heals.
async fn outages(world: World, store: SharedStore, options: Options) {
    while options.store_fails && world.now_ms() < HEAL_MS {
        world.sleep(world.between(500, 8_000)).await;
        if world.now_ms() < HEAL_MS {
            store.set_down(true);
            world.count("store down");
            world.sleep(world.between(50, 4_000)).await;
            store.set_down(false);
        }
    }
}

/// The world heals; then all that was begun must have come to its end.
async fn check(
    world: World,
    nodes: Arc<Vec<Node>>,
    store: SharedStore,
    book: Book,
    options: Options,
) {
    world.sleep(HEAL_MS).await;
    store.heal();
    nodes.iter().for_each(Node::heal);
    world.sleep(CHECK_MS - HEAL_MS).await;
    for prompt in 0..options.prompts {
        book.check(&nodes, &node::prompt(prompt)).await;
        if options.evals {
            golden::check(&world, &nodes, &book, &node::prompt(prompt)).await;
        }
    }
    world.count("everything checked");
}
