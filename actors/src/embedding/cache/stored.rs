//! The second level: vectors in the store, for all nodes and across restarts.
//!
//! A direct-mapped table: each key has one slot, and a new vector takes the place of the one
//! before. So its size has a bound without counting, rows that nobody asks for go by themselves,
//! and a write reads nothing. A vector of a version never goes stale, so none has a date.

use std::fmt;
use std::sync::Arc;

use headwater_embedding::CacheKey;
use headwater_storage::retry::Retry;
use headwater_storage::{KeyRange, ReadMode, StoreError, tuple};
use tokio::sync::Semaphore;
use tokio::time::{Duration, timeout};

/// Longest wait of a request for the store, in ms; what was not read by then is computed.
const READ_MS: u64 = 50;
/// Writes under way at once; beyond it vectors are not written.
const WRITES: usize = 4;
/// Most bytes of one transaction, well below the store's limit.
const WRITE_BYTES: usize = 1 << 20;
/// Bytes of a row beside its vector: both keys, and what an engine adds.
const ROW_BYTES: u64 = 192;

/// Vectors kept in the store; cheap to clone.
///
/// Key: `("embedding", "vector_cache", fingerprint, slot)`. Value: the 32 bytes of the
/// [`CacheKey`], then the components as 32-bit floats in little-endian order, so that a vector
/// from the store is the one that was computed.
#[derive(Clone)]
pub struct StoredVectors {
    retry: Retry,
    bytes: u64,
    writes: Arc<Semaphore>,
}

impl StoredVectors {
    /// At most so many bytes for each model version, as far as an engine's own need can be told.
    pub fn new(retry: Retry, bytes: u64) -> Self {
        StoredVectors { retry, bytes, writes: Arc::new(Semaphore::new(WRITES)) }
    }

    fn row_key(&self, fingerprint: &str, key: &CacheKey, dimensions: usize) -> Vec<u8> {
        let slots = (self.bytes / (ROW_BYTES + 4 * dimensions as u64)).clamp(1, i64::MAX as u64);
        // Other bytes than those that the map in memory hashes by.
        let hash = key.0.last_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let slot = i64::try_from(hash % slots).unwrap_or(0);
        let parts = ["embedding".into(), "vector_cache".into(), fingerprint.into(), slot.into()];
        tuple::pack(&parts)
    }

    /// Vectors of `dimensions` components, in the order of the keys; none where the store has
    /// none or does not answer in time.
    pub(super) async fn get(
        &self,
        fingerprint: &str,
        keys: &[CacheKey],
        dimensions: usize,
    ) -> Vec<Option<Vec<f32>>> {
        let rows: Vec<Vec<u8>> =
            keys.iter().map(|key| self.row_key(fingerprint, key, dimensions)).collect();
        let read = self.retry.read(|transaction| {
            let rows = rows.clone();
            Box::pin(async move {
                let mut values = Vec::with_capacity(rows.len());
                for row in &rows {
                    values.push(transaction.get(row, ReadMode::Snapshot).await?);
                }
                Ok(values)
            })
        });
        let values = match timeout(Duration::from_millis(READ_MS), read).await {
            Ok(Ok(values)) => values,
            Ok(Err(_)) | Err(_) => vec![None; keys.len()],
        };
        let vector = |(key, value): (&CacheKey, Option<Vec<u8>>)| {
            let value = value?;
            let components = value.strip_prefix(&key.0)?;
            let components = components.chunks_exact(4).filter_map(|four| four.first_chunk());
            let vector: Vec<f32> = components.map(|four| f32::from_le_bytes(*four)).collect();
            (vector.len() == dimensions).then_some(vector)
        };
        keys.iter().zip(values).map(vector).collect()
    }

    /// Writes vectors behind the answer's back; it may not happen.
    pub(super) fn put(&self, fingerprint: &str, vectors: Vec<(CacheKey, Vec<f32>)>) {
        let Ok(permit) = Arc::clone(&self.writes).try_acquire_owned() else { return };
        let row = |(key, vector): (CacheKey, Vec<f32>)| {
            let mut value = key.0.to_vec();
            value.extend(vector.iter().flat_map(|component| component.to_le_bytes()));
            (self.row_key(fingerprint, &key, vector.len()), value)
        };
        let rows: Vec<(Vec<u8>, Vec<u8>)> = vectors.into_iter().map(row).collect();
        let retry = self.retry.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let bytes = rows.first().map_or(1, |(_, value)| value.len().max(1));
            for rows in rows.chunks((WRITE_BYTES / bytes).max(1)) {
                if let Err(error) = write(&retry, rows).await {
                    tracing::debug!(%error, "vectors were not written to the cache in the store");
                    return;
                }
            }
        });
    }

    /// Drops all vectors of a version.
    ///
    /// # Errors
    /// The store's, after the retry loop's patience.
    pub async fn forget(&self, fingerprint: &str) -> Result<(), StoreError> {
        let parts = ["embedding".into(), "vector_cache".into(), fingerprint.into()];
        let range = tuple::below(&parts);
        self.retry
            .write_idempotent(|transaction| {
                let range: KeyRange = range.clone();
                Box::pin(async move { transaction.clear_range(&range) })
            })
            .await
    }
}

async fn write(retry: &Retry, rows: &[(Vec<u8>, Vec<u8>)]) -> Result<(), StoreError> {
    retry
        .write_idempotent(|transaction| {
            let rows = rows.to_vec();
            Box::pin(
                async move { rows.iter().try_for_each(|(key, value)| transaction.set(key, value)) },
            )
        })
        .await
}

impl fmt::Debug for StoredVectors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("StoredVectors").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl PartialEq for StoredVectors {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes && Arc::ptr_eq(self.retry.store(), other.retry.store())
    }
}

impl Eq for StoredVectors {}
