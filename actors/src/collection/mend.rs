//! Bringing vectors in line with chunk rows that went or changed their owner.
//!
//! Every transaction that does so to a chunk writes a mend row with a token of its own. Whoever
//! works such a row off clears it only while token and chunk row are still what it acted upon,
//! so a chunk that comes back while its vectors are being deleted is embedded again, and a crash
//! at any step leaves the row for the next one.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_storage::{RangeRead, ReadMode, Transaction};
use headwater_vectors::{RecordId, SinkError};

use super::chunks::{Label, labels};
use super::handle::{Collections, read_collection};
use super::keys::{chunk_key, last_chunk, mend_key, mends_of, todo_key};
use super::nouns::{ChunkId, Collection, CollectionError, CollectionId, Target};
use super::records::{decode, encode};
use super::vectors::PAGE_CHUNKS;

type Outcome<T> = Result<T, CollectionError>;

/// What a mend row asks for.
#[derive(Clone)]
struct Mend {
    chunk: ChunkId,
    token: u128,
    /// None when the chunk is gone.
    label: Option<Label>,
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

    /// Works off all that is left to be mended in a collection.
    ///
    /// # Errors
    /// As [`Collections::remove_vectors`].
    pub async fn mend(&self, collection: &Collection) -> Outcome<()> {
        loop {
            let read = RangeRead::all(mends_of(collection.id)).limit(PAGE_CHUNKS).snapshot();
            let rows = self.retry().read(|transaction| {
                let read = read.clone();
                Box::pin(async move { transaction.range(read).await })
            });
            let rows = rows.await?;
            let chunks = rows.iter().map(|(key, _)| last_chunk(key)).collect::<Result<Vec<_>, _>>();
            let chunks = chunks?;
            if chunks.is_empty() {
                return Ok(());
            }
            self.mend_chunks(&collection.tenant, &collection.name, &chunks).await?;
        }
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
                            transaction.set(&mend_key(*id, *chunk), &encode(&token)?)?;
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
        let chunks: Arc<[ChunkId]> = chunks.into();
        let found = self.retry().read(|transaction| {
            let (tenant, name, chunks) = (tenant.to_owned(), name.to_owned(), Arc::clone(&chunks));
            Box::pin(async move {
                let mode = ReadMode::Snapshot;
                let Some(collection) = read_collection(transaction, &tenant, &name, mode).await?
                else {
                    return Ok(None);
                };
                let mends = read_mends(transaction, collection.id, &chunks).await?;
                Ok(Some((collection, mends)))
            })
        });
        let (collection, mends) =
            found.await?.ok_or_else(|| CollectionError::NoCollection { name: name.to_owned() })?;
        if mends.is_empty() {
            return Ok(());
        }
        for target in collection.targets() {
            match self.mend_target(&target, &mends).await {
                Err(CollectionError::NotLive { .. }) => {}
                outcome => outcome?,
            }
        }
        self.clear_mends(collection.id, mends).await
    }

    async fn mend_target(&self, target: &Target, mends: &[Mend]) -> Outcome<()> {
        let gone: Vec<RecordId> = mends
            .iter()
            .filter(|mend| mend.label.is_none())
            .map(|mend| mend.chunk.into())
            .collect();
        match self.sink().delete(&target.space.name, &gone).await {
            // Nobody has written into it yet.
            Ok(()) | Err(SinkError::Space(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let there: Vec<ChunkId> =
            mends.iter().filter(|mend| mend.label.is_some()).map(|mend| mend.chunk).collect();
        let missing = self.missing(target, &there).await?;
        self.embed_chunks(target, &missing).await?;
        Ok(())
    }

    /// Clears the rows that nothing has touched since they were read.
    async fn clear_mends(&self, id: CollectionId, mends: Vec<Mend>) -> Outcome<()> {
        let mends: Arc<[Mend]> = mends.into();
        let cleared = self.retry().write_idempotent(|transaction| {
            let mends = Arc::clone(&mends);
            Box::pin(async move {
                for mend in mends.iter() {
                    let key = mend_key(id, mend.chunk);
                    let row = transaction.get(&key, ReadMode::Serializable).await?;
                    let token: Option<u128> = row.as_deref().map(decode).transpose()?;
                    let chunk = chunk_key(id, mend.chunk);
                    let there = transaction.get(&chunk, ReadMode::Serializable).await?.is_some();
                    if token == Some(mend.token) && there == mend.label.is_some() {
                        transaction.clear(&key)?;
                    }
                }
                Ok(())
            })
        });
        Ok(cleared.await?)
    }
}

async fn read_mends(
    transaction: &mut dyn Transaction,
    id: CollectionId,
    chunks: &[ChunkId],
) -> Result<Vec<Mend>, headwater_storage::StoreError> {
    let mut tokens: BTreeMap<ChunkId, u128> = BTreeMap::new();
    for chunk in chunks {
        if let Some(row) = transaction.get(&mend_key(id, *chunk), ReadMode::Snapshot).await? {
            tokens.insert(*chunk, decode(&row)?);
        }
    }
    let ids: Vec<ChunkId> = tokens.keys().copied().collect();
    let mut labels = labels(transaction, id, &ids).await?;
    let mend = |(chunk, token)| Mend { chunk, token, label: labels.remove(&chunk) };
    Ok(tokens.into_iter().map(mend).collect())
}
