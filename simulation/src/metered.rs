//! The metered embedding workload: clients ask a node for vectors until they have them; the
//! node batches, runs replicas, and charges each request once in the store.
//!
//! Between them stand the real dispatcher of the embedding service and the real retry loop
//! of the store; clients, shell and replicas are the simulation's.

mod charge;
mod checks;
mod client;
mod lending;
mod node;
mod replica;
pub(crate) mod store;

use std::sync::Arc;

use headwater_embedding::{BatchSettings, Pool, PoolPlan};
use headwater_models::double::DoubleModel;
use headwater_storage::memory::MemoryStore;
use headwater_storage::retry::{OperationId, Retry, RetryPolicy};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use crate::faults::Faults;
use crate::network::Network;
use crate::outcome::Outcome;
use crate::world::{End, World};

/// When faults stop, in virtual ms.
const HEAL_MS: u64 = 120_000;
/// When every client must have its answer, in virtual ms.
const END_MS: u64 = 1_200_000;

/// A bug to plant in the simulation's own parts, so that the checkers can be seen to find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// The retry loop keeps no operation rows.
    NoOperationRow,
    /// The node forgets to tell the dispatcher of lost replicas.
    LossIsIgnored,
    /// The node hands the vectors of a batch out in the wrong order.
    RowsAreSwapped,
    /// The node answers before it has charged, and charges once without patience.
    ChargeIsNotAwaited,
    /// Writes read without taking part in conflict detection; of the registers' clients.
    SnapshotReads,
}

impl Defect {
    pub const ALL: [Defect; 5] = [
        Defect::NoOperationRow,
        Defect::LossIsIgnored,
        Defect::RowsAreSwapped,
        Defect::ChargeIsNotAwaited,
        Defect::SnapshotReads,
    ];
}

/// What must happen in some of many seeds.
pub(crate) const SOMETIMES: &[&str] = &[
    "answered",
    "charged before",
    "charge failed",
    "overloaded",
    "replica lost",
    "replica killed",
    "request failed",
    "request cancelled",
    "message lost",
    "message sent twice",
    "message late",
    "node crashed",
    "client left",
    "store conflict",
    "store too old",
    "commit unknown, done",
    "commit unknown, lost",
    "store down",
    "batch of many",
    "ingest on its own replica",
    "ingest on a borrowed replica",
    "ingest kept from a reserved replica",
];

/// One request, the same at every try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) id: OperationId,
    pub(crate) client: u64,
    pub(crate) tenant: u64,
    pub(crate) pool: Pool,
    pub(crate) texts: Vec<Vec<u32>>,
}

impl Order {
    pub(crate) fn tokens(&self) -> u64 {
        self.texts.iter().map(|text| text.len() as u64).sum()
    }
}

/// What a client hears.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Vectors(OperationId, Arc<Vec<Vec<f32>>>),
    TryAgain(OperationId),
}

/// What a client sends.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    Embed(Order, UnboundedSender<Reply>),
    Leave(OperationId),
}

/// What a seed draws besides its faults.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) clients: u64,
    pub(crate) requests_per_client: u64,
    /// Of each pool's queue.
    pub(crate) queue_tokens: u64,
    pub(crate) plan: PoolPlan,
    pub(crate) defect: Option<Defect>,
}

impl Options {
    fn draw(world: &World, defect: Option<Defect>) -> Self {
        let batch = || BatchSettings {
            batch_tokens: world.between(64, 512) as usize,
            batch_rows: world.between(1, 16) as usize,
            batch_wait_ms: world.between(0, 20),
            padding_percent: world.between(0, 60) as usize,
            fair_tokens_per_ms: world.between(1, 16) as usize,
            batch_timeout_ms: world.between(500, 5_000),
            restart_pause_ms: world.between(10, 200),
        };
        let replicas = world.between(1, 4) as usize;
        let plan = PoolPlan {
            query: batch(),
            ingest: batch(),
            replicas,
            ingest_replicas: world.between(0, 2) as usize,
            // As many as there are, too: then ingest still gets one.
            reserved: world.between(0, replicas as u64) as usize,
        };
        Options {
            clients: world.between(2, 10),
            requests_per_client: world.between(3, 15),
            // Room for the longest request at least, else that one could never come in.
            queue_tokens: world.between(MOST_TEXTS * TEXT_TOKENS, 2_000),
            plan,
            defect,
        }
    }

    fn describe(&self, faults: &Faults) -> String {
        let Options { clients, requests_per_client, queue_tokens, plan, .. } = self;
        let PoolPlan { query, replicas, ingest_replicas, reserved, .. } = plan;
        format!(
            "{clients} clients × {requests_per_client} requests, {replicas} replicas \
             ({reserved} reserved) and {ingest_replicas} of ingest, queue {queue_tokens}, batch \
             {} tokens {} rows wait {} ms padding {} %; faults: {}",
            query.batch_tokens,
            query.batch_rows,
            query.batch_wait_ms,
            query.padding_percent,
            faults.describe(),
        )
    }
}

/// The longest text, in tokens; every batch can hold it.
pub(crate) const TEXT_TOKENS: u64 = 60;
/// The most texts in one request.
pub(crate) const MOST_TEXTS: u64 = 6;

pub(crate) fn model() -> DoubleModel {
    DoubleModel::new("simulated", 8, TEXT_TOKENS as usize)
}

/// Runs the workload under one seed.
pub(crate) fn run(seed: u64, defect: Option<Defect>) -> Outcome {
    let world = World::new(seed);
    let options = Options::draw(&world, defect);
    let faults = Faults::draw(&world);
    let described = options.describe(&faults);
    let of_store = faults.clone();
    let memory =
        MemoryStore::with_faults(world.environment(), move |point| of_store.of_store(point));
    let policy = RetryPolicy { tries: 8, ..RetryPolicy::default() };
    let retry =
        Retry::new(store::engine(Arc::new(memory.clone()), defect), world.environment(), policy);
    let network = Network::new(&world, &faults);
    let (to_node, requests) = unbounded_channel();
    let (crash, crashes) = watch::channel(0);
    let node = node::Node::new(&world, &faults, &network, retry, &options, crashes);
    let state = node.state();
    world.spawn(node.run(requests));
    world.spawn(node::crash_sometimes(world.clone(), faults.clone(), crash));
    let book = client::start_all(&world, &faults, &network, &options, &to_node);
    drop(to_node);
    let (healing, sleep) = (faults.clone(), world.sleep(HEAL_MS));
    world.spawn(async move {
        sleep.await;
        healing.heal();
    });
    let end = world.run(END_MS);
    if end != End::Quiet {
        world.violated("everything_comes_to_rest", format_args!("the world ended {end:?}"));
    }
    checks::after(&world, &book, &memory, &state);
    let (trace, counts, violations) = world.take_notes();
    Outcome { seed, options: described, counts, violations, trace }
}
