//! A store in which every write proves that its worker still holds its partition. Whatever is
//! written through it, by ingest or by the collections, a stale holder cannot write.

use std::sync::Arc;

use async_trait::async_trait;
use headwater_storage::{
    AtomicOp, Committed, KeyRange, Pair, RangeRead, ReadMode, Stamped, Store, StoreError,
    Transaction, Watch,
};

const LOST: &str = "the partition belongs to another worker now";

/// Whether a write was refused because its worker holds its partition no more.
pub(super) fn is_lost(error: &StoreError) -> bool {
    matches!(error, StoreError::Usage(text) if text == LOST)
}

/// See the module.
pub(super) struct FencedStore {
    inner: Arc<dyn Store>,
    key: Arc<[u8]>,
    /// What the key must hold.
    value: Arc<[u8]>,
}

impl FencedStore {
    pub(super) fn new(inner: Arc<dyn Store>, key: Vec<u8>, value: Vec<u8>) -> FencedStore {
        FencedStore { inner, key: key.into(), value: value.into() }
    }
}

#[async_trait]
impl Store for FencedStore {
    fn engine(&self) -> &'static str {
        self.inner.engine()
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        let inner = self.inner.begin().await?;
        let (key, value) = (Arc::clone(&self.key), Arc::clone(&self.value));
        Ok(Box::new(FencedTransaction { inner, key, value }))
    }
}

struct FencedTransaction {
    inner: Box<dyn Transaction>,
    key: Arc<[u8]>,
    value: Arc<[u8]>,
}

#[async_trait]
impl Transaction for FencedTransaction {
    async fn get(&mut self, key: &[u8], mode: ReadMode) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(key, mode).await
    }

    async fn range(&mut self, read: RangeRead) -> Result<Vec<Pair>, StoreError> {
        self.inner.range(read).await
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.inner.set(key, value)
    }

    fn clear(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.inner.clear(key)
    }

    fn clear_range(&mut self, range: &KeyRange) -> Result<(), StoreError> {
        self.inner.clear_range(range)
    }

    fn atomic(&mut self, key: &[u8], op: AtomicOp, operand: &[u8]) -> Result<(), StoreError> {
        self.inner.atomic(key, op, operand)
    }

    fn set_stamped_key(&mut self, key: &Stamped, value: &[u8]) -> Result<(), StoreError> {
        self.inner.set_stamped_key(key, value)
    }

    fn set_stamped_value(&mut self, key: &[u8], value: &Stamped) -> Result<(), StoreError> {
        self.inner.set_stamped_value(key, value)
    }

    fn add_read_conflict(&mut self, range: &KeyRange) -> Result<(), StoreError> {
        self.inner.add_read_conflict(range)
    }

    fn add_write_conflict(&mut self, range: &KeyRange) -> Result<(), StoreError> {
        self.inner.add_write_conflict(range)
    }

    async fn watch(&mut self, key: &[u8]) -> Result<Watch, StoreError> {
        self.inner.watch(key).await
    }

    async fn read_version(&mut self) -> Result<u64, StoreError> {
        self.inner.read_version().await
    }

    async fn commit(mut self: Box<Self>) -> Result<Committed, StoreError> {
        let held = self.inner.get(&self.key, ReadMode::Serializable).await?;
        if held.as_deref() != Some(&*self.value) {
            return Err(StoreError::Usage(LOST.to_owned()));
        }
        self.inner.commit().await
    }
}
