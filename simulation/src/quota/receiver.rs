//! Holders of leases whose effects reach a receiver late: it refuses what a former holder sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use headwater_actors::cluster::Claim;
use headwater_cluster::{Claimant, Fence, Incarnation};

use super::client::Crowd;
use super::node::Life;
use crate::world::World;

/// How many keys the holders fight for.
const SLOTS: u64 = 3;
/// Longest way of an effect, in ms.
const WAY_MS: u64 = 5_000;

pub(super) fn slot_key(slot: u64) -> Vec<u8> {
    format!("slot/{slot}").into_bytes()
}

/// Keys whose owners are watched.
pub(super) fn slot_keys() -> impl Iterator<Item = Vec<u8>> {
    (0..SLOTS).map(slot_key)
}

/// The receiver of effects; cheap to clone.
#[derive(Clone)]
pub(super) struct Receiver {
    world: World,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    fence: Fence,
    /// The last effect that was applied, by key: epoch and process.
    applied: BTreeMap<Vec<u8>, (u64, u64)>,
}

impl Receiver {
    pub(super) fn new(world: &World) -> Receiver {
        Receiver { world: world.clone(), state: Arc::default() }
    }

    fn take(&self, key: &[u8], epoch: u64, life: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.fence.admit(key, epoch).is_err() {
            drop(state);
            self.world.count("stale effect refused");
            return;
        }
        let last = state.applied.insert(key.to_vec(), (epoch, life));
        drop(state);
        let Some((last_epoch, last_life)) = last else { return };
        if epoch < last_epoch || (epoch == last_epoch && life != last_life) {
            let seen = format!(
                "epoch {epoch} of process {life} follows epoch {last_epoch} of {last_life}"
            );
            self.world.violated("stale_effects_are_refused", seen);
        }
    }
}

/// Claims keys, sends effects while it owns them, and lets them go or gives them away.
pub(super) async fn holds_slots(crowd: Crowd, life: Life) {
    let world = crowd.world.clone();
    while world.now_ms() < crowd.cluster.options.stop_ms && !life.is_leaving() {
        world.sleep(world.between(10, 1_500)).await;
        let key = slot_key(world.between(0, SLOTS - 1));
        match life.leases.claim(&key).await {
            Claim::Mine { .. } => own(&crowd, &life, &key).await,
            Claim::Held { .. } => world.count("lease held by another"),
            Claim::Unknown => world.count("claim unanswered"),
        }
    }
}

async fn own(crowd: &Crowd, life: &Life, key: &[u8]) {
    let world = &crowd.world;
    for _ in 0..world.between(1, 6) {
        let Some(epoch) = life.leases.epoch(key) else {
            world.count("lease lost while held");
            return;
        };
        let (receiver, key, number) = (crowd.receiver.clone(), key.to_vec(), life.number);
        let sleep = world.sleep(world.between(1, WAY_MS));
        world.spawn(async move {
            sleep.await;
            receiver.take(&key, epoch, number);
        });
        world.sleep(world.between(10, 1_500)).await;
    }
    match world.between(0, 3) {
        0 => life.leases.release(key),
        1 => {
            let others = crowd.cluster.lives();
            let heirs: Vec<&Life> =
                others.iter().filter(|other| other.number != life.number).collect();
            if heirs.is_empty() {
                return;
            }
            let heir = heirs[world.between(0, heirs.len() as u64 - 1) as usize];
            let node = heir.place.node.clone();
            let claimant = Claimant { node, incarnation: Incarnation(heir.number) };
            if life.leases.hand_over(key, claimant).await {
                world.count("lease handed over");
                // The heir hears of it and claims what is his.
                let (leases, key, sleep) =
                    (heir.leases.clone(), key.to_vec(), world.sleep(world.between(1, 200)));
                world.spawn_in(heir.group, async move {
                    sleep.await;
                    leases.claim(&key).await;
                });
            }
        }
        _ => {}
    }
}
