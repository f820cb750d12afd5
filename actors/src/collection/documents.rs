//! Documents: put, replaced and deleted in transactions that a crash may come between.
//!
//! A document's chunks are added first and what they replaced is dropped behind that, so a chunk
//! that only moved keeps its row and its vectors. Every step looks at what is there, so putting
//! the document again goes on where a crash stopped it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headwater_storage::{RangeRead, ReadMode, StoreError, Transaction};
use headwater_vectors::Value;

use super::checks::{checked_chunks, checked_document, checked_fields};
use super::chunks::{add_reference, drop_reference};
use super::handle::{Collections, read_collection};
use super::keys::{
    chunk_key, document_key, member_key, member_ordinal, members_from, stale_of, stale_parts,
    todo_key,
};
use super::nouns::{
    ChunkId, ChunkText, Collection, CollectionError, CollectionId, DocumentInfo, Put,
};
use super::records::{ChunkRow, DocumentRow, MemberRow, Place, decode, encode};

/// Most chunks that one transaction adds, and most references that it drops.
const STEP_CHUNKS: usize = 128;
/// Most bytes of text that one transaction adds.
const STEP_BYTES: usize = 1 << 20;
type Outcome<T> = Result<T, CollectionError>;

/// One put or deletion under way; cheap to clone.
#[derive(Clone)]
struct Writing {
    tenant: Arc<str>,
    name: Arc<str>,
    document: Arc<str>,
    fields: Arc<BTreeMap<String, Value>>,
    token: u128,
    chunks: u32,
    now_ms: u64,
    /// Whether the document's row goes at the end.
    deletes: bool,
}

/// Where one transaction is in it.
#[derive(Clone, Copy)]
struct Step {
    first: bool,
    /// Whether all chunks are added and what they replaced may go.
    drops: bool,
}

/// What one transaction did.
struct Stepped {
    collection: Collection,
    /// Whether the document was there before; only told by the first step.
    known: bool,
    duplicates: u64,
    removed: Vec<ChunkId>,
    /// Whether something is left to be dropped.
    more: bool,
}

impl Collections {
    /// Puts a document in place of the one of this id. Repeating a call that failed, or whose
    /// answer was lost, goes on where it stopped and gives the same count of duplicates.
    ///
    /// A crash in the middle of a document of more than 128 chunks leaves some chunks of the old
    /// and some of the new, until it is put again.
    ///
    /// # Errors
    /// See [`CollectionError`]; [`CollectionError::Invalid`] names the field.
    pub async fn put_document(
        &self,
        tenant: &str,
        collection: &str,
        document: &str,
        fields: BTreeMap<String, Value>,
        mut chunks: Vec<ChunkText>,
    ) -> Outcome<Put> {
        checked_document(document)?;
        checked_fields(&fields)?;
        chunks.sort_by_key(|chunk| chunk.ordinal);
        checked_chunks(&chunks)?;
        let writing = self.writing(tenant, collection, document, fields, chunks.len(), false);
        let chunks: Arc<[ChunkText]> = chunks.into();
        let mut put = Put {
            chunks: ids_once(&chunks),
            duplicates: 0,
            removed: Vec::new(),
            targets: Vec::new(),
        };
        let steps = batches(&chunks);
        let last = steps.len() - 1;
        let (mut known, mut more) = (false, false);
        for (index, batch) in steps.into_iter().enumerate() {
            let step = Step { first: index == 0, drops: index == last };
            let batch = chunks.get(batch).unwrap_or_default();
            let stepped = self.step(&writing, step, batch).await?;
            known |= stepped.known;
            more = stepped.more;
            put.duplicates += stepped.duplicates;
            put.removed.extend(stepped.removed);
            put.targets = stepped.collection.targets();
        }
        let (removed, collection) = self.drop_rest(&writing, more).await?;
        put.removed.extend(removed);
        if let Some(collection) = collection {
            put.targets = collection.targets();
        }
        if known && let Some(target) = put.targets.first() {
            // References that were dropped since may have made some chunks this document's own.
            put.duplicates = self.duplicates(target.id, document, &chunks).await?;
        }
        put.removed.sort_unstable();
        put.removed.dedup();
        Ok(put)
    }

