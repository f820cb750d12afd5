//! The node's leases: claims, renewals and losses, run against the store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use headwater_cluster::{
    Claimant, Keeper, KeeperEffect, KeeperSettings, Lease, LeaseStamp, NodeId,
};
use headwater_storage::retry::Retry;
use tokio::sync::oneshot;

use super::records::{LeaseProof, acquire_lease, hand_over_lease, release_lease, renew_leases};
use crate::runtime::Runtime;

/// How often the keeper looks whether a lease has run out, in ms.
const LOOK_MS: u64 = 20;

/// What a claim came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// This node owns the key, with this epoch.
    Mine { epoch: u64 },
    /// Another node does, for so long yet at least unless it renews.
    Held { by: NodeId, remaining_ms: u64 },
    /// The store did not answer.
    Unknown,
}

type Listener = Box<dyn Fn(&[u8], u64) + Send + Sync>;

/// The node's leases; cheap to clone.
#[derive(Clone)]
pub struct Leases {
    shared: Arc<Shared>,
}

struct Shared {
    runtime: Runtime,
    retry: Retry,
    claimant: Claimant,
    settings: KeeperSettings,
    state: Mutex<State>,
    on_lost: OnceLock<Listener>,
}

struct State {
    keeper: Keeper,
    waiting: BTreeMap<Vec<u8>, Vec<oneshot::Sender<Claim>>>,
}

impl Leases {
    /// `retry` should give up well within the leases' time.
    pub fn new(
        runtime: Runtime,
        retry: Retry,
        claimant: Claimant,
        settings: KeeperSettings,
    ) -> Leases {
        let state = State { keeper: Keeper::new(settings), waiting: BTreeMap::new() };
        let (state, on_lost) = (Mutex::new(state), OnceLock::new());
        Leases { shared: Arc::new(Shared { runtime, retry, claimant, settings, state, on_lost }) }
    }

    /// Called with key and epoch when a lease is lost, before anybody else can be granted it.
    /// The first listener stays.
    pub fn on_lost(&self, listener: impl Fn(&[u8], u64) + Send + Sync + 'static) {
        let _ = self.shared.on_lost.set(Box::new(listener));
    }

    /// Claims a key, or tells who has it.
    pub async fn claim(&self, key: &[u8]) -> Claim {
        let (reply, answer) = oneshot::channel();
        let now_ms = self.shared.runtime.now_ms();
        let mut effects = Vec::new();
        {
            let mut state = self.shared.lock();
            state.waiting.entry(key.to_vec()).or_default().push(reply);
            state.keeper.want(key, now_ms, &mut effects);
        }
        self.perform(effects);
        answer.await.unwrap_or(Claim::Unknown)
    }

    /// This node's epoch for the key, if it owns it now.
    pub fn epoch(&self, key: &[u8]) -> Option<u64> {
        self.shared.lock().keeper.epoch(key, self.shared.runtime.now_ms())
    }

    /// What a transaction under this epoch has to prove.
    pub fn proof(&self, key: &[u8], epoch: u64) -> LeaseProof {
        LeaseProof { key: key.to_vec(), claimant: self.shared.claimant.clone(), epoch }
    }

    /// Every key that this node owns, with its epoch and the ms until it would stop.
    pub fn holdings(&self) -> Vec<(Vec<u8>, u64, u64)> {
        let now_ms = self.shared.runtime.now_ms();
        let state = self.shared.lock();
        let owned = |(key, epoch, left_ms): (&[u8], u64, u64)| (key.to_vec(), epoch, left_ms);
        state.keeper.holdings(now_ms).map(owned).collect()
    }

    /// Stops owning the key; whoever claims it next need not wait.
    pub fn release(&self, key: &[u8]) {
        let mut effects = Vec::new();
        self.shared.lock().keeper.release(key, &mut effects);
        self.perform(effects);
    }

    /// Stops owning the key and gives it to the heir. False when the store did not take it, or
    /// this node did not own it: then its time must run out.
    pub async fn hand_over(&self, key: &[u8], heir: Claimant) -> bool {
        let mut effects = Vec::new();
        self.shared.lock().keeper.hand_over(key, heir, &mut effects);
        let given = effects.iter().find_map(|effect| match effect {
            KeeperEffect::HandOver { lease, heir } => Some((lease.clone(), heir.clone())),
            _ => None,
        });
        self.perform(effects);
        let Some((lease, heir)) = given else { return false };
        let Shared { retry, settings, runtime, .. } = &*self.shared;
        let outcome = hand_over_lease(retry, &lease, &heir, runtime, settings.ttl_ms).await;
        outcome.unwrap_or(false)
    }

    /// Renews and watches until the node ends.
    pub async fn run(self) {
        loop {
            let mut effects = Vec::new();
            let now_ms = self.shared.runtime.now_ms();
            self.shared.lock().keeper.wake(now_ms, &mut effects);
            self.perform(effects);
            self.shared.runtime.pause(LOOK_MS).await;
        }
    }

    fn perform(&self, effects: Vec<KeeperEffect>) {
        for effect in effects {
            match effect {
                KeeperEffect::Acquire { key, stood } => self.acquire(key, stood),
                KeeperEffect::Renew { leases } => self.renew(leases),
                KeeperEffect::Release { lease } => self.give_up(lease),
                // Its caller waits for it and does it.
                KeeperEffect::HandOver { .. } => {}
                KeeperEffect::Granted { key, epoch } => self.tell(&key, &Claim::Mine { epoch }),
                KeeperEffect::Held { key, by, remaining_ms } => {
                    self.tell(&key, &Claim::Held { by, remaining_ms });
                }
                KeeperEffect::Unknown { key } => self.tell(&key, &Claim::Unknown),
                KeeperEffect::Lost { key, epoch } => {
                    if let Some(listener) = self.shared.on_lost.get() {
                        listener(&key, epoch);
                    }
                }
            }
        }
    }

    fn tell(&self, key: &[u8], claim: &Claim) {
        let waiting = self.shared.lock().waiting.remove(key);
        for reply in waiting.into_iter().flatten() {
            let _ = reply.send(claim.clone());
        }
    }

    fn acquire(&self, key: Vec<u8>, stood: Option<LeaseStamp>) {
        let this = self.clone();
        self.shared.runtime.spawn(async move {
            let Shared { retry, claimant, settings, runtime, .. } = &*this.shared;
            let outcome =
                acquire_lease(retry, &key, claimant, stood, runtime, settings.ttl_ms).await.ok();
            let mut effects = Vec::new();
            let now_ms = runtime.now_ms();
            this.shared.lock().keeper.acquired(&key, outcome, now_ms, &mut effects);
            this.perform(effects);
        });
    }

    fn renew(&self, leases: Vec<Lease>) {
        let this = self.clone();
        self.shared.runtime.spawn(async move {
            let Shared { retry, settings, runtime, .. } = &*this.shared;
            let outcome = renew_leases(retry, &leases, runtime, settings.ttl_ms).await.ok();
            let mut effects = Vec::new();
            let now_ms = runtime.now_ms();
            this.shared.lock().keeper.renewed(outcome, now_ms, &mut effects);
            this.perform(effects);
        });
    }

    fn give_up(&self, lease: Lease) {
        let this = self.clone();
        self.shared.runtime.spawn(async move {
            // Without an answer its time runs out.
            let Shared { retry, runtime, .. } = &*this.shared;
            let _ = release_lease(retry, &lease, runtime).await;
        });
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
