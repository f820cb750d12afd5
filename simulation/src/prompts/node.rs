//! One node: the real prompt service and its runner over its own way into the store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_actors::cluster::Leases;
use headwater_actors::prompts::{
    PromotionRunner, PromptKey, PromptMetrics, PromptSettings, PromptsHandle, Scanner,
};
use headwater_actors::runtime::Runtime;
use headwater_cluster::{Claimant, Incarnation, KeeperSettings, NodeId};
use headwater_storage::retry::{Retry, RetryPolicy};
use prometheus_client::registry::Registry;

use super::{Options, model};
use crate::shared_store::{Door, DoorStore, SharedStore};
use crate::world::{Group, World};

/// 15 s before 2026-01-01, in ms since 1970: the world's time 0. The night falls among the faults.
pub(super) const BASE_MS: u64 = 1_767_225_600_000 - 15_000;

/// The prompts of the one team there is.
pub(super) fn prompt(number: u64) -> PromptKey {
    PromptKey::new("acme", &format!("greeting-{number}"))
}

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
    handle: Option<PromptsHandle>,
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

    pub(super) fn handle(&self) -> Option<PromptsHandle> {
        self.life().handle.clone()
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
        let mut life = self.life();
        self.world.kill(life.group);
        life.door.close();
        life.handle = None;
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
    let settings = PromptSettings {
        refresh_ms: options.refresh_ms,
        stale_ms: 2_000,
        tells: true,
        ..PromptSettings::default()
    };
    let metrics = PromptMetrics::register(&mut Registry::default());
    let scanner = Scanner::new(&[]);
    let handle = scanner.ok().and_then(|scanner| {
        let (runtime, retry) = (runtime.clone(), retry.clone());
        PromptsHandle::new(runtime, retry, settings, scanner, Vec::new(), metrics).ok()
    });
    if let (Some(handle), Ok(node)) = (&handle, NodeId::new(format!("node-{number}"))) {
        let claimant = Claimant { node, incarnation: Incarnation(number * 1_000 + count + 1) };
        let leases = Leases::new(runtime.clone(), retry, claimant, KeeperSettings::default());
        runtime.spawn(leases.clone().run());
        if options.evals
            && let Some(gateway) = model::gateway(world, &runtime, number)
        {
            handle.ask_gateway(gateway);
        }
        runtime.spawn(handle.clone().follow());
        runtime.spawn(PromotionRunner::new(handle.clone(), leases).run());
    }
    Life { count, group, door, handle }
}
