//! Keys of a collection's rows.

use headwater_storage::tuple::{self, Element};
use headwater_storage::{KeyRange, StoreError};

use super::nouns::{ChunkId, CollectionId};
use super::records::{Place, damaged};

const COLLECTION: &str = "collection";

/// Key: `("collection", "record", tenant, name)`.
pub(super) fn record_key(tenant: &str, name: &str) -> Vec<u8> {
    tuple::pack(&[COLLECTION.into(), "record".into(), tenant.into(), name.into()])
}

pub(super) fn records_of(tenant: &str) -> KeyRange {
    tuple::below(&[COLLECTION.into(), "record".into(), tenant.into()])
}

/// Tenant and name in the key of a record or a todo row.
pub(super) fn record_name(key: &[u8]) -> Result<(String, String), StoreError> {
    let mut elements = tuple::unpack(key)?;
    match (elements.pop(), elements.pop()) {
        (Some(Element::Text(name)), Some(Element::Text(tenant))) => Ok((tenant, name)),
        _ => Err(damaged("a collection's key")),
    }
}

fn elements(id: CollectionId, rest: &[Element]) -> Vec<Element> {
    let uid = Element::Bytes(id.0.to_be_bytes().to_vec());
    let mut elements = vec![COLLECTION.into(), "data".into(), uid];
    elements.extend_from_slice(rest);
    elements
}

fn data(id: CollectionId, rest: &[Element]) -> Vec<u8> {
    tuple::pack(&elements(id, rest))
}

/// The rows whose keys go on behind these elements.
fn below(id: CollectionId, rest: &[Element]) -> KeyRange {
    tuple::below(&elements(id, rest))
}

/// A row by which chunks are found that resemble each other.
pub(super) fn near_row(id: CollectionId, rest: &[Element]) -> Vec<Element> {
    elements(id, &[&[Element::from("near")], rest].concat())
}

/// Everything that a collection has besides its record.
pub(super) fn data_of(id: CollectionId) -> KeyRange {
    below(id, &[])
}

fn bytes(id: ChunkId) -> Element {
    Element::Bytes(id.0.to_vec())
}

pub(super) fn chunk_key(id: CollectionId, chunk: ChunkId) -> Vec<u8> {
    data(id, &["chunk".into(), bytes(chunk)])
}

/// Chunk rows behind this one, or all.
pub(super) fn chunks_after(id: CollectionId, after: Option<ChunkId>) -> KeyRange {
    let all = below(id, &["chunk".into()]);
    match after {
        Some(after) => KeyRange { begin: KeyRange::of_key(&chunk_key(id, after)).end, ..all },
        None => all,
    }
}

/// The chunk in a key that ends in one.
pub(super) fn last_chunk(key: &[u8]) -> Result<ChunkId, StoreError> {
    match tuple::unpack(key)?.pop() {
        Some(Element::Bytes(id)) => {
            id.try_into().map(ChunkId).map_err(|_| damaged("a chunk's key"))
        }
        _ => Err(damaged("a chunk's key")),
    }
}

pub(super) fn text_key(id: CollectionId, chunk: ChunkId, part: u32) -> Vec<u8> {
    data(id, &["text".into(), bytes(chunk), part.into()])
}

pub(super) fn texts_of(id: CollectionId, chunk: ChunkId) -> KeyRange {
    below(id, &["text".into(), bytes(chunk)])
}

/// That a document has this chunk at this place.
pub(super) fn source_key(id: CollectionId, chunk: ChunkId, place: &Place) -> Vec<u8> {
    let Place { document, ordinal } = place;
    data(id, &["source".into(), bytes(chunk), document.as_str().into(), (*ordinal).into()])
}

pub(super) fn sources_of(id: CollectionId, chunk: ChunkId) -> KeyRange {
    below(id, &["source".into(), bytes(chunk)])
}

/// The place in a source row's key.
pub(super) fn source_place(key: &[u8]) -> Result<Place, StoreError> {
    let mut elements = tuple::unpack(key)?;
    match (elements.pop(), elements.pop()) {
        (Some(Element::Integer(ordinal)), Some(Element::Text(document))) => {
            let ordinal = u32::try_from(ordinal).map_err(|_| damaged("a source's key"))?;
            Ok(Place { document, ordinal })
        }
        _ => Err(damaged("a source's key")),
    }
}

