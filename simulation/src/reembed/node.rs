//! One process of a simulated node: real leases, collections and runner on the world's clock,
//! and the clients that live and die with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_actors::cluster::{Claimant, Incarnation, KeeperSettings, Leases, NodeId};
use headwater_actors::collection::{Collections, ReembedSettings, Reembedding};
use headwater_actors::runtime::Runtime;
use headwater_storage::retry::{Retry, RetryPolicy};

use super::Options;
use super::board::Board;
use super::clients;
use super::models::Models;
use super::sink::SinkTroubles;
use crate::shared_store::{Door, DoorStore, SharedStore};
use crate::world::{Group, World};

/// 1 October 2026 in ms since 1970: the true time at virtual 0.
const BASE_MS: u64 = 1_790_812_800_000;

/// One process; cheap to clone.
#[derive(Clone)]
pub(crate) struct Life {
    pub(crate) place: u64,
    pub(crate) number: u64,
    pub(crate) group: Group,
    pub(crate) collections: Collections,
    pub(crate) door: Arc<Door>,
}

/// The processes that run, by node; cheap to clone.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) world: World,
    pub(crate) store: SharedStore,
    pub(crate) sink: SinkTroubles,
    pub(crate) models: Models,
    pub(crate) board: Board,
    pub(crate) options: Options,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    lives: BTreeMap<u64, Life>,
    next_life: u64,
}

impl Cluster {
    pub(crate) fn new(
        world: &World,
        store: &SharedStore,
        sink: &SinkTroubles,
        models: &Models,
        board: &Board,
        options: &Options,
    ) -> Cluster {
        Cluster {
            world: world.clone(),
            store: store.clone(),
            sink: sink.clone(),
            models: models.clone(),
            board: board.clone(),
            options: options.clone(),
            state: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lives(&self) -> Vec<Life> {
        self.lock().lives.values().cloned().collect()
    }

    /// One of the processes that run.
    pub(crate) fn any(&self) -> Option<Life> {
        let lives = self.lives();
        let last = (lives.len() as u64).checked_sub(1)?;
        lives.get(self.world.between(0, last) as usize).cloned()
    }

    /// A way into the collections for this group of tasks.
    pub(crate) fn enter(&self, group: Group, number: u64) -> (Life, Runtime, Retry) {
        let door = self.store.door(number);
        let policy =
            RetryPolicy { tries: 8, first_pause_ms: 5, longest_pause_ms: 300, total_ms: 3_000 };
        let environment = self.world.environment();
        let store = Arc::new(DoorStore(Arc::clone(&door)));
        let retry = Retry::new(store, environment.clone(), policy);
        // Clocks differ a little from node to node.
        let ahead_ms = self.world.between(0, 400);
        let (clock, world) = (self.world.clone(), self.world.clone());
        let runtime = Runtime::new(
            environment,
            move || BASE_MS + ahead_ms + clock.now_ms(),
            move |task| world.spawn_in(group, task),
        );
        let (sink, models) = (Arc::new(self.sink.clone()), Arc::new(self.models.clone()));
        let collections = Collections::new(runtime.clone(), retry.clone(), sink, models);
        (Life { place: number, number, group, collections, door }, runtime, retry)
    }

    /// Starts a process on a node that has none.
    pub(crate) fn start(&self, place: u64) {
        let number = {
            let mut state = self.lock();
            state.next_life += 1;
            state.next_life
        };
        let Ok(node) = NodeId::new(format!("node-{place}")) else { return };
        let group = self.world.new_group();
        let (mut life, runtime, retry) = self.enter(group, number);
        life.place = place;
        let claimant = Claimant { node, incarnation: Incarnation(number) };
        let leases = Leases::new(runtime.clone(), retry, claimant, KeeperSettings::default());
        let settings = ReembedSettings {
            look_ms: 300,
            jobs: 2,
            chunks_per_s: None,
            page_chunks: self.options.page_chunks,
        };
        let runner = Reembedding::new(life.collections.clone(), leases.clone(), settings);
        runtime.spawn(leases.run());
        runtime.spawn(runner.run());
        for _ in 0..self.options.workers {
            runtime.spawn(clients::work(self.clone(), life.clone()));
        }
        runtime.spawn(clients::search(self.clone(), life.clone()));
        self.world.note(format_args!("node-{place} starts as {number}"));
        self.lock().lives.insert(place, life);
    }

    /// Ends a process without a word.
    pub(crate) fn kill(&self, life: &Life) {
        let removed = {
            let mut state = self.lock();
            let same = state.lives.get(&life.place).is_some_and(|now| now.number == life.number);
            if same { state.lives.remove(&life.place) } else { None }
        };
        if removed.is_some() {
            self.world.note(format_args!("node-{} dies as {}", life.place, life.number));
            self.world.kill(life.group);
            life.door.close();
        }
    }

    /// The world has ended: what processes still hold keeps nothing of it alive.
    pub(crate) fn close(&self) {
        for life in self.lives() {
            self.world.kill(life.group);
            life.door.close();
        }
        self.lock().lives.clear();
    }
}
