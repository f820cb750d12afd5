//! Vectors of chunks: which are missing in a version, and writing them without leaving any
//! behind for a chunk that is gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_storage::ReadMode;
use headwater_vectors::{Record, RecordId, SinkError};

use super::chunks::{Label, labels, text};
use super::handle::{Collections, read_collection};
use super::nouns::{ChunkId, CollectionError, CollectionId, Target};

/// Most chunks that one read of the store or one call of the sink is about.
pub(super) const PAGE_CHUNKS: usize = 128;
/// Most texts of chunks that one transaction reads; the longest have 1 MiB.
const PAGE_TEXTS: usize = 32;
/// How often a write looks again when the chunks change under it.
const LOOKS: u32 = 8;

type Outcome<T> = Result<T, CollectionError>;

/// A chunk's vector.
pub(super) type Vector = (ChunkId, Vec<f32>);

impl Collections {
    /// Those of the chunks that the version has no vector of yet. Chunks that are gone are left
    /// out. On the way, vectors whose chunk changed its owner or fields are labelled anew.
    ///
    /// # Errors
    /// [`CollectionError::NotLive`], the store's and the sink's.
    pub async fn missing(&self, target: &Target, chunks: &[ChunkId]) -> Outcome<Vec<ChunkId>> {
        let mut missing = Vec::new();
        for page in chunks.chunks(PAGE_CHUNKS) {
            let labels = self.labels_of(target, page).await?;
            let there: Vec<ChunkId> = labels.keys().copied().collect();
            let mut stale = Vec::new();
            for (chunk, record) in there.iter().zip(self.records(target, &there).await?) {
                match record {
                    Some(record) if record.version != target.version => missing.push(*chunk),
                    Some(record) => {
                        let fits = |label: &Label| {
                            label.source == record.source && label.fields == record.fields
                        };
                        if !labels.get(chunk).is_some_and(fits) {
                            stale.push((*chunk, record.vector));
                        }
                    }
                    None => missing.push(*chunk),
                }
            }
            if !stale.is_empty() {
                self.write_vectors(target, stale).await?;
            }
        }
        Ok(missing)
    }

    /// Writes vectors into a version; the last of several for one chunk stays. Vectors of chunks
    /// that are gone, or go meanwhile, are not there when this returns.
    ///
    /// # Errors
    /// [`CollectionError::NotLive`] when nothing has to be written any more; the store's and the
    /// sink's, after which the call may be made again.
    pub async fn write_vectors(&self, target: &Target, vectors: Vec<Vector>) -> Outcome<()> {
        let mut pages = vectors.into_iter().peekable();
        while pages.peek().is_some() {
            let page: BTreeMap<ChunkId, Vec<f32>> = pages.by_ref().take(PAGE_CHUNKS).collect();
            self.write_page(target, &page).await?;
        }
        Ok(())
    }

    async fn write_page(
        &self,
        target: &Target,
        vectors: &BTreeMap<ChunkId, Vec<f32>>,
    ) -> Outcome<()> {
        let ids: Vec<ChunkId> = vectors.keys().copied().collect();
        let mut written: BTreeMap<ChunkId, Label> = BTreeMap::new();
        for _ in 0..LOOKS {
            let labels = self.labels_of(target, &ids).await?;
            let gone: Vec<ChunkId> =
                written.keys().filter(|chunk| !labels.contains_key(chunk)).copied().collect();
            if !gone.is_empty() {
                // Boxed, because mending writes vectors too.
                Box::pin(self.mend_found(target, &gone)).await?;
            }
            let changed = labels.iter().filter(|(chunk, label)| written.get(chunk) != Some(label));
            let records: Vec<Record> = changed
                .filter_map(|(chunk, label)| {
                    vectors.get(chunk).map(|vector| record(target, *chunk, vector, label))
                })
                .collect();
            if records.is_empty() {
                return Ok(());
            }
            self.upsert(target, records).await?;
            written = labels;
        }
        let text = "the chunks keep changing while their vectors are written".to_owned();
        Err(SinkError::Unavailable(text).into())
    }

