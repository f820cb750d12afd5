//! What goes wrong with processes and their store, until the world heals.

use super::node::{Cluster, Life};

/// One kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Episode {
    /// A process dies, wherever its workers are, and starts again.
    Kill,
    /// A process leaves in good order and comes back.
    Leave,
    /// The store does not answer one process.
    StoreCut,
    /// What one process asks the store waits, and goes through when others have taken over.
    StoreStall,
    StoreDown,
    StoreSlow,
}

/// From one episode to the next, in ms.
const CALM_MS: (u64, u64) = (300, 5_000);
/// The longest that one process does not reach the store, in ms: longer than a hold.
const CUT_MS: u64 = 16_000;
/// How long what a process asks the store may be on its way, in ms: until others have taken over
/// and have written the same documents.
const STALL_MS: (u64, u64) = (8_000, 30_000);
/// The longest that a process is away, in ms.
const AWAY_MS: u64 = 4_000;
/// How long a leaving process may take, in ms.
const DRAIN_MS: u64 = 8_000;

/// Makes trouble until the world heals.
pub(super) async fn make(cluster: Cluster) {
    let (world, options) = (cluster.world.clone(), cluster.options.clone());
    if options.episodes.is_empty() {
        return;
    }
    loop {
        world.sleep(world.between(CALM_MS.0, CALM_MS.1)).await;
        if world.now_ms() >= options.heal_ms {
            return;
        }
        let place = world.between(0, options.episodes.len() as u64 - 1) as usize;
        let episode = options.episodes[place];
        let Some(life) = cluster.any() else { continue };
        world.spawn(act(cluster.clone(), life, episode));
    }
}

async fn act(cluster: Cluster, life: Life, episode: Episode) {
    let world = &cluster.world;
    let left_ms = cluster.options.heal_ms.saturating_sub(world.now_ms());
    let lasts_ms = world.between(50, CUT_MS).min(left_ms);
    match episode {
        Episode::Kill => {
            cluster.kill(&life);
            world.count("node killed");
            come_back(&cluster, &life).await;
        }
        Episode::Leave => {
            let drained = life.workers.drain(DRAIN_MS).await;
            world.count(if drained { "node drained" } else { "node left before it drained" });
            cluster.kill(&life);
            come_back(&cluster, &life).await;
        }
        Episode::StoreCut => {
            world.count("node cut from the store");
            life.door.cut(true);
            world.sleep(lasts_ms).await;
            life.door.cut(false);
        }
        Episode::StoreStall => {
            world.count("node stalled on its way to the store");
            life.door.stall(true);
            world.sleep(world.between(STALL_MS.0, STALL_MS.1).min(left_ms)).await;
            life.door.stall(false);
        }
        Episode::StoreDown => {
            cluster.store.set_down(true);
            world.sleep(lasts_ms.min(3_000)).await;
            cluster.store.set_down(false);
        }
        Episode::StoreSlow => {
            cluster.store.set_slow(true);
            world.sleep(lasts_ms).await;
            cluster.store.set_slow(false);
        }
    }
}

async fn come_back(cluster: &Cluster, life: &Life) {
    cluster.world.sleep(cluster.world.between(10, AWAY_MS)).await;
    let is_free = cluster.lives().iter().all(|other| other.place != life.place);
    if is_free && !cluster.is_closed() {
        cluster.start(life.place);
    }
}
