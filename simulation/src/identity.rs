//! The identity workload: operators make, rotate and revoke virtual keys through nodes that are
//! cut off, frozen and killed over a store that fails, while others try every key everywhere.
//!
//! What is revoked must be refused everywhere after a bounded time, whatever is broken, and must
//! never be good again; what is good must be good everywhere once the world has healed.

mod book;
mod node;
mod people;

pub(crate) use node::follow_keys;
pub(crate) use people::new_key;

use std::sync::Arc;

use crate::outcome::Outcome;
use crate::shared_store::{Commit, SharedStore};
use crate::world::{End, World};

use book::Book;
use node::Node;

/// When faults stop, in virtual ms.
const HEAL_MS: u64 = 30_000;
/// When operators begin nothing new, in virtual ms.
const STOP_MS: u64 = 35_000;
/// When every node must know everything, in virtual ms.
const CHECK_MS: u64 = 60_000;
const END_MS: u64 = 61_000;
/// The longest that a request to the store is late, in ms.
const LATE_MS: u64 = 1_000;

/// What must happen in some of many seeds.
pub(crate) const SOMETIMES: &[&str] = &[
    "accepted after its revocation",
    "change failed",
    "change of unknown fate",
    "everything checked",
    "key made",
    "key revoked",
    "key rotated",
    "node cut from the store",
    "node frozen",
    "node killed",
    "refused as stale",
    "refused as unknown",
    "store down",
];

/// What a seed draws.
#[derive(Debug, Clone)]
struct Options {
    nodes: u64,
    operators: u64,
    users: u64,
    stale_ms: u64,
    refresh_ms: u64,
    cuts: bool,
    freezes: bool,
    kills: bool,
    store_fails: bool,
}

impl Options {
    fn draw(world: &World) -> Options {
        Options {
            nodes: world.between(1, 4),
            operators: world.between(1, 3),
            users: world.between(2, 5),
            stale_ms: world.between(1_000, 4_000),
            refresh_ms: world.between(50, 800),
            cuts: world.percent(70),
            freezes: world.percent(40),
            kills: world.percent(30),
            store_fails: world.percent(50),
        }
    }
}

/// Runs one seed.
pub(crate) fn run(seed: u64) -> Outcome {
    let world = World::new(seed);
    let options = Options::draw(&world);
    let book = Book::new(&world, options.stale_ms);
    let seen = book.clone();
    let witness = Arc::new(move |commit: &Commit<'_>| {
        commit.writes.keys().for_each(|key| seen.written(key));
    });
    let store = SharedStore::draw(&world, 40, LATE_MS, witness);
    let described = format!("{options:?}; store: {}", store.describe());
    let nodes: Vec<Node> =
        (0..options.nodes).map(|number| Node::start(&world, &options, &store, number)).collect();
    let nodes = Arc::new(nodes);
    for _ in 0..options.operators {
        world.spawn(people::operate(world.clone(), Arc::clone(&nodes), book.clone()));
    }
    for _ in 0..options.users {
        world.spawn(people::use_keys(world.clone(), Arc::clone(&nodes), book.clone()));
    }
    for number in 0..nodes.len() {
        world.spawn(trouble(world.clone(), Arc::clone(&nodes), number, options.clone()));
    }
    world.spawn(outages(world.clone(), store.clone(), options));
    world.spawn(check(world.clone(), Arc::clone(&nodes), store, book));
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
        world.sleep(world.between(200, 6_000)).await;
        if world.now_ms() >= HEAL_MS {
            return;
        }
        let length_ms = world.between(50, 2 * options.stale_ms);
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
            world.sleep(world.between(50, 2 * options.stale_ms)).await;
            store.set_down(false);
        }
    }
}

/// The world heals; then every node must know what is good and what is not.
async fn check(world: World, nodes: Arc<Vec<Node>>, store: SharedStore, book: Book) {
    world.sleep(HEAL_MS).await;
    store.heal();
    nodes.iter().for_each(Node::heal);
    world.sleep(CHECK_MS - HEAL_MS).await;
    for node in nodes.iter() {
        book.check(node);
    }
    world.count("everything checked");
}