    /// Embeds chunks with the target's version, as bulk work that its tenant pays for, and writes
    /// their vectors, each request's before the next one is made. Returns
    /// how many there were to embed.
    ///
    /// # Errors
    /// As [`Collections::write_vectors`], [`CollectionError::NotServed`] and
    /// [`CollectionError::Embed`].
    pub async fn embed_chunks(&self, target: &Target, chunks: &[ChunkId]) -> Outcome<usize> {
        let mut embedded = 0;
        if !chunks.is_empty() {
            self.served(target)?;
        }
        for page in chunks.chunks(PAGE_TEXTS) {
            let (mut ids, mut texts): (Vec<ChunkId>, Vec<String>) =
                self.texts(target.id, page).await?.into_iter().unzip();
            while !ids.is_empty() {
                let call = self.embedder().embed_bulk(&target.tenant, &target.version, &texts);
                let vectors = call.await.map_err(|error| CollectionError::Embed {
                    version: target.version.clone(),
                    error,
                })?;
                let count = vectors.len().clamp(1, ids.len());
                texts.drain(..count);
                let vectors = ids.drain(..count).zip(vectors).collect();
                self.write_vectors(target, vectors).await?;
                embedded += count;
            }
        }
        Ok(embedded)
    }

    /// Whether any node can embed for this target.
    pub(super) fn served(&self, target: &Target) -> Outcome<()> {
        if self.embedder().version(&target.version).is_some() {
            return Ok(());
        }
        Err(CollectionError::NotServed {
            collection: target.collection.clone(),
            version: target.version.clone(),
            model: target.model.clone(),
        })
    }

    /// Embeds those of the chunks that the version has no vector of. Returns how many.
    pub(super) async fn embed_missing(
        &self,
        target: &Target,
        chunks: &[ChunkId],
    ) -> Outcome<usize> {
        let missing = self.missing(target, chunks).await?;
        let embedded = self.embed_chunks(target, &missing).await?;
        self.metrics().reembedded(embedded);
        Ok(embedded)
    }

    /// The texts of those chunks that there are.
    pub(super) async fn texts(
        &self,
        id: CollectionId,
        chunks: &[ChunkId],
    ) -> Outcome<BTreeMap<ChunkId, String>> {
        let mut found = BTreeMap::new();
        for page in chunks.chunks(PAGE_TEXTS) {
            let page: Arc<[ChunkId]> = page.into();
            let texts = self.retry().read(|transaction| {
                let page = Arc::clone(&page);
                Box::pin(async move {
                    let mut texts = Vec::new();
                    for chunk in page.iter() {
                        if let Some(text) = text(transaction, id, *chunk).await? {
                            texts.push((*chunk, text));
                        }
                    }
                    Ok(texts)
                })
            });
            found.extend(texts.await?);
        }
        Ok(found)
    }

    /// The labels of those chunks that there are, if the target is live.
    pub(super) async fn labels_of(
        &self,
        target: &Target,
        chunks: &[ChunkId],
    ) -> Outcome<BTreeMap<ChunkId, Label>> {
        let chunks: Arc<[ChunkId]> = chunks.into();
        let found = self.retry().read(|transaction| {
            let (target, chunks) = (target.clone(), Arc::clone(&chunks));
            Box::pin(async move {
                let Target { tenant, collection, id, generation, .. } = &target;
                let mode = ReadMode::Snapshot;
                let row = read_collection(transaction, tenant, collection, mode).await?;
                let live = row.is_some_and(|row| row.id == *id && row.versions.has(*generation));
                if !live {
                    return Ok(None);
                }
                labels(transaction, *id, &chunks).await.map(Some)
            })
        });
        found.await?.ok_or_else(|| CollectionError::NotLive {
            collection: target.collection.clone(),
            version: target.version.clone(),
        })
    }

    /// The records of these chunks; a space that nobody has created yet has none.
    pub(super) async fn records(
        &self,
        target: &Target,
        chunks: &[ChunkId],
    ) -> Outcome<Vec<Option<Record>>> {
        let ids: Vec<RecordId> = chunks.iter().map(|chunk| (*chunk).into()).collect();
        match self.sink().get(&target.space.name, &ids).await {
            Ok(records) => Ok(records),
            Err(SinkError::Space(_)) => {
                self.sink().create(&target.space).await?;
                Ok(self.sink().get(&target.space.name, &ids).await?)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn upsert(&self, target: &Target, records: Vec<Record>) -> Outcome<()> {
        match self.sink().upsert(&target.space.name, records.clone()).await {
            // The caller has just seen that the version is live; should it be given up right
            // now, its space is dropped again later.
            Err(SinkError::Space(_)) => {
                self.sink().create(&target.space).await?;
                Ok(self.sink().upsert(&target.space.name, records).await?)
            }
            outcome => Ok(outcome?),
        }
    }
}

fn record(target: &Target, chunk: ChunkId, vector: &[f32], label: &Label) -> Record {
    Record {
        id: chunk.into(),
        vector: vector.to_vec(),
        model: target.model.clone(),
        version: target.version.clone(),
        source: label.source.clone(),
        fields: label.fields.clone(),
    }
}
