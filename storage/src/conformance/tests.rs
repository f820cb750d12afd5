//! The memory store passes the suite, and stores with planted faults do not.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::run;
use crate::memory::MemoryStore;
use crate::{
    AtomicOp, Committed, Environment, KeyRange, Pair, RangeRead, ReadMode, Stamped, Store,
    StoreError, Transaction, Watch,
};

const SEED: u64 = 20_261_124;

/// tokio's paused time, so that six seconds take none.
fn environment() -> Environment {
    let origin = tokio::time::Instant::now();
    Environment::new(
        move || origin.elapsed().as_millis() as u64,
        |ms| Box::pin(tokio::time::sleep(Duration::from_millis(ms))),
        || 7,
    )
}

#[tokio::test(start_paused = true)]
async fn the_memory_store_passes() {
    let environment = environment();
    let store = Arc::new(MemoryStore::new(environment.clone()));
    let report = run(store.clone(), &environment, SEED, 2_000).await;
    let report = report.unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!(report.cases, 21);
    assert!(report.histories.commits > 5_000, "{report:?}");
    assert!(report.histories.conflicts > 1_000, "{report:?}");
    assert_eq!(store.contents(), Vec::new(), "the suite clears what it wrote");
}

/// A way to break a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Break {
    ReadsAreForgotten,
    RangesAreForgotten,
    ConflictsAreForgotten,
    ClearsAreLost,
    AddsAreReadsAndWrites,
    LimitsAreOnePast,
    ReverseIsIgnored,
    ConflictsAreHidden,
}

struct BrokenStore(MemoryStore, Break);

#[async_trait]
impl Store for BrokenStore {
    fn engine(&self) -> &'static str {
        "broken"
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(Box::new(BrokenTransaction(self.0.begin().await?, self.1)))
    }
}

struct BrokenTransaction(Box<dyn Transaction>, Break);

#[async_trait]
impl Transaction for BrokenTransaction {
    async fn get(&mut self, key: &[u8], mode: ReadMode) -> Result<Option<Vec<u8>>, StoreError> {
        let forget = self.1 == Break::ReadsAreForgotten;
        self.0.get(key, if forget { ReadMode::Snapshot } else { mode }).await
    }

    async fn range(&mut self, mut read: RangeRead) -> Result<Vec<Pair>, StoreError> {
        match self.1 {
            Break::RangesAreForgotten => read.mode = ReadMode::Snapshot,
            Break::LimitsAreOnePast => read.limit = read.limit.saturating_add(1),
            Break::ReverseIsIgnored => read.reverse = false,
            _ => {}
        }
        self.0.range(read).await
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.0.set(key, value)
    }

    fn clear(&mut self, key: &[u8]) -> Result<(), StoreError> {
        if self.1 == Break::ClearsAreLost { Ok(()) } else { self.0.clear(key) }
    }

    fn clear_range(&mut self, range: &KeyRange) -> Result<(), StoreError> {
        self.0.clear_range(range)
    }

    fn atomic(&mut self, key: &[u8], op: AtomicOp, operand: &[u8]) -> Result<(), StoreError> {
        if self.1 == Break::AddsAreReadsAndWrites {
            self.0.add_read_conflict(&KeyRange::of_key(key))?;
        }
        self.0.atomic(key, op, operand)
    }

    fn set_stamped_key(&mut self, key: &Stamped, value: &[u8]) -> Result<(), StoreError> {
        self.0.set_stamped_key(key, value)
    }

    fn set_stamped_value(&mut self, key: &[u8], value: &Stamped) -> Result<(), StoreError> {
        self.0.set_stamped_value(key, value)
    }

    fn add_read_conflict(&mut self, range: &KeyRange) -> Result<(), StoreError> {
        let forget = self.1 == Break::ConflictsAreForgotten;
        if forget { Ok(()) } else { self.0.add_read_conflict(range) }
    }

    fn add_write_conflict(&mut self, range: &KeyRange) -> Result<(), StoreError> {
        self.0.add_write_conflict(range)
    }

    async fn watch(&mut self, key: &[u8]) -> Result<Watch, StoreError> {
        self.0.watch(key).await
    }

    async fn read_version(&mut self) -> Result<u64, StoreError> {
        self.0.read_version().await
    }

    async fn commit(self: Box<Self>) -> Result<Committed, StoreError> {
        match self.0.commit().await {
            Err(StoreError::Conflict) if self.1 == Break::ConflictsAreHidden => {
                Ok(Committed { version: Some(1), stamp: None })
            }
            answer => answer,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn broken_stores_are_found_out() {
    for broken in [
        Break::ReadsAreForgotten,
        Break::RangesAreForgotten,
        Break::ConflictsAreForgotten,
        Break::ClearsAreLost,
        Break::AddsAreReadsAndWrites,
        Break::LimitsAreOnePast,
        Break::ReverseIsIgnored,
        Break::ConflictsAreHidden,
    ] {
        let environment = environment();
        let store = Arc::new(BrokenStore(MemoryStore::new(environment.clone()), broken));
        let cases = super::cases::run(&(store.clone() as Arc<dyn Store>), &environment, SEED).await;
        assert!(cases.is_err(), "the cases did not notice {broken:?}");
        let histories = super::histories::run(&(store as Arc<dyn Store>), SEED, 500).await;
        let seen_by_histories = !matches!(
            broken,
            // Histories name no conflict ranges, and a needless conflict is no wrong answer.
            Break::ConflictsAreForgotten | Break::AddsAreReadsAndWrites
        );
        assert_eq!(histories.is_err(), seen_by_histories, "the histories, on {broken:?}");
    }
}
