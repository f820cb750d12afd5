//! The store below the retry loop: the memory store, or one that plays a broken loop.

use std::sync::Arc;

use async_trait::async_trait;
use headwater_storage::tuple::{self, Element};
use headwater_storage::{
    AtomicOp, Committed, KeyRange, Pair, RangeRead, ReadMode, Stamped, Store, StoreError,
    Transaction, Watch,
};

use super::Defect;

/// The store for a run with this defect.
pub(crate) fn engine(store: Arc<dyn Store>, defect: Option<Defect>) -> Arc<dyn Store> {
    match defect {
        Some(Defect::NoOperationRow) => Arc::new(Forgetful(store)),
        _ => store,
    }
}

/// Loses the retry loop's operation rows: with it, the loop is one that keeps none.
struct Forgetful(Arc<dyn Store>);

#[async_trait]
impl Store for Forgetful {
    fn engine(&self) -> &'static str {
        "forgetful"
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(Box::new(ForgetfulTransaction(self.0.begin().await?)))
    }
}

struct ForgetfulTransaction(Box<dyn Transaction>);

fn is_operation_row(key: &[u8]) -> bool {
    let key = tuple::unpack(key).unwrap_or_default();
    key.first() == Some(&Element::from("operation"))
}

#[async_trait]
impl Transaction for ForgetfulTransaction {
    async fn get(&mut self, key: &[u8], mode: ReadMode) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(key, mode).await
    }

    async fn range(&mut self, read: RangeRead) -> Result<Vec<Pair>, StoreError> {
        self.0.range(read).await
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if is_operation_row(key) { Ok(()) } else { self.0.set(key, value) }
    }

    fn clear(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.0.clear(key)
    }

    fn clear_range(&mut self, range: &KeyRange) -> Result<(), StoreError> {
        self.0.clear_range(range)
    }

    fn atomic(&mut self, key: &[u8], op: AtomicOp, operand: &[u8]) -> Result<(), StoreError> {
        self.0.atomic(key, op, operand)
    }

    fn set_stamped_key(&mut self, key: &Stamped, value: &[u8]) -> Result<(), StoreError> {
        self.0.set_stamped_key(key, value)
    }

    fn set_stamped_value(&mut self, key: &[u8], value: &Stamped) -> Result<(), StoreError> {
        self.0.set_stamped_value(key, value)
    }

    fn add_read_conflict(&mut self, range: &KeyRange) -> Result<(), StoreError> {
        self.0.add_read_conflict(range)
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
        self.0.commit().await
    }
}