pub(super) fn document_key(id: CollectionId, document: &str) -> Vec<u8> {
    data(id, &["document".into(), document.into()])
}

/// The chunk at a place of a document.
pub(super) fn member_key(id: CollectionId, document: &str, ordinal: u32) -> Vec<u8> {
    data(id, &["member".into(), document.into(), ordinal.into()])
}

/// The places of a document from this one on.
pub(super) fn members_from(id: CollectionId, document: &str, ordinal: u32) -> KeyRange {
    let all = below(id, &["member".into(), document.into()]);
    KeyRange { begin: member_key(id, document, ordinal), ..all }
}

/// The place in a member row's key.
pub(super) fn member_ordinal(key: &[u8]) -> Result<u32, StoreError> {
    match tuple::unpack(key)?.pop() {
        Some(Element::Integer(ordinal)) => {
            u32::try_from(ordinal).map_err(|_| damaged("a member's key"))
        }
        _ => Err(damaged("a member's key")),
    }
}

/// A chunk that another one has replaced at this place and whose source row is yet to go.
pub(super) fn stale_key(id: CollectionId, document: &str, ordinal: u32, chunk: ChunkId) -> Vec<u8> {
    data(id, &["stale".into(), document.into(), ordinal.into(), bytes(chunk)])
}

pub(super) fn stale_of(id: CollectionId, document: &str) -> KeyRange {
    below(id, &["stale".into(), document.into()])
}

/// Place and chunk in a stale row's key.
pub(super) fn stale_parts(key: &[u8]) -> Result<(u32, ChunkId), StoreError> {
    let mut elements = tuple::unpack(key)?;
    match (elements.pop(), elements.pop()) {
        (Some(Element::Bytes(chunk)), Some(Element::Integer(ordinal))) => {
            let chunk = chunk.try_into().map_err(|_| damaged("a stale row's key"))?;
            let ordinal = u32::try_from(ordinal).map_err(|_| damaged("a stale row's key"))?;
            Ok((ordinal, ChunkId(chunk)))
        }
        _ => Err(damaged("a stale row's key")),
    }
}

/// A chunk whose vectors must be looked at.
pub(super) fn mend_key(id: CollectionId, chunk: ChunkId) -> Vec<u8> {
    data(id, &["mend".into(), bytes(chunk)])
}

pub(super) fn mends_of(id: CollectionId) -> KeyRange {
    below(id, &["mend".into()])
}

/// How many chunks there are: a little-endian number changed by atomic additions.
pub(super) fn count_key(id: CollectionId) -> Vec<u8> {
    data(id, &["count".into()])
}

/// How far the job over all chunks is, for the version of this generation.
pub(super) fn sweep_key(id: CollectionId, generation: u64) -> Vec<u8> {
    let generation = i64::try_from(generation).unwrap_or(i64::MAX);
    data(id, &["sweep".into(), generation.into()])
}

/// That a collection has something for the runners to do.
pub(super) fn todo_key(tenant: &str, name: &str) -> Vec<u8> {
    tuple::pack(&[COLLECTION.into(), "todo".into(), tenant.into(), name.into()])
}

pub(super) fn all_todos() -> KeyRange {
    tuple::below(&[COLLECTION.into(), "todo".into()])
}

pub(super) fn all_doomed() -> KeyRange {
    tuple::below(&[COLLECTION.into(), "doomed".into()])
}

/// The space in a doomed row's key.
pub(super) fn doomed_space(key: &[u8]) -> Result<String, StoreError> {
    match tuple::unpack(key)?.pop() {
        Some(Element::Text(space)) => Ok(space),
        _ => Err(damaged("a doomed space's key")),
    }
}

/// A space to be dropped, and until when: somebody may create it again who has not heard yet.
pub(super) fn doomed_key(space: &str) -> Vec<u8> {
    tuple::pack(&[COLLECTION.into(), "doomed".into(), space.into()])
}
