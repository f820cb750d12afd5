//! Values that are kept for a while: one flight for each, and bounded help when a source is lost.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use serde::Deserialize;

use crate::{SecretError, SecretName, SecretSource, SecretValue};

/// A monotonic clock; any closure that gives ms is one.
pub trait Clock: Send + Sync {
    fn now_ms(&self) -> u64;
}

impl<F: Fn() -> u64 + Send + Sync> Clock for F {
    fn now_ms(&self) -> u64 {
        self()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSettings {
    /// How long a value is given again without a question, in ms from the beginning of its read.
    pub ttl_ms: u64,
    /// How much longer it is given while the source is not available, in ms. Nothing is given
    /// that is older than both together.
    pub stale_ms: u64,
    /// Most values at once; the one that was read first goes.
    pub entries_max: usize,
}

impl Default for CacheSettings {
    fn default() -> Self {
        CacheSettings { ttl_ms: 60_000, stale_ms: 300_000, entries_max: 1_024 }
    }
}

type Key = (String, SecretName);
type Outcome = Result<SecretValue, SecretError>;
type Reading = BoxFuture<'static, Outcome>;

/// A source that remembers; its values are wiped when it goes.
///
/// Only an unavailable source is forgiven: a value that was denied or removed is forgotten at the
/// next read.
pub struct SecretCache {
    shared: Arc<Inner>,
}

struct Inner {
    source: Arc<dyn SecretSource>,
    clock: Arc<dyn Clock>,
    settings: CacheSettings,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<Key, Entry>,
    /// Held by those who wait: a flight that nobody waits for any more is given up.
    flights: BTreeMap<Key, WeakShared<Reading>>,
}

struct Entry {
    value: SecretValue,
    read_ms: u64,
    /// An unavailable source is left in peace until then.
    ask_again_ms: u64,
}

enum Next {
    Known(SecretValue),
    Flight(Shared<Reading>),
}

impl SecretCache {
    pub fn new(
        source: Arc<dyn SecretSource>,
        clock: Arc<dyn Clock>,
        settings: CacheSettings,
    ) -> SecretCache {
        let state = Mutex::default();
        SecretCache { shared: Arc::new(Inner { source, clock, settings, state }) }
    }

    /// Forgets what is too old to be given to anybody. Each read does so too; call it now and then
    /// where reads may stop.
    pub fn sweep(&self) {
        let now_ms = self.shared.clock.now_ms();
        self.shared.state().sweep(now_ms, &self.shared.settings);
    }

    /// Forgets everything; flights go on.
    pub fn clear(&self) {
        self.shared.state().entries.clear();
    }

    /// How many values it holds.
    pub fn len(&self) -> usize {
        self.shared.state().entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Drop for SecretCache {
    /// A flight may outlive the cache; its values do not.
    fn drop(&mut self) {
        self.clear();
    }
}

#[async_trait]
impl SecretSource for SecretCache {
    async fn get(&self, team: &str, name: &SecretName) -> Outcome {
        let next = Inner::next(&self.shared, (team.to_owned(), name.clone()));
        match next {
            Next::Known(value) => Ok(value),
            Next::Flight(flight) => flight.await,
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(shared: &Arc<Inner>, key: Key) -> Next {
        let now_ms = shared.clock.now_ms();
        let mut state = shared.state();
        if let Some(entry) = state.entries.get(&key).filter(|entry| {
            let age_ms = now_ms.saturating_sub(entry.read_ms);
            let may_be_stale = now_ms < entry.ask_again_ms;
            age_ms < shared.settings.ttl_ms
                || (may_be_stale && age_ms < shared.settings.longest_ms())
        }) {
            return Next::Known(entry.value.clone());
        }
        if let Some(flight) = state.flights.get(&key).and_then(WeakShared::upgrade) {
            return Next::Flight(flight);
        }
        // Whoever gave up left an entry behind.
        state.flights.retain(|_, flight| flight.upgrade().is_some());
        let flight = Inner::read(Arc::clone(shared), key.clone()).boxed().shared();
        if let Some(waited_for) = flight.downgrade() {
            state.flights.insert(key, waited_for);
        }
        Next::Flight(flight)
    }

    async fn read(shared: Arc<Inner>, key: Key) -> Outcome {
        // A value is as old as the beginning of its read.
        let began_ms = shared.clock.now_ms();
        let outcome = shared.source.get(&key.0, &key.1).await;
        let now_ms = shared.clock.now_ms();
        let mut state = shared.state();
        state.flights.remove(&key);
        state.sweep(now_ms, &shared.settings);
        state.settle(key, outcome, began_ms, now_ms, &shared.settings)
    }
}

impl CacheSettings {
    fn longest_ms(&self) -> u64 {
        self.ttl_ms.saturating_add(self.stale_ms)
    }
}

impl State {
    fn sweep(&mut self, now_ms: u64, settings: &CacheSettings) {
        let longest_ms = settings.longest_ms();
        self.entries.retain(|_, entry| now_ms.saturating_sub(entry.read_ms) < longest_ms);
    }

    fn settle(
        &mut self,
        key: Key,
        outcome: Outcome,
        began_ms: u64,
        now_ms: u64,
        settings: &CacheSettings,
    ) -> Outcome {
        match outcome {
            Ok(value) => {
                self.make_room(&key, settings.entries_max);
                if settings.entries_max > 0 {
                    let value = value.clone();
                    let entry = Entry { value, read_ms: began_ms, ask_again_ms: began_ms };
                    self.entries.insert(key, entry);
                }
                Ok(value)
            }
            Err(SecretError::Unavailable { retry_after_ms }) => match self.entries.get_mut(&key) {
                Some(entry) => {
                    // Never longer than a value is good for, so that a source which asks for an
                    // hour's peace is found again when it is back.
                    entry.ask_again_ms = now_ms.saturating_add(retry_after_ms.min(settings.ttl_ms));
                    Ok(entry.value.clone())
                }
                None => Err(SecretError::Unavailable { retry_after_ms }),
            },
            Err(error) => {
                if matches!(error, SecretError::Unknown { .. } | SecretError::Denied { .. }) {
                    self.entries.remove(&key);
                }
                Err(error)
            }
        }
    }

    fn make_room(&mut self, key: &Key, entries_max: usize) {
        while self.entries.len() >= entries_max && !self.entries.contains_key(key) {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.read_ms);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { return };
            self.entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests;
