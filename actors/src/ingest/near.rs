//! Chunks that resemble a chunk of another document: found by their SimHash, whose bands are
//! keys. Only chunks that resemble no earlier one have rows, so an attempt that is repeated finds
//! what the first one found.

use std::collections::BTreeSet;
use std::sync::Arc;

use headwater_embedding::ingest::DocumentKey;
use headwater_embedding::{Fingerprint, NEAR_BITS, bands, distance, fingerprint};
use headwater_storage::retry::Retry;
use headwater_storage::tuple::{self, Element};
use headwater_storage::{RangeRead, ReadMode, StoreError, Transaction};
use serde::{Deserialize, Serialize};

use super::records::{decode, decode_some, encode};
use crate::collection::{ChunkId, CollectionId, near_row};

/// Chunks that one transaction looks at.
const PAGE_CHUNKS: usize = 64;
/// Most chunks of one band that are compared; behind them a near one may stay unseen.
const CANDIDATES: usize = 64;

#[derive(Serialize, Deserialize)]
struct NearRow {
    fingerprint: u64,
    document: DocumentKey,
}

fn band(id: CollectionId, index: usize, value: u16) -> Vec<Element> {
    near_row(id, &["band".into(), Element::Integer(index as i64), u32::from(value).into()])
}

fn band_key(id: CollectionId, index: usize, value: u16, chunk: ChunkId) -> Vec<u8> {
    let mut elements = band(id, index, value);
    elements.push(Element::Bytes(chunk.0.to_vec()));
    tuple::pack(&elements)
}

/// The fingerprint of a chunk that has rows.
fn chunk_key(id: CollectionId, chunk: ChunkId) -> Vec<u8> {
    tuple::pack(&near_row(id, &["chunk".into(), Element::Bytes(chunk.0.to_vec())]))
}

/// The places of those chunks that resemble one of another document of the collection.
pub(super) async fn find(
    retry: &Retry,
    id: CollectionId,
    document: &DocumentKey,
    chunks: &[(ChunkId, &str)],
) -> Result<BTreeSet<usize>, StoreError> {
    let mut near = BTreeSet::new();
    let prints = chunks.iter().map(|(chunk, text)| (*chunk, fingerprint(text)));
    let prints: Vec<(usize, (ChunkId, Fingerprint))> = prints.enumerate().collect();
    for page in prints.chunks(PAGE_CHUNKS) {
        let page: Arc<[(usize, (ChunkId, Fingerprint))]> = page.into();
        let found = retry.write_idempotent(|transaction| {
            let (document, page) = (*document, Arc::clone(&page));
            Box::pin(async move {
                let mut near = Vec::new();
                for (place, (chunk, print)) in page.iter() {
                    if resembles(transaction, id, &document, *chunk, *print).await? {
                        near.push(*place);
                    } else {
                        add(transaction, id, document, *chunk, *print).await?;
                    }
                }
                Ok(near)
            })
        });
        near.extend(found.await?);
    }
    Ok(near)
}

async fn resembles(
    transaction: &mut dyn Transaction,
    id: CollectionId,
    document: &DocumentKey,
    chunk: ChunkId,
    print: Fingerprint,
) -> Result<bool, StoreError> {
    for (index, value) in bands(print).into_iter().enumerate() {
        let range = tuple::below(&band(id, index, value));
        for (key, row) in transaction.range(RangeRead::all(range).limit(CANDIDATES)).await? {
            let row: NearRow = decode(&row)?;
            let is_same = key.ends_with(&band_key(id, index, value, chunk));
            let is_near = distance(Fingerprint(row.fingerprint), print) <= NEAR_BITS;
            // The same text is a duplicate, not a near one.
            if is_near && !is_same && row.document != *document {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

async fn add(
    transaction: &mut dyn Transaction,
    id: CollectionId,
    document: DocumentKey,
    chunk: ChunkId,
    print: Fingerprint,
) -> Result<(), StoreError> {
    let key = chunk_key(id, chunk);
    if transaction.get(&key, ReadMode::Serializable).await?.is_some() {
        return Ok(());
    }
    transaction.set(&key, &encode(&print.0)?)?;
    let row = encode(&NearRow { fingerprint: print.0, document })?;
    for (index, value) in bands(print).into_iter().enumerate() {
        transaction.set(&band_key(id, index, value, chunk), &row)?;
    }
    Ok(())
}

/// Forgets chunks that no document has any more.
pub(super) async fn forget(
    retry: &Retry,
    id: CollectionId,
    chunks: &[ChunkId],
) -> Result<(), StoreError> {
    for page in chunks.chunks(PAGE_CHUNKS) {
        let page: Arc<[ChunkId]> = page.into();
        let forgotten = retry.write_idempotent(|transaction| {
            let page = Arc::clone(&page);
            Box::pin(async move {
                for chunk in page.iter() {
                    let key = chunk_key(id, *chunk);
                    let row = transaction.get(&key, ReadMode::Serializable).await?;
                    let Some(print) = decode_some::<u64>(row)? else { continue };
                    transaction.clear(&key)?;
                    for (index, value) in bands(Fingerprint(print)).into_iter().enumerate() {
                        transaction.clear(&band_key(id, index, value, *chunk))?;
                    }
                }
                Ok(())
            })
        });
        forgotten.await?;
    }
    Ok(())
}
