//! The gateway workload: clients chat through the real gateway and the real quotas, with backends
//! that are slow, busy, broken, or cut their answers off, and a store that fails.
//!
//! The backends keep their own count of what they produced; in the end it must be what was
//! charged, to the token. Every request leaves one record in an audit lake that fails, too.

mod backend;
mod book;
mod checks;
mod client;
mod lake;
mod node;
mod options;
mod wording;

use std::sync::Arc;

use crate::outcome::Outcome;
use crate::shared_store::SharedStore;
use crate::world::{End, World};

use book::Book;
use node::Node;
pub(crate) use node::{redaction, tenancy};
use options::Options;

/// What must happen in some of many seeds.
pub(crate) const SOMETIMES: &[&str] = &[
    "answer cut",
    "answer left",
    "answer whole",
    "audit append came through unseen",
    "audit append failed",
    "audit flush failed",
    "backend broken",
    "backend cut before it spoke",
    "backend limited",
    "backend silent",
    "everything checked",
    "given again",
    "given again in other words",
    "own words came back",
    "refused by the quota",
    "request at fault",
    "store down",
    "tried again",
    "unavailable",
];

/// Runs one seed.
pub(crate) fn run(seed: u64) -> Outcome {
    let world = World::new(seed);
    let options = Arc::new(Options::draw(&world));
    let book = Book::new(&world);
    let store = SharedStore::draw(
        &world,
        20,
        options::LATE_MS,
        Arc::new(|_: &crate::shared_store::Commit| {}),
    );
    let described = format!("{}; store: {}", options.describe(), store.describe());
    let node = match Node::start(&world, &options, &store, &book) {
        Ok(node) => node,
        Err(problem) => {
            world.violated("the_drawn_configuration_is_good", problem);
            let (trace, counts, violations) = world.take_notes();
            return Outcome { seed, options: described, counts, violations, trace };
        }
    };
    for number in 0..options.clients {
        world.spawn(client::run(node.clone(), book.clone(), number));
    }
    world.spawn(trouble(world.clone(), store.clone(), options.clone()));
    world.spawn(checks::check(node.clone(), store, book));
    let end = world.run(options::END_MS);
    // Members and owners look for what is due for ever.
    if end == End::Endless {
        world.violated("everything_comes_to_rest", format_args!("the world ended {end:?}"));
    }
    node.close();
    let (trace, counts, violations) = world.take_notes();
    world.clear();
    Outcome { seed, options: described, counts, violations, trace }
}

/// The store is away now and then, until the world heals.
async fn trouble(world: World, store: SharedStore, options: Arc<Options>) {
    while options.store_fails && world.now_ms() < options::HEAL_MS {
        world.sleep(world.between(500, 6_000)).await;
        if world.now_ms() < options::HEAL_MS {
            store.set_down(true);
            world.count("store down");
            world.sleep(world.between(50, 4_000)).await;
            store.set_down(false);
        }
    }
}