    /// Deletes a document; returns the chunks that no document has any more, for
    /// [`Collections::remove_vectors`].
    ///
    /// # Errors
    /// [`CollectionError::NoDocument`], and the others that concern the call.
    pub async fn delete_document(
        &self,
        tenant: &str,
        collection: &str,
        document: &str,
    ) -> Outcome<Vec<ChunkId>> {
        checked_document(document)?;
        let writing = self.writing(tenant, collection, document, BTreeMap::new(), 0, true);
        // The mark is a transaction of its own: it is how a repetition of the last one, which
        // finds no document, knows that it was this call's.
        self.step(&writing, Step { first: true, drops: false }, &[]).await?;
        Ok(self.drop_rest(&writing, true).await?.0)
    }

    /// What is known of a document.
    ///
    /// # Errors
    /// [`CollectionError::NoDocument`], [`CollectionError::NoCollection`] and the store's.
    pub async fn document(
        &self,
        tenant: &str,
        collection: &str,
        document: &str,
    ) -> Outcome<DocumentInfo> {
        checked_document(document)?;
        let id = self.get(tenant, collection).await?.id;
        let key = document_key(id, document);
        let row = self.retry().read(|transaction| {
            let key = key.clone();
            Box::pin(async move { transaction.get(&key, ReadMode::Snapshot).await })
        });
        let row: Option<DocumentRow> = row.await?.as_deref().map(decode).transpose()?;
        row.map(|row| row.info(document)).ok_or_else(|| no_document(collection, document))
    }

    fn writing(
        &self,
        tenant: &str,
        name: &str,
        document: &str,
        fields: BTreeMap<String, Value>,
        chunks: usize,
        deletes: bool,
    ) -> Writing {
        Writing {
            tenant: tenant.into(),
            name: name.into(),
            document: document.into(),
            fields: Arc::new(fields),
            token: self.runtime().draw(),
            chunks: u32::try_from(chunks).unwrap_or(u32::MAX),
            now_ms: self.runtime().wall_ms(),
            deletes,
        }
    }

    async fn step(&self, writing: &Writing, step: Step, batch: &[ChunkText]) -> Outcome<Stepped> {
        let batch: Arc<[ChunkText]> = batch.into();
        self.retry()
            .write_idempotent(|transaction| {
                let (writing, batch) = (writing.clone(), Arc::clone(&batch));
                Box::pin(async move { take_step(transaction, &writing, step, &batch).await })
            })
            .await?
    }

    /// Drops what is left, page by page.
    async fn drop_rest(
        &self,
        writing: &Writing,
        mut more: bool,
    ) -> Outcome<(Vec<ChunkId>, Option<Collection>)> {
        let (mut removed, mut collection) = (Vec::new(), None);
        while more {
            let stepped = self.step(writing, Step { first: false, drops: true }, &[]).await?;
            removed.extend(stepped.removed);
            collection = Some(stepped.collection);
            more = stepped.more;
        }
        Ok((removed, collection))
    }

    /// How many of the document's places hold a chunk that another place owns.
    async fn duplicates(
        &self,
        id: CollectionId,
        document: &str,
        chunks: &[ChunkText],
    ) -> Outcome<u64> {
        let mut duplicates = 0;
        for page in chunks.chunks(2 * STEP_CHUNKS) {
            let places: Arc<[(ChunkId, Place)]> = page
                .iter()
                .map(|chunk| {
                    let (document, ordinal) = (document.to_owned(), chunk.ordinal);
                    (chunk.id, Place { document, ordinal })
                })
                .collect();
            let counted = self.retry().read(|transaction| {
                let places = Arc::clone(&places);
                Box::pin(async move {
                    let mut count = 0;
                    for (chunk, place) in places.iter() {
                        let key = chunk_key(id, *chunk);
                        let row = transaction.get(&key, ReadMode::Snapshot).await?;
                        let row: Option<ChunkRow> = row.as_deref().map(decode).transpose()?;
                        count += u64::from(row.is_some_and(|row| !row.is_owned_by(place)));
                    }
                    Ok(count)
                })
            });
            duplicates += counted.await?;
        }
        Ok(duplicates)
    }
}

fn no_document(collection: &str, document: &str) -> CollectionError {
    let (collection, document) = (collection.to_owned(), document.to_owned());
    CollectionError::NoDocument { collection, document }
}

