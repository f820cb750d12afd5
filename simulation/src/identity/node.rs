//! One node: the real directory of keys over its own way into the store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_actors::identity::{IdentityHandle, IdentityMetrics, IdentitySettings, KeyRefusal};
use headwater_actors::runtime::Runtime;
use headwater_storage::retry::{Retry, RetryPolicy};
use prometheus_client::registry::Registry;

use super::Options;
use crate::shared_store::{Door, DoorStore, SharedStore};
use crate::world::{Group, World};

/// 2026-01-01, in ms since 1970: the world's time 0.
const BASE_MS: u64 = 1_767_225_600_000;

/// See the module.
pub(super) struct Node {
    world: World,
    store: SharedStore,
    number: u64,
    life: Mutex<Life>,
}

/// What one process of the node has.
struct Life {
    count: u64,
    group: Group,
    door: Arc<Door>,
    handle: IdentityHandle,
}

/// Which process of which node.
pub(super) type Place = (u64, u64);

impl Node {
    pub(super) fn start(
        world: &World,
        options: &Options,
        store: &SharedStore,
        number: u64,
    ) -> Node {
        let life = Mutex::new(begin(world, options, store, number, 0));
        Node { world: world.clone(), store: store.clone(), number, life }
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn place(&self) -> Place {
        (self.number, self.life().count)
    }

    pub(super) fn handle(&self) -> IdentityHandle {
        self.life().handle.clone()
    }

    pub(super) fn find(&self, key: &str) -> Result<(), KeyRefusal> {
        self.handle().find(key).map(drop)
    }

    pub(super) fn cut(&self, cut: bool) {
        self.life().door.cut(cut);
    }

    pub(super) fn freeze(&self, freeze: bool) {
        let group = self.life().group;
        if freeze { self.world.freeze(group) } else { self.world.thaw(group) }
    }

    /// The process dies, and another one begins with an empty memory.
    pub(super) fn restart(&self, options: &Options) {
        let mut life = self.life();
        self.world.kill(life.group);
        life.door.close();
        *life = begin(&self.world, options, &self.store, self.number, life.count + 1);
    }

    pub(super) fn heal(&self) {
        let life = self.life();
        life.door.cut(false);
        self.world.thaw(life.group);
    }

    /// The world has ended: what the node still holds keeps nothing of it alive.
    pub(super) fn close(&self) {
        let life = self.life();
        self.world.kill(life.group);
        life.door.close();
    }
}

fn begin(world: &World, options: &Options, store: &SharedStore, number: u64, count: u64) -> Life {
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
    let (stale_ms, refresh_ms) = (options.stale_ms, options.refresh_ms);
    let handle = follow_keys(world, &runtime, retry, IdentitySettings { refresh_ms, stale_ms });
    Life { count, group, door, handle }
}

/// The keys of a process, which follows the store from now on.
pub(crate) fn follow_keys(
    world: &World,
    runtime: &Runtime,
    retry: Retry,
    settings: IdentitySettings,
) -> IdentityHandle {
    let drawing = world.clone();
    let bits = move || {
        let mut bits = [0; 32];
        bits.chunks_mut(8).for_each(|part| part.copy_from_slice(&drawing.draw().to_le_bytes()));
        Some(bits)
    };
    let metrics = IdentityMetrics::register(&mut Registry::default());
    let keys = IdentityHandle::new(runtime.clone(), retry, Arc::new(bits), settings, metrics);
    runtime.spawn(keys.clone().run());
    keys
}
