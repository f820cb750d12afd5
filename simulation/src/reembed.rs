//! Re-embedding: documents are put, replaced and deleted while versions are built, switched,
//! rolled back and retired; searches go on all the time; processes die, freeze and lose the
//! store and the sink. The vectors tell which version made them, so a mix is seen.

mod board;
mod chaos;
mod clients;
mod finish;
mod models;
mod node;
mod sink;
mod truth;

use std::sync::Arc;

use headwater_actors::collection::Role;
use headwater_vectors::memory::MemorySink;

use crate::outcome::Outcome;
use crate::shared_store::SharedStore;
use crate::world::{End, World};

use board::Board;
use models::Models;
use node::Cluster;
use sink::SinkTroubles;
use truth::Truth;

pub(crate) const TENANT: &str = "acme";
pub(crate) const NAME: &str = "notes";

/// When faults stop, in virtual ms.
const HEAL_MS: u64 = 40_000;
/// After that everything claimed by the dead has run out, in virtual ms.
const SETTLED_MS: u64 = HEAL_MS + 60_000;
/// When the checks must have ended, in virtual ms.
const END_MS: u64 = SETTLED_MS + 60_000;

/// What must happen in some of many seeds.
pub(crate) const SOMETIMES: &[&str] = &[
    "a hit was gone",
    "a lazy build was completed",
    "build cancelled",
    "build paused",
    "build started again at once",
    "build switched",
    "commit unknown, late",
    "document deleted",
    "document put",
    "document write failed",
    "found",
    "model not served",
    "node frozen",
    "node killed",
    "previous version searched",
    "retired",
    "rolled back",
    "search refused",
    "sink answer lost",
    "sink down",
    "store conflict",
];

/// What a seed draws.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) nodes: u64,
    /// Of each process.
    pub(crate) workers: u64,
    pub(crate) documents: u64,
    pub(crate) texts: u64,
    pub(crate) page_chunks: usize,
    pub(crate) kills: bool,
    pub(crate) freezes: bool,
    pub(crate) cuts: bool,
    pub(crate) unloads: bool,
    /// Longest pause of the operator, in ms.
    pub(crate) operator_ms: u64,
}

/// Runs one seed.
pub(crate) fn run(seed: u64) -> Outcome {
    let world = World::new(seed);
    let options = Options {
        nodes: world.between(2, 3),
        workers: world.between(1, 2),
        documents: world.between(3, 8),
        texts: world.between(6, 16),
        page_chunks: world.between(1, 4) as usize,
        kills: world.percent(70),
        freezes: world.percent(40),
        cuts: world.percent(40),
        unloads: world.percent(30),
        operator_ms: world.between(400, 4_000),
    };
    let memory = MemorySink::default();
    let board = Board::new(&world, options.documents, options.texts);
    let truth = Truth::new(&world, &memory, &board);
    let witness = truth.clone();
    let store = SharedStore::draw(&world, 40, 3_000, Arc::new(move |commit| witness.see(commit)));
    truth.looks_at(&store);
    let troubles = SinkTroubles::draw(&world, &memory);
    let models = Models::new(&world);
    let described = format!("{options:?}; store: {}; {}", store.describe(), troubles.describe());
    let cluster = Cluster::new(&world, &store, &troubles, &models, &board, &options);
    world.spawn(finish::begin(cluster.clone()));
    world.spawn(board.clone().change_minds(HEAL_MS));
    world.spawn(chaos::make(cluster.clone()));
    world.spawn(finish::heal_and_check(cluster.clone(), truth.clone()));
    let end = world.run(END_MS);
    if end != End::OutOfTime {
        world.violated("everything_comes_to_rest", format_args!("the world ended {end:?}"));
    }
    if !truth.is_checked() {
        world.violated("the_checks_end", "they were still waiting");
    }
    cluster.close();
    let (trace, counts, violations) = world.take_notes();
    world.clear();
    Outcome { seed, options: described, counts, violations, trace }
}

/// The name of an invariant that a version breaks by lacking vectors.
fn completeness(role_before: Role) -> &'static str {
    match role_before {
        Role::Previous => "roll_back_loses_no_document",
        _ => "a_switched_version_is_complete",
    }
}
