//! One node: the real tool service, its runner of asynchronous calls and its quotas, over its own
//! way into the store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_actors::identity::{IdentityHandle, IdentitySettings};
use headwater_actors::runtime::Runtime;
use headwater_actors::tools::{
    Backends, CallRunner, Definition, ToolsHandle, ToolsMetrics, ToolsSettings,
};
use headwater_cluster::NodeId;
use headwater_storage::memory::MemoryStore;
use headwater_storage::retry::{Retry, RetryPolicy};
use prometheus_client::registry::Registry;

use super::Options;
use super::book::Place;
use super::runs::{self, Runs};
use super::service::Service;
use crate::gateway::tenancy;
use crate::identity::follow_keys;
use crate::shared_store::{Door, DoorStore, SharedStore};
use crate::world::{Group, World};

/// 2026-01-01, in ms since 1970: the world's time 0.
pub(super) const BASE_MS: u64 = 1_767_225_600_000;
/// For how long a node vouches for keys without hearing from the store, in ms.
pub(super) const STALE_MS: u64 = 5_000;

/// See the module.
pub(super) struct Node {
    world: World,
    store: SharedStore,
    service: Service,
    /// Runs of agents that it carries on; none where there are none.
    runs: Option<Runs>,
    number: u64,
    life: Mutex<Life>,
}

/// What one process of the node has.
#[derive(Clone)]
pub(super) struct Life {
    count: u64,
    pub(super) place: Place,
    pub(super) group: Group,
    door: Arc<Door>,
    pub(super) tools: Option<ToolsHandle>,
    /// Where there are runs.
    pub(super) keys: Option<IdentityHandle>,
}

impl Node {
    pub(super) fn start(
        world: &World,
        options: &Options,
        store: &SharedStore,
        service: &Service,
        runs: Option<&Runs>,
        number: u64,
    ) -> Node {
        let life = Mutex::new(begin(world, options, store, service, runs, (number, 0)));
        let (world, store, service) = (world.clone(), store.clone(), service.clone());
        Node { world, store, service, runs: runs.cloned(), number, life }
    }

    fn lock(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process that runs now.
    pub(super) fn life(&self) -> Life {
        self.lock().clone()
    }

    pub(super) fn place(&self) -> Place {
        self.lock().place
    }

    pub(super) fn cut(&self, cut: bool) {
        self.lock().door.cut(cut);
    }

    pub(super) fn freeze(&self, freeze: bool) {
        let group = self.lock().group;
        if freeze { self.world.freeze(group) } else { self.world.thaw(group) }
    }

    /// The process dies, and another one begins with an empty memory.
    pub(super) fn restart(&self, options: &Options) {
        let mut life = self.lock();
        self.world.kill(life.group);
        life.door.close();
        let place = (self.number, life.count + 1);
        let runs = self.runs.as_ref();
        *life = begin(&self.world, options, &self.store, &self.service, runs, place);
    }

    pub(super) fn heal(&self) {
        let life = self.lock();
        life.door.cut(false);
        self.world.thaw(life.group);
    }

    /// The world has ended: what the node still holds keeps nothing of it alive.
    pub(super) fn close(&self) {
        let mut life = self.lock();
        self.world.kill(life.group);
        life.door.close();
        life.tools = None;
        life.keys = None;
    }
}

fn begin(
    world: &World,
    options: &Options,
    store: &SharedStore,
    service: &Service,
    runs: Option<&Runs>,
    place: Place,
) -> Life {
    let (number, count) = place;
    let group = world.new_group();
    let (wall, spawner) = (world.clone(), world.clone());
    let runtime = Runtime::new(
        world.environment(),
        move || BASE_MS + wall.now_ms(),
        move |task| spawner.spawn_in(group, task),
    );
    let door = store.door(number);
    let policy =
        RetryPolicy { tries: 10, first_pause_ms: 5, longest_pause_ms: 200, total_ms: 1_500 };
    let through = Arc::new(DoorStore(Arc::clone(&door)));
    let retry = Retry::new(through, runtime.environment().clone(), policy);
    let own = Arc::new(MemoryStore::new(runtime.environment().clone()));
    let books = Retry::new(own, runtime.environment().clone(), RetryPolicy::default());
    service.book.opened(books.clone());
    let keys = runs.map(|_| {
        let settings = IdentitySettings { stale_ms: STALE_MS, ..IdentitySettings::default() };
        follow_keys(world, &runtime, retry.clone(), settings)
    });
    let tools = NodeId::new(format!("node-{number}")).ok().map(|node| {
        let tenancy = tenancy(node, &runtime, &books);
        let mut settings = ToolsSettings::default();
        settings.idempotency.lease_ms = options.lease_ms;
        if let Some(runs) = runs {
            settings.agents = runs.options.agents;
        }
        let way = service.seen_by(place);
        let backends: Backends = Arc::new(move |_: &Definition| Ok(Arc::clone(&way)));
        let metrics = ToolsMetrics::register(&mut Registry::default());
        let books = tenancy.clone();
        let tools = ToolsHandle::new(runtime.clone(), retry, books, settings, backends, metrics);
        runtime.spawn(tools.clone().follow());
        runtime.spawn(CallRunner::new(tools.clone()).run());
        if let Some(keys) = &keys {
            tools.end_with_keys_of(keys.clone());
        }
        if let Some(runs) = runs {
            runs::serve(&runtime, &tools, tenancy, runs, &service.book, place);
        }
        tools
    });
    Life { count, place, group, door, tools, keys }
}
