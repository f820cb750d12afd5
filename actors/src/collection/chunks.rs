//! Chunk rows: references by documents, texts in parts, and what vectors are labelled with.

use std::collections::BTreeMap;

use headwater_storage::{AtomicOp, RangeRead, ReadMode, StoreError, Transaction};
use headwater_vectors::Value;

use super::keys::{
    chunk_key, count_key, document_key, member_key, source_key, source_place, sources_of,
    stale_key, text_key, texts_of,
};
use super::mend::mark;
use super::near;
use super::nouns::{ChunkId, ChunkText, CollectionId};
use super::records::{ChunkRow, DocumentRow, MemberRow, Place, decode, encode};

/// Bytes of a text in one row; a value holds 100,000.
const PART_BYTES: usize = 90_000;

/// What a chunk's vectors carry beside their numbers: its owner's name and fields.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Label {
    pub(super) source: String,
    pub(super) fields: BTreeMap<String, Value>,
}

/// Adds a document's reference to a chunk, and the chunk's rows when it is new. What stood at
/// the place before is noted as stale. Returns the chunk's owner.
pub(super) async fn add_reference(
    transaction: &mut dyn Transaction,
    id: CollectionId,
    document: &str,
    chunk: &ChunkText,
) -> Result<Place, StoreError> {
    let place = Place { document: document.to_owned(), ordinal: chunk.ordinal };
    let member_key = member_key(id, document, chunk.ordinal);
    let stood = transaction.get(&member_key, ReadMode::Serializable).await?;
    let stood: Option<MemberRow> = stood.as_deref().map(decode).transpose()?;
    let (start, end) = (chunk.range.start, chunk.range.end);
    let member = MemberRow { chunk: chunk.id.0, start, end };
    if let Some(stood) = &stood
        && stood.chunk != member.chunk
    {
        let stale = stale_key(id, document, chunk.ordinal, ChunkId(stood.chunk));
        transaction.set(&stale, &[])?;
    }
    if stood.as_ref() != Some(&member) {
        transaction.set(&member_key, &encode(&member)?)?;
        transaction.set(&source_key(id, chunk.id, &place), &[])?;
    }
    let chunk_key = chunk_key(id, chunk.id);
    if let Some(row) = transaction.get(&chunk_key, ReadMode::Serializable).await? {
        let ChunkRow { document, ordinal, .. } = decode(&row)?;
        return Ok(Place { document, ordinal });
    }
    let text = chunk.text.as_bytes();
    for (part, bytes) in (0..).zip(text.chunks(PART_BYTES)) {
        transaction.set(&text_key(id, chunk.id, part), bytes)?;
    }
    let bytes = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let row = ChunkRow { document: document.to_owned(), ordinal: chunk.ordinal, bytes };
    transaction.set(&chunk_key, &encode(&row)?)?;
    transaction.atomic(&count_key(id), AtomicOp::Add, &1_u64.to_le_bytes())?;
    Ok(place)
}

/// Drops a reference. The chunk passes to another reference, or goes when there is none; either
/// way its vectors are marked to be looked at. Returns whether it went.
pub(super) async fn drop_reference(
    transaction: &mut dyn Transaction,
    id: CollectionId,
    place: &Place,
    chunk: ChunkId,
    token: u128,
) -> Result<bool, StoreError> {
    transaction.clear(&source_key(id, chunk, place))?;
    let chunk_key = chunk_key(id, chunk);
    let Some(row) = transaction.get(&chunk_key, ReadMode::Serializable).await? else {
        return Ok(false);
    };
    let row: ChunkRow = decode(&row)?;
    if !row.is_owned_by(place) {
        return Ok(false);
    }
    let others = transaction.range(RangeRead::all(sources_of(id, chunk)).limit(1)).await?;
    mark(transaction, id, chunk, token).await?;
    let Some((other, _)) = others.first() else {
        transaction.clear(&chunk_key)?;
        transaction.clear_range(&texts_of(id, chunk))?;
        near::forget(transaction, id, chunk).await?;
        transaction.atomic(&count_key(id), AtomicOp::Add, &u64::MAX.to_le_bytes())?;
        return Ok(true);
    };
    let Place { document, ordinal } = source_place(other)?;
    transaction.set(&chunk_key, &encode(&ChunkRow { document, ordinal, ..row })?)?;
    Ok(false)
}

/// The labels of those chunks that there are.
pub(super) async fn labels(
    transaction: &mut dyn Transaction,
    id: CollectionId,
    chunks: &[ChunkId],
) -> Result<BTreeMap<ChunkId, Label>, StoreError> {
    let mut labels = BTreeMap::new();
    let mut documents: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    for chunk in chunks {
        let row = transaction.get(&chunk_key(id, *chunk), ReadMode::Snapshot).await?;
        let Some(row) = row else { continue };
        let ChunkRow { document: source, .. } = decode(&row)?;
        let fields = match documents.get(&source) {
            Some(fields) => fields.clone(),
            None => {
                let row = transaction.get(&document_key(id, &source), ReadMode::Snapshot).await?;
                let row: Option<DocumentRow> = row.as_deref().map(decode).transpose()?;
                let fields = row.map(DocumentRow::fields).unwrap_or_default();
                documents.insert(source.clone(), fields.clone());
                fields
            }
        };
        labels.insert(*chunk, Label { source, fields });
    }
    Ok(labels)
}

/// The text of a chunk, if it is there.
pub(super) async fn text(
    transaction: &mut dyn Transaction,
    id: CollectionId,
    chunk: ChunkId,
) -> Result<Option<String>, StoreError> {
    let row = transaction.get(&chunk_key(id, chunk), ReadMode::Snapshot).await?;
    if row.is_none() {
        return Ok(None);
    }
    let parts = transaction.range(RangeRead::all(texts_of(id, chunk)).snapshot()).await?;
    let bytes = parts.into_iter().flat_map(|(_, part)| part).collect();
    let damaged = |_| StoreError::Corrupt("a chunk's text is not UTF-8".to_owned());
    String::from_utf8(bytes).map(Some).map_err(damaged)
}
