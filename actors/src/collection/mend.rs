//! Bringing vectors in line with chunk rows that went or changed their owner.
//!
//! Every transaction that does so to a chunk leaves a mend row with a token of its own. A sink
//! cannot refuse a deletion that comes late, so vectors are deleted by one claimant at a time,
//! whose claim stands in the mend row until a deadline: the row outlives whoever dies over it.
//! A chunk that comes back while its vectors are being deleted is embedded again.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_storage::{KeyRange, RangeRead, ReadMode, StoreError, Transaction};
use headwater_vectors::{RecordId, SinkError};

use super::chunks::{Label, labels};
use super::handle::{Collections, read_collection};
use super::keys::{chunk_key, last_chunk, mend_key, mends_of, todo_key};
use super::nouns::{ChunkId, Collection, CollectionError, CollectionId, Target};
use super::records::{MendRow, decode, encode};
use super::vectors::PAGE_CHUNKS;

type Outcome<T> = Result<T, CollectionError>;

/// How long a claim stands.
const CLAIM_MS: u64 = 30_000;
/// How long a deletion may take; what is left of the claim covers clocks that differ.
const DELETE_MS: u64 = 10_000;
/// The most by which two nodes' clocks may differ.
const SKEW_MS: u64 = 5_000;

/// What a mend row asks for.
#[derive(Clone)]
struct Mend {
    chunk: ChunkId,
    row: MendRow,
    /// None when the chunk is gone: then the row is claimed, and its vectors may be deleted.
    label: Option<Label>,
}

/// Marks a chunk whose vectors must be looked at. A claim that stands is kept.
pub(super) async fn mark(
    transaction: &mut dyn Transaction,
    id: CollectionId,
    chunk: ChunkId,
    token: u128,
) -> Result<(), StoreError> {
    let key = mend_key(id, chunk);
    let row = transaction.get(&key, ReadMode::Serializable).await?;
    let row: Option<MendRow> = row.as_deref().map(decode).transpose()?;
    let (claimant, until_ms) = row.map_or((0, 0), |row| (row.claimant, row.until_ms));
    transaction.set(&key, &encode(&MendRow { token, claimant, until_ms })?)
}

impl Collections {
    /// Removes the vectors of chunks that are gone from every live version; one that came back
    /// meanwhile keeps its vectors or gets them again. What fails is left to [`Collections::mend`].
    ///
    /// # Errors
    /// [`CollectionError::NoCollection`]; the store's, the sink's and the embedder's.
    pub async fn remove_vectors(
        &self,
        tenant: &str,
        collection: &str,
        chunks: &[ChunkId],
    ) -> Outcome<()> {
        for page in chunks.chunks(PAGE_CHUNKS) {
            self.mend_chunks(tenant, collection, page).await?;
        }
        Ok(())
    }

    /// Works off what is left to be mended in a collection. Chunks that somebody else has
    /// claimed stay for a later look.
    ///
    /// # Errors
    /// As [`Collections::remove_vectors`].
    pub async fn mend(&self, collection: &Collection) -> Outcome<()> {
        let mut range = mends_of(collection.id);
        loop {
            let read = RangeRead::all(range.clone()).limit(PAGE_CHUNKS).snapshot();
            let rows = self.retry().read(|transaction| {
                let read = read.clone();
                Box::pin(async move { transaction.range(read).await })
            });
            let rows = rows.await?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            range.begin = KeyRange::of_key(last).end;
            let chunks = rows.iter().map(|(key, _)| last_chunk(key)).collect::<Result<Vec<_>, _>>();
            self.mend_chunks(&collection.tenant, &collection.name, &chunks?).await?;
        }
    }

    /// Whether nothing is left to be mended in a collection.
    ///
    /// # Errors
    /// The store's.
    pub async fn is_mended(&self, collection: &Collection) -> Outcome<bool> {
        let read = RangeRead::all(mends_of(collection.id)).limit(1).snapshot();
        let rows = self.retry().read(|transaction| {
            let read = read.clone();
            Box::pin(async move { transaction.range(read).await })
        });
        Ok(rows.await?.is_empty())
    }

    /// Marks chunks whose vectors do not fit them, and mends them.
    ///
    /// # Errors
    /// As [`Collections::remove_vectors`]; the marks stay for the next look then.
    pub(super) async fn mend_found(&self, target: &Target, chunks: &[ChunkId]) -> Outcome<()> {
        let token = self.runtime().draw();
        for page in chunks.chunks(PAGE_CHUNKS) {
            let page: Arc<[ChunkId]> = page.into();
            let marked = self.retry().write_idempotent(|transaction| {
                let (target, page) = (target.clone(), Arc::clone(&page));
                Box::pin(async move {
                    let Target { tenant, collection, id, .. } = &target;
                    let mode = ReadMode::Serializable;
                    let found = read_collection(transaction, tenant, collection, mode).await?;
                    if found.is_some_and(|found| found.id == *id) {
                        for chunk in page.iter() {
                            mark(transaction, *id, *chunk, token).await?;
                        }
                        transaction.set(&todo_key(tenant, collection), &[])?;
                    }
                    Ok(())
                })
            });
            marked.await?;
        }
        self.remove_vectors(&target.tenant, &target.collection, chunks).await
    }

