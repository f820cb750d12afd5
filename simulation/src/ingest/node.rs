//! Nodes: the real handle and workers on the world's clock and tasks, through a door into the
//! shared store, with one sink and one embedding service for all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_actors::collection::Collections;
use headwater_actors::ingest::{IngestHandle, IngestMetrics, IngestWorkers};
use headwater_actors::runtime::Runtime;
use headwater_storage::Environment;
use headwater_storage::retry::Retry;
use prometheus_client::registry::Registry;

use super::embedder::WordEmbedder;
use super::options::Options;
use super::sink::FarSink;
use crate::shared_store::{Door, DoorStore, SharedStore};
use crate::world::{Group, World};

/// One process; cheap to clone.
#[derive(Clone)]
pub(super) struct Life {
    pub(super) place: u64,
    pub(super) number: u64,
    pub(super) group: Group,
    pub(super) handle: IngestHandle,
    pub(super) workers: IngestWorkers,
    pub(super) door: Arc<Door>,
}

/// The processes that run; cheap to clone.
#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) world: World,
    pub(super) options: Arc<Options>,
    pub(super) store: SharedStore,
    pub(super) sink: FarSink,
    pub(super) embedder: WordEmbedder,
    /// What each place's wall clock reads at virtual 0, in ms.
    walls_ms: Arc<Vec<u64>>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    lives: BTreeMap<u64, Life>,
    next: u64,
    closed: bool,
}

/// The true time at virtual 0, in ms since 1970.
const BASE_MS: u64 = 1_790_812_800_000;

impl Cluster {
    pub(super) fn new(
        world: &World,
        options: &Arc<Options>,
        store: &SharedStore,
        sink: &FarSink,
        embedder: &WordEmbedder,
    ) -> Cluster {
        let skew_ms = options.settings.hold.max_skew_ms;
        let wall = |_| BASE_MS - skew_ms / 2 + world.between(0, skew_ms);
        Cluster {
            world: world.clone(),
            options: Arc::clone(options),
            store: store.clone(),
            sink: sink.clone(),
            embedder: embedder.clone(),
            walls_ms: Arc::new((0..=options.nodes).map(wall).collect()),
            state: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lives(&self) -> Vec<Life> {
        self.lock().lives.values().cloned().collect()
    }

    /// Whether the run is over.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// One of the processes that run, by lot.
    pub(super) fn any(&self) -> Option<Life> {
        let lives = self.lives();
        let last = (lives.len() as u64).checked_sub(1)?;
        lives.get(self.world.between(0, last) as usize).cloned()
    }

    /// A handle of no process, for checks and for what is set up; it has no workers.
    pub(super) fn outside(&self) -> IngestHandle {
        let runtime = self.runtime(0, Group::WORLD);
        self.handle(&runtime, &self.store.door(0))
    }

    fn handle(&self, runtime: &Runtime, door: &Arc<Door>) -> IngestHandle {
        let settings = self.options.settings;
        let store = Arc::new(DoorStore(Arc::clone(door)));
        let retry = Retry::new(store, runtime.environment().clone(), settings.retry);
        let (sink, embedder) = (Arc::new(self.sink.clone()), Arc::new(self.embedder.clone()));
        let collections = Collections::new(runtime.clone(), retry.clone(), sink, embedder);
        IngestHandle::new(runtime.clone(), retry, collections, settings)
    }

    /// Starts a process at a place that has none.
    pub(super) fn start(&self, place: u64) {
        let number = {
            let mut state = self.lock();
            state.next += 1;
            state.next
        };
        let group = self.world.new_group();
        let runtime = self.runtime(place, group);
        let door = self.store.door(number);
        let handle = self.handle(&runtime, &door);
        let metrics = IngestMetrics::register(&mut Registry::default());
        let (sink, embedder) = (Arc::new(self.sink.clone()), Arc::new(self.embedder.clone()));
        let workers = IngestWorkers::start(handle.clone(), sink, embedder, None, metrics);
        self.world.note(format_args!("node {place} starts as {number}"));
        let life = Life { place, number, group, handle, workers, door };
        self.lock().lives.insert(place, life);
    }

    /// Ends a process without a word.
    pub(super) fn kill(&self, life: &Life) {
        {
            let mut state = self.lock();
            if state.lives.get(&life.place).is_none_or(|running| running.number != life.number) {
                return;
            }
            state.lives.remove(&life.place);
        }
        self.world.note(format_args!("node {} dies as {}", life.place, life.number));
        self.world.kill(life.group);
        life.door.close();
    }

    /// The world has ended: what processes still hold keeps nothing of it alive.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        for life in self.lives() {
            self.world.kill(life.group);
            life.door.close();
        }
    }

    fn runtime(&self, place: u64, group: Group) -> Runtime {
        let (clock, pause, draw) = (self.world.clone(), self.world.clone(), self.world.clone());
        // Monotonic clocks of two processes have nothing to do with each other.
        let booted_ms = self.world.between(0, 1_000_000);
        let environment = Environment::new(
            move || booted_ms + clock.now_ms(),
            move |ms| Box::pin(pause.sleep(ms)),
            move || draw.draw(),
        );
        let wall_ms = self.walls_ms.get(place as usize).copied().unwrap_or(BASE_MS);
        let (wall, world) = (self.world.clone(), self.world.clone());
        Runtime::new(
            environment,
            move || wall_ms + wall.now_ms(),
            move |task| world.spawn_in(group, task),
        )
    }
}