/// One transaction. The inner error is an answer about what was read: nothing was written.
async fn take_step(
    transaction: &mut dyn Transaction,
    writing: &Writing,
    step: Step,
    batch: &[ChunkText],
) -> Result<Outcome<Stepped>, StoreError> {
    // Read in this very transaction, so that a version which starts later sees these chunks.
    let (tenant, name) = (&writing.tenant, &writing.name);
    let Some(collection) =
        read_collection(transaction, tenant, name, ReadMode::Serializable).await?
    else {
        return Ok(Err(CollectionError::NoCollection { name: name.to_string() }));
    };
    let id = collection.id;
    let document_key = document_key(id, &writing.document);
    let row = transaction.get(&document_key, ReadMode::Serializable).await?;
    let row: Option<DocumentRow> = row.as_deref().map(decode).transpose()?;
    let known = row.is_some();
    match row {
        None if writing.deletes && step.first => {
            return Ok(Err(no_document(name, &writing.document)));
        }
        Some(row) if !step.first && row.token == writing.token => {}
        // The last step, seen again after a commit with an unknown result.
        None if writing.deletes => {}
        _ if !step.first => {
            let document = writing.document.to_string();
            return Ok(Err(CollectionError::Superseded { document }));
        }
        _ => {}
    }
    let mut row = DocumentRow::new(writing.token, writing.chunks, writing.now_ms, &writing.fields);
    let mut duplicates = 0;
    for chunk in batch {
        let owner = add_reference(transaction, id, &writing.document, chunk).await?;
        duplicates +=
            u64::from(owner.ordinal != chunk.ordinal || owner.document != *writing.document);
    }
    let mut stepped = Stepped { collection, known, duplicates, removed: Vec::new(), more: false };
    if step.drops {
        stepped.more = drop_page(transaction, id, writing, &mut stepped.removed).await?;
        row.complete = !stepped.more;
    }
    if writing.deletes && row.complete {
        transaction.clear(&document_key)?;
    } else {
        transaction.set(&document_key, &encode(&row)?)?;
    }
    Ok(Ok(stepped))
}

/// Drops references that were replaced or lie behind the document's end; whether some are left.
async fn drop_page(
    transaction: &mut dyn Transaction,
    id: CollectionId,
    writing: &Writing,
    removed: &mut Vec<ChunkId>,
) -> Result<bool, StoreError> {
    let document = &writing.document;
    let stale = RangeRead::all(stale_of(id, document)).limit(STEP_CHUNKS);
    let stale = transaction.range(stale).await?;
    let behind = RangeRead::all(members_from(id, document, writing.chunks)).limit(STEP_CHUNKS);
    let behind = transaction.range(behind).await?;
    let more = stale.len() == STEP_CHUNKS || behind.len() == STEP_CHUNKS;
    let mut dropped = Vec::with_capacity(stale.len() + behind.len());
    for (key, value) in behind {
        let member: MemberRow = decode(&value)?;
        dropped.push((member_ordinal(&key)?, ChunkId(member.chunk)));
        transaction.clear(&key)?;
    }
    for (key, _) in stale {
        let (ordinal, chunk) = stale_parts(&key)?;
        transaction.clear(&key)?;
        let member = member_key(id, document, ordinal);
        let member = transaction.get(&member, ReadMode::Serializable).await?;
        let member: Option<MemberRow> = member.as_deref().map(decode).transpose()?;
        // A later put may have brought the chunk back to its place.
        if member.is_none_or(|member| member.chunk != chunk.0) {
            dropped.push((ordinal, chunk));
        }
    }
    if !dropped.is_empty() {
        transaction.set(&todo_key(&writing.tenant, &writing.name), &[])?;
    }
    for (ordinal, chunk) in dropped {
        let place = Place { document: document.to_string(), ordinal };
        if drop_reference(transaction, id, &place, chunk, writing.token).await? {
            removed.push(chunk);
        }
    }
    Ok(more)
}

/// The chunks' ids in order, each once.
fn ids_once(chunks: &[ChunkText]) -> Vec<ChunkId> {
    let mut seen = BTreeSet::new();
    chunks.iter().map(|chunk| chunk.id).filter(|id| seen.insert(*id)).collect()
}

/// Chunks for one transaction each; one batch at least, for the document's own row.
fn batches(chunks: &[ChunkText]) -> Vec<std::ops::Range<usize>> {
    let mut batches = Vec::new();
    let (mut begin, mut bytes) = (0, 0);
    for (index, chunk) in chunks.iter().enumerate() {
        let full = index - begin == STEP_CHUNKS || bytes + chunk.text.len() > STEP_BYTES;
        if full && index > begin {
            batches.push(begin..index);
            (begin, bytes) = (index, 0);
        }
        bytes += chunk.text.len();
    }
    batches.push(begin..chunks.len());
    batches
}
