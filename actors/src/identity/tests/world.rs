//! Nodes that share one memory store, a clock that the test moves, and outages on order.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use headwater_storage::Environment;
use headwater_storage::memory::{Fault, FaultPoint, MemoryStore};
use headwater_storage::retry::{Retry, RetryPolicy};
use prometheus_client::registry::Registry;

use crate::environment::Clock;
use crate::identity::{
    Holder, IdentityHandle, IdentityMetrics, IdentitySettings, KeyRefusal, NewKey, Secret,
};
use crate::runtime::Runtime;

/// The wall clock at the start: some day.
pub(super) const START_MS: u64 = 1_800_000_000_000;
pub(super) const STALE_MS: u64 = 10_000;

pub(super) struct World {
    pub(super) clock: Clock,
    pub(super) is_down: Arc<AtomicBool>,
    /// Faults of the next commits, the first first.
    pub(super) commits: Arc<Mutex<Vec<Fault>>>,
    store: MemoryStore,
    draws: Arc<AtomicU64>,
}

impl World {
    pub(super) fn new() -> World {
        let (is_down, commits) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (clock, draws) = (Clock::start(), Arc::new(AtomicU64::new(1)));
        let (down, faults) = (Arc::clone(&is_down), Arc::clone(&commits));
        let store = MemoryStore::with_faults(environment(clock, &draws), move |point| {
            let faults: &Mutex<Vec<Fault>> = &faults;
            if down.load(Ordering::SeqCst) {
                return Some(Fault::Unavailable);
            }
            let mut faults = faults.lock().expect("not poisoned");
            (point == FaultPoint::Commit && !faults.is_empty()).then(|| faults.remove(0))
        });
        World { clock, is_down, commits, store, draws }
    }

    /// A node that follows the store.
    pub(super) fn node(&self) -> IdentityHandle {
        let node = self.deaf_node();
        tokio::spawn(node.clone().run());
        node
    }

    /// A node that follows nothing until it is told to.
    pub(super) fn deaf_node(&self) -> IdentityHandle {
        let environment = environment(self.clock, &self.draws);
        let clock = self.clock;
        let runtime = Runtime::tokio(environment.clone(), move || START_MS + clock.now_ms());
        let policy = RetryPolicy { tries: 3, total_ms: 1_000, ..RetryPolicy::default() };
        let retry = Retry::new(Arc::new(self.store.clone()), environment, policy);
        let settings = IdentitySettings { stale_ms: STALE_MS, ..IdentitySettings::default() };
        let metrics = IdentityMetrics::register(&mut Registry::default());
        let draws = Arc::clone(&self.draws);
        let bits = Arc::new(move || {
            let mut bits = [7; 32];
            bits[..8].copy_from_slice(&draws.fetch_add(1, Ordering::SeqCst).to_be_bytes());
            Some(bits)
        });
        IdentityHandle::new(runtime, retry, bits, settings, metrics)
    }

    pub(super) fn rows(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.store.contents()
    }
}

fn environment(clock: Clock, draws: &Arc<AtomicU64>) -> Environment {
    let draws = Arc::clone(draws);
    Environment::new(
        move || clock.now_ms(),
        |ms| Box::pin(tokio::time::sleep(Duration::from_millis(ms))),
        move || draws.fetch_add(1, Ordering::SeqCst).wrapping_mul(0x9e37_79b9_7f4a_7c15),
    )
}

pub(super) fn new_key(team: &str) -> NewKey {
    let holder = Holder {
        team: team.to_owned(),
        project: Some("search".to_owned()),
        user: Some("ada@example.com".to_owned()),
        models: vec!["small".to_owned()],
        tier: "standard".to_owned(),
    };
    NewKey { holder, note: "for tests".to_owned(), expires_ms: None }
}

/// The team of a key, or why it opens nothing.
pub(super) fn team(node: &IdentityHandle, key: &Secret) -> Result<String, KeyRefusal> {
    node.find(key.reveal()).map(|key| key.holder.team.clone())
}

pub(super) async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}
