//! One process's way into the shared store: it can be cut or stall, and closes when the process
//! dies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use headwater_storage::{
    AtomicOp, Committed, KeyRange, Pair, RangeRead, ReadMode, Stamped, Store, StoreError,
    Transaction, Watch,
};

use super::{Commit, Mishap, SharedStore};

/// Longest ordinary way to the store and back, in ms.
const WAY_MS: u64 = 2;
/// How often what waits at a stalled door looks whether it may go on, in ms.
const STALL_LOOK_MS: u64 = 20;
/// One read in so many takes time of its own.
const READS_AT_ONCE: u64 = 8;

/// See the module.
pub(crate) struct Door {
    by: u64,
    cut: AtomicBool,
    stalled: AtomicBool,
    /// None once closed, so that what a dead process still holds keeps no store alive.
    store: Mutex<Option<SharedStore>>,
}

impl Door {
    pub(super) fn new(store: SharedStore, by: u64) -> Door {
        Door {
            by,
            cut: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            store: Mutex::new(Some(store)),
        }
    }

    /// While cut, the store does not answer this process.
    pub(crate) fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::Relaxed);
    }

    /// While stalled, what this process asks waits on its way, and then goes on: as when the
    /// process is frozen in the middle of its work.
    pub(crate) fn stall(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Relaxed);
    }

    pub(crate) fn close(&self) {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(store);
    }

    fn open(&self) -> Result<SharedStore, StoreError> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let store = store.ok_or_else(|| unavailable("the process ended"))?;
        if self.cut.load(Ordering::Relaxed) || store.is_down() {
            return Err(unavailable("nothing answers"));
        }
        Ok(store)
    }

    /// One step towards the store.
    async fn pass(&self) -> Result<SharedStore, StoreError> {
        let store = self.open()?;
        let slow = store.strikes(Mishap::Slow);
        let way_ms = if slow { store.slow_ms() } else { store.world.between(0, WAY_MS) };
        if way_ms > 0 {
            store.world.sleep(way_ms).await;
        }
        while self.stalled.load(Ordering::Relaxed) {
            store.world.sleep(STALL_LOOK_MS).await;
        }
        self.open()?;
        if store.strikes(Mishap::Unavailable) {
            return Err(unavailable("an injected outage"));
        }
        Ok(store)
    }

    async fn read(&self) -> Result<(), StoreError> {
        let store = self.open()?;
        if store.world.draw().is_multiple_of(READS_AT_ONCE) {
            self.pass().await?;
        }
        if store.strikes(Mishap::TooOld) { Err(StoreError::TooOld) } else { Ok(()) }
    }
}

fn unavailable(why: &str) -> StoreError {
    StoreError::Unavailable(why.to_owned())
}

/// A door that a process holds.
#[derive(Clone)]
pub(crate) struct DoorStore(pub(crate) Arc<Door>);

#[async_trait]
impl Store for DoorStore {
    fn engine(&self) -> &'static str {
        "shared"
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        let store = self.0.pass().await?;
        let inner = store.memory.begin().await?;
        let door = Arc::clone(&self.0);
        let (reads, ranged, writes) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Ok(Box::new(DoorTransaction { door, inner, reads, ranged, writes, only_reads: true }))
    }
}

struct DoorTransaction {
    door: Arc<Door>,
    inner: Box<dyn Transaction>,
    reads: BTreeMap<Vec<u8>, bool>,
    ranged: BTreeSet<Vec<u8>>,
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    only_reads: bool,
}

#[async_trait]
impl Transaction for DoorTransaction {
    async fn get(&mut self, key: &[u8], mode: ReadMode) -> Result<Option<Vec<u8>>, StoreError> {
        self.door.read().await?;
        let value = self.inner.get(key, mode).await?;
        self.reads.insert(key.to_vec(), value.is_some());
        Ok(value)
    }

    async fn range(&mut self, read: RangeRead) -> Result<Vec<Pair>, StoreError> {
        self.door.read().await?;
        let pairs = self.inner.range(read).await?;
        self.ranged.extend(pairs.iter().map(|(key, _)| key.clone()));
        Ok(pairs)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.only_reads = false;
        self.writes.insert(key.to_vec(), Some(value.to_vec()));
        self.inner.set(key, value)
    }

    fn clear(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.only_reads = false;
        self.writes.insert(key.to_vec(), None);
        self.inner.clear(key)
    }

    fn clear_range(&mut self, range: &KeyRange) -> Result<(), StoreError> {
        self.only_reads = false;
        self.inner.clear_range(range)
    }

    fn atomic(&mut self, key: &[u8], op: AtomicOp, operand: &[u8]) -> Result<(), StoreError> {
        self.only_reads = false;
        self.inner.atomic(key, op, operand)
    }

    fn set_stamped_key(&mut self, key: &Stamped, value: &[u8]) -> Result<(), StoreError> {
        self.only_reads = false;
        self.inner.set_stamped_key(key, value)
    }

    fn set_stamped_value(&mut self, key: &[u8], value: &Stamped) -> Result<(), StoreError> {
        self.only_reads = false;
        self.inner.set_stamped_value(key, value)
    }

    fn add_read_conflict(&mut self, range: &KeyRange) -> Result<(), StoreError> {
        self.inner.add_read_conflict(range)
    }

    fn add_write_conflict(&mut self, range: &KeyRange) -> Result<(), StoreError> {
        self.only_reads = false;
        self.inner.add_write_conflict(range)
    }

    async fn watch(&mut self, key: &[u8]) -> Result<Watch, StoreError> {
        self.door.read().await?;
        self.inner.watch(key).await
    }

    async fn read_version(&mut self) -> Result<u64, StoreError> {
        self.inner.read_version().await
    }

    async fn commit(self: Box<Self>) -> Result<Committed, StoreError> {
        if self.only_reads {
            let store = self.door.open()?;
            return self.write(&store).await;
        }
        let store = self.door.pass().await?;
        if store.strikes(Mishap::Conflict) {
            return Err(StoreError::Conflict);
        }
        if store.strikes(Mishap::UnknownLost) {
            return Err(StoreError::CommitUnknown);
        }
        if store.strikes(Mishap::UnknownLate) {
            let (late, sleep) = (store.clone(), store.world.sleep(store.slow_ms()));
            store.world.spawn(async move {
                sleep.await;
                // Nobody waits for this outcome any more.
                let _ = self.write(&late).await;
            });
            return Err(StoreError::CommitUnknown);
        }
        let door = Arc::clone(&self.door);
        let committed = self.write(&store).await?;
        if store.strikes(Mishap::AnswerLate) {
            store.world.sleep(store.slow_ms()).await;
            door.open().map_err(|_| StoreError::CommitUnknown)?;
        }
        if store.strikes(Mishap::UnknownCommitted) {
            return Err(StoreError::CommitUnknown);
        }
        Ok(committed)
    }
}

impl DoorTransaction {
    async fn write(self: Box<Self>, store: &SharedStore) -> Result<Committed, StoreError> {
        let DoorTransaction { door, inner, reads, ranged, writes, .. } = *self;
        let committed = inner.commit().await?;
        (store.witness)(&Commit { by: door.by, reads: &reads, ranged: &ranged, writes: &writes });
        Ok(committed)
    }
}