    async fn mend_chunks(&self, tenant: &str, name: &str, chunks: &[ChunkId]) -> Outcome<()> {
        let mut chunks = chunks.to_vec();
        // The second time for those that came back while their vectors were deleted.
        for _ in 0..2 {
            let Some((collection, mends)) = self.claim_mends(tenant, name, &chunks).await? else {
                return Ok(());
            };
            for target in collection.targets() {
                match self.mend_target(&target, &mends).await {
                    Err(CollectionError::NotLive { .. }) => {}
                    outcome => outcome?,
                }
            }
            chunks = self.clear_mends(collection.id, mends).await?;
            if chunks.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Reads what is to be mended, and claims those chunks that are gone. None when there is
    /// nothing to do here.
    async fn claim_mends(
        &self,
        tenant: &str,
        name: &str,
        chunks: &[ChunkId],
    ) -> Outcome<Option<(Collection, Vec<Mend>)>> {
        let chunks: Arc<[ChunkId]> = chunks.into();
        let (claimant, now_ms) = (self.runtime().draw(), self.runtime().wall_ms());
        let claimed = self.retry().write_idempotent(|transaction| {
            let (tenant, name, chunks) = (tenant.to_owned(), name.to_owned(), Arc::clone(&chunks));
            Box::pin(async move {
                let mode = ReadMode::Snapshot;
                let Some(collection) = read_collection(transaction, &tenant, &name, mode).await?
                else {
                    return Ok(Err(CollectionError::NoCollection { name }));
                };
                let mends = claim(transaction, collection.id, &chunks, claimant, now_ms).await?;
                Ok(Ok((!mends.is_empty()).then_some((collection, mends))))
            })
        });
        claimed.await?
    }

    async fn mend_target(&self, target: &Target, mends: &[Mend]) -> Outcome<()> {
        let gone: Vec<RecordId> = mends
            .iter()
            .filter(|mend| mend.label.is_none())
            .map(|mend| mend.chunk.into())
            .collect();
        if !gone.is_empty() {
            self.delete_claimed(target, &gone, mends).await?;
        }
        let there: Vec<ChunkId> =
            mends.iter().filter(|mend| mend.label.is_some()).map(|mend| mend.chunk).collect();
        let missing = self.missing(target, &there).await?;
        self.embed_chunks(target, &missing).await?;
        Ok(())
    }

    async fn delete_claimed(
        &self,
        target: &Target,
        gone: &[RecordId],
        mends: &[Mend],
    ) -> Outcome<()> {
        let claims = mends.iter().filter(|mend| mend.label.is_none());
        let until_ms = claims.map(|mend| mend.row.until_ms).min().unwrap_or(0);
        let late = self.runtime().wall_ms() + DELETE_MS + SKEW_MS > until_ms;
        let deleting = self.sink().delete(&target.space.name, gone);
        let deleted = if late { None } else { self.runtime().within(DELETE_MS, deleting).await };
        match deleted {
            // Nobody has written into it yet.
            Some(Ok(()) | Err(SinkError::Space(_))) => Ok(()),
            Some(Err(error)) => Err(error.into()),
            None => {
                let text = format!("a deletion did not end within {DELETE_MS} ms");
                Err(SinkError::Unavailable(text).into())
            }
        }
    }

    /// Clears the rows that nothing has touched since they were claimed. Returns the chunks that
    /// came back after that.
    async fn clear_mends(&self, id: CollectionId, mends: Vec<Mend>) -> Outcome<Vec<ChunkId>> {
        let mends: Arc<[Mend]> = mends.into();
        let cleared = self.retry().write_idempotent(|transaction| {
            let mends = Arc::clone(&mends);
            Box::pin(async move {
                let mut back = Vec::new();
                for mend in mends.iter() {
                    let key = mend_key(id, mend.chunk);
                    let row = transaction.get(&key, ReadMode::Serializable).await?;
                    let row: Option<MendRow> = row.as_deref().map(decode).transpose()?;
                    let Some(row) = row else { continue };
                    let chunk = chunk_key(id, mend.chunk);
                    let there = transaction.get(&chunk, ReadMode::Serializable).await?.is_some();
                    let same = there == mend.label.is_some();
                    if same && row == mend.row {
                        transaction.clear(&key)?;
                    } else if row.claimant == mend.row.claimant {
                        // This claimant deletes nothing any more.
                        let free = MendRow { claimant: 0, until_ms: 0, ..row };
                        transaction.set(&key, &encode(&free)?)?;
                        back.push(mend.chunk);
                    }
                }
                Ok(back)
            })
        });
        Ok(cleared.await?)
    }
}

/// The rows of these chunks that nobody else has claimed.
async fn claim(
    transaction: &mut dyn Transaction,
    id: CollectionId,
    chunks: &[ChunkId],
    claimant: u128,
    now_ms: u64,
) -> Result<Vec<Mend>, StoreError> {
    let mut rows: BTreeMap<ChunkId, MendRow> = BTreeMap::new();
    for chunk in chunks {
        let row = transaction.get(&mend_key(id, *chunk), ReadMode::Serializable).await?;
        let row: Option<MendRow> = row.as_deref().map(decode).transpose()?;
        if let Some(row) = row
            && (row.claimant == claimant || row.until_ms.saturating_add(SKEW_MS) < now_ms)
        {
            rows.insert(*chunk, row);
        }
    }
    let ids: Vec<ChunkId> = rows.keys().copied().collect();
    let mut labels = labels(transaction, id, &ids).await?;
    let mut mends = Vec::with_capacity(rows.len());
    for (chunk, row) in rows {
        let label = labels.remove(&chunk);
        let mut row = MendRow { claimant: 0, until_ms: 0, ..row };
        if label.is_none() {
            // The chunk's row is part of the conflict: it must be gone when the claim begins.
            transaction.get(&chunk_key(id, chunk), ReadMode::Serializable).await?;
            (row.claimant, row.until_ms) = (claimant, now_ms.saturating_add(CLAIM_MS));
        }
        transaction.set(&mend_key(id, chunk), &encode(&row)?)?;
        mends.push(Mend { chunk, row, label });
    }
    Ok(mends)
}
