//! The in-memory store: the double for tests and simulation, with failures on order.

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use imbl::OrdMap;

use crate::optimistic::{Backend, Proposal, Sequencer, Snapshot, Target, apply, begin};
use crate::{Committed, Environment, KeyRange, Pair, Store, StoreError, Transaction};

/// Where in a transaction's life a fault may strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultPoint {
    Begin,
    Read,
    Commit,
}

/// A failure to inject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The step takes this long, then goes on.
    Delay { ms: u64 },
    /// The commit is refused as if another transaction had won. At other points: as
    /// [`Fault::Unavailable`].
    Conflict,
    /// The transaction is told that it is too old.
    TooOld,
    /// The commit happens, but its caller is told that this is not known.
    UnknownCommitted,
    /// The commit does not happen, and its caller is told that this is not known.
    UnknownLost,
    /// The store does not answer; nothing happens.
    Unavailable,
}

type FaultPlan = dyn Fn(FaultPoint) -> Option<Fault> + Send + Sync;
type Map = OrdMap<Vec<u8>, Vec<u8>>;

/// A store that lives as long as its last clone. Every commit is visible to all clones.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    environment: Environment,
    faults: Box<FaultPlan>,
    state: Mutex<State>,
}

struct State {
    map: Map,
    sequencer: Sequencer,
}

impl MemoryStore {
    pub fn new(environment: Environment) -> Self {
        MemoryStore::with_faults(environment, |_| None)
    }

    /// `faults` is asked at every step of every transaction what shall go wrong there.
    pub fn with_faults(
        environment: Environment,
        faults: impl Fn(FaultPoint) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        let state = Mutex::new(State { map: Map::new(), sequencer: Sequencer::new(1) });
        MemoryStore { shared: Arc::new(Shared { environment, faults: Box::new(faults), state }) }
    }

    /// All pairs, for checks that must not disturb the run.
    pub fn contents(&self) -> Vec<Pair> {
        let state = self.shared.lock();
        state.map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn engine(&self) -> &'static str {
        "memory"
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        begin(Arc::clone(&self.shared) as Arc<dyn Backend>).await
    }
}

/// Whether a commit's outcome is told.
enum Telling {
    Truth,
    UnknownAfter,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere cannot leave the state half-written: see `State::write`.
        self.state.lock().unwrap_or_else(|held| held.into_inner())
    }

    async fn meet(&self, point: FaultPoint) -> Result<Telling, StoreError> {
        match (self.faults)(point) {
            None => Ok(Telling::Truth),
            Some(Fault::Delay { ms }) => {
                self.environment.pause(ms).await;
                Ok(Telling::Truth)
            }
            Some(Fault::TooOld) => Err(StoreError::TooOld),
            Some(Fault::Conflict) if point == FaultPoint::Commit => Err(StoreError::Conflict),
            Some(Fault::UnknownCommitted) if point == FaultPoint::Commit => {
                Ok(Telling::UnknownAfter)
            }
            Some(Fault::UnknownLost) if point == FaultPoint::Commit => {
                Err(StoreError::CommitUnknown)
            }
            Some(_) => Err(StoreError::Unavailable("an injected outage".to_owned())),
        }
    }
}

impl State {
    fn write(&mut self, proposal: Proposal, now_ms: u64) -> Result<Committed, StoreError> {
        let mut committed = Committed { version: None, stamp: None };
        if !proposal.is_read_only() {
            let decision = self.sequencer.decide(&proposal, now_ms)?;
            let mut map = self.map.clone();
            apply(&proposal.mutations, &decision.stamp, &mut MapTarget(&mut map))?;
            self.map = map;
            let map = &self.map;
            self.sequencer.wake(&decision.written, |key| Ok(map.get(key).cloned()))?;
            committed = decision.committed();
        }
        let map = &self.map;
        self.sequencer.watch(proposal.watches, |key| Ok(map.get(key).cloned()))?;
        Ok(committed)
    }
}

#[async_trait]
impl Backend for Shared {
    fn now_ms(&self) -> u64 {
        self.environment.now_ms()
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.meet(FaultPoint::Begin).await?;
        let state = self.lock();
        let (map, version) = (state.map.clone(), state.sequencer.version());
        drop(state);
        Ok(Box::new(MemorySnapshot { map, version }))
    }

    async fn before_read(&self) -> Result<(), StoreError> {
        self.meet(FaultPoint::Read).await.map(|_| ())
    }

    async fn commit(&self, proposal: Proposal) -> Result<Committed, StoreError> {
        let telling = self.meet(FaultPoint::Commit).await?;
        let committed = self.lock().write(proposal, self.environment.now_ms())?;
        match telling {
            Telling::Truth => Ok(committed),
            Telling::UnknownAfter => Err(StoreError::CommitUnknown),
        }
    }
}

struct MemorySnapshot {
    map: Map,
    version: u64,
}

#[async_trait]
impl Snapshot for MemorySnapshot {
    fn version(&self) -> u64 {
        self.version
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.map.get(key).cloned())
    }

    async fn range(
        &self,
        range: &KeyRange,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<Pair>, StoreError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let pairs = self.map.range(range.begin.clone()..range.end.clone());
        let owned = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
        Ok(match reverse {
            false => pairs.take(limit).map(owned).collect(),
            true => {
                let mut last: Vec<Pair> = pairs.rev().take(limit).map(owned).collect();
                last.reverse();
                last
            }
        })
    }
}

struct MapTarget<'a>(&'a mut Map);

impl Target for MapTarget<'_> {
    fn read(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.get(key).cloned())
    }

    fn write(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.0.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn erase(&mut self, range: &KeyRange) -> Result<(), StoreError> {
        if range.is_empty() {
            return Ok(());
        }
        let keys: Vec<Vec<u8>> = self
            .0
            .range(range.begin.clone()..range.end.clone())
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            self.0.remove(&key);
        }
        Ok(())
    }
}
