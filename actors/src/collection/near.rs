//! Rows by which chunks are found that resemble each other: the SimHash of a chunk, whose bands
//! are keys. They go with the chunk, and with the collection.

use headwater_embedding::ingest::DocumentKey;
use headwater_embedding::{Fingerprint, NEAR_BITS, bands, distance};
use headwater_storage::tuple::{self, Element};
use headwater_storage::{RangeRead, ReadMode, StoreError, Transaction};
use serde::{Deserialize, Serialize};

use super::keys::near_row;
use super::nouns::{ChunkId, CollectionId};
use super::records::{decode, encode};

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

/// Whether the chunk resembles one of another document.
pub(crate) async fn resembles(
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

/// Lets later chunks be found to resemble this one.
pub(crate) async fn remember(
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

/// Forgets a chunk that no document has any more.
pub(super) async fn forget(
    transaction: &mut dyn Transaction,
    id: CollectionId,
    chunk: ChunkId,
) -> Result<(), StoreError> {
    let key = chunk_key(id, chunk);
    let row = transaction.get(&key, ReadMode::Serializable).await?;
    let Some(print) = row.map(|row| decode::<u64>(&row)).transpose()? else { return Ok(()) };
    transaction.clear(&key)?;
    for (index, value) in bands(Fingerprint(print)).into_iter().enumerate() {
        transaction.clear(&band_key(id, index, value, chunk))?;
    }
    Ok(())
}
