//! A collection's rows in the store.

use std::collections::BTreeMap;

use headwater_embedding::{Build, Policy, Version, Versions};
use headwater_storage::tuple::{self, Element};
use headwater_storage::{KeyRange, StoreError, codec};
use headwater_vectors::{Metric, NumberFormat, Value};
use serde::{Deserialize, Serialize};

use super::nouns::{ChunkId, Chunking, Collection, CollectionId, CollectionSettings, DocumentInfo};

const RECORD: u8 = 1;
const COLLECTION: &str = "collection";

/// Key: `("collection", "record", tenant, name)`.
pub(super) fn record_key(tenant: &str, name: &str) -> Vec<u8> {
    tuple::pack(&[COLLECTION.into(), "record".into(), tenant.into(), name.into()])
}

pub(super) fn records_of(tenant: &str) -> KeyRange {
    tuple::below(&[COLLECTION.into(), "record".into(), tenant.into()])
}

/// Tenant and name in a record's key.
pub(super) fn record_name(key: &[u8]) -> Result<(String, String), StoreError> {
    let mut elements = tuple::unpack(key)?;
    match (elements.pop(), elements.pop()) {
        (Some(Element::Text(name)), Some(Element::Text(tenant))) => Ok((tenant, name)),
        _ => Err(damaged("a collection's key")),
    }
}

fn damaged(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}

fn data(id: CollectionId, rest: &[Element]) -> Vec<u8> {
    let uid = Element::Bytes(id.0.to_be_bytes().to_vec());
    let mut elements = vec![COLLECTION.into(), "data".into(), uid];
    elements.extend_from_slice(rest);
    tuple::pack(&elements)
}

/// The rows whose keys go on behind these elements.
fn below(id: CollectionId, rest: &[Element]) -> KeyRange {
    let uid = Element::Bytes(id.0.to_be_bytes().to_vec());
    let mut elements = vec![COLLECTION.into(), "data".into(), uid];
    elements.extend_from_slice(rest);
    tuple::below(&elements)
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

/// A space to be dropped, and until when: somebody may create it again who has not heard yet.
pub(super) fn doomed_key(space: &str) -> Vec<u8> {
    tuple::pack(&[COLLECTION.into(), "doomed".into(), space.into()])
}

/// A place of a document, as a chunk's owner or source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) document: String,
    pub(super) ordinal: u32,
}

/// A chunk's row. Its owner is the place that the vectors are labelled with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ChunkRow {
    pub(super) document: String,
    pub(super) ordinal: u32,
    /// Of the text.
    pub(super) bytes: u32,
}

impl ChunkRow {
    pub(super) fn is_owned_by(&self, place: &Place) -> bool {
        self.document == place.document && self.ordinal == place.ordinal
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MemberRow {
    pub(super) chunk: [u8; 32],
    pub(super) start: u64,
    pub(super) end: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum ValueRow {
    Bool(bool),
    Number(f64),
    Text(String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct DocumentRow {
    /// Drawn by the put that began last; an earlier one that finds another's stops.
    pub(super) token: u128,
    pub(super) complete: bool,
    pub(super) chunks: u32,
    pub(super) updated_ms: u64,
    fields: Vec<(String, ValueRow)>,
}

impl DocumentRow {
    pub(super) fn new(
        token: u128,
        chunks: u32,
        updated_ms: u64,
        fields: &BTreeMap<String, Value>,
    ) -> Self {
        let row = |value: &Value| match value {
            Value::Bool(value) => ValueRow::Bool(*value),
            Value::Number(value) => ValueRow::Number(*value),
            Value::Text(value) => ValueRow::Text(value.clone()),
        };
        let fields = fields.iter().map(|(name, value)| (name.clone(), row(value))).collect();
        DocumentRow { token, complete: false, chunks, updated_ms, fields }
    }

    pub(super) fn fields(self) -> BTreeMap<String, Value> {
        let value = |value| match value {
            ValueRow::Bool(value) => Value::Bool(value),
            ValueRow::Number(value) => Value::Number(value),
            ValueRow::Text(value) => Value::Text(value),
        };
        self.fields.into_iter().map(|(name, row)| (name, value(row))).collect()
    }

    pub(super) fn info(self, id: &str) -> DocumentInfo {
        let DocumentRow { complete, chunks, updated_ms, .. } = self;
        DocumentInfo { id: id.to_owned(), fields: self.fields(), chunks, complete, updated_ms }
    }
}

/// Writes a row of this module.
pub(super) fn encode(row: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    codec::encode(RECORD, row)
}

/// Reads one.
pub(super) fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    codec::decode(RECORD, bytes)
}

#[derive(Serialize, Deserialize)]
struct VersionRow {
    fingerprint: String,
    model: String,
    generation: u64,
    dimensions: u32,
    format: String,
}

impl From<&Version> for VersionRow {
    fn from(version: &Version) -> Self {
        VersionRow {
            fingerprint: version.fingerprint.clone(),
            model: version.model.clone(),
            generation: version.generation,
            dimensions: u32::try_from(version.dimensions).unwrap_or(u32::MAX),
            format: version.format.clone(),
        }
    }
}

impl From<VersionRow> for Version {
    fn from(row: VersionRow) -> Self {
        let VersionRow { fingerprint, model, generation, dimensions, format } = row;
        Version { fingerprint, model, generation, dimensions: dimensions as usize, format }
    }
}

#[derive(Serialize, Deserialize)]
struct BuildRow {
    version: VersionRow,
    lazy: bool,
    paused: bool,
    sweeping: bool,
}

#[derive(Serialize, Deserialize)]
struct CollectionRow {
    id: u128,
    created_ms: u64,
    format: String,
    dot: bool,
    tokens: u32,
    overlap_percent: u32,
    boundary: String,
    serving: VersionRow,
    building: Option<BuildRow>,
    previous: Option<VersionRow>,
    epoch: u64,
}

pub(super) fn encode_collection(collection: &Collection) -> Result<Vec<u8>, StoreError> {
    let Collection { id, created_ms, settings, versions, .. } = collection;
    let Chunking { tokens, overlap_percent, boundary } = settings.chunking.clone();
    encode(&CollectionRow {
        id: id.0,
        created_ms: *created_ms,
        format: settings.format.name().to_owned(),
        dot: settings.metric == Metric::Dot,
        tokens,
        overlap_percent,
        boundary,
        serving: (&versions.serving).into(),
        building: versions.building.as_ref().map(|build| BuildRow {
            version: (&build.version).into(),
            lazy: build.policy == Policy::Lazy,
            paused: build.paused,
            sweeping: build.sweeping,
        }),
        previous: versions.previous.as_ref().map(VersionRow::from),
        epoch: versions.epoch,
    })
}

pub(super) fn decode_collection(
    tenant: &str,
    name: &str,
    bytes: &[u8],
) -> Result<Collection, StoreError> {
    let row: CollectionRow = decode(bytes)?;
    let format = NumberFormat::named(&row.format).ok_or_else(|| damaged("a number format"))?;
    let metric = if row.dot { Metric::Dot } else { Metric::Cosine };
    let (tokens, overlap_percent) = (row.tokens, row.overlap_percent);
    let chunking = Chunking { tokens, overlap_percent, boundary: row.boundary };
    let build = |row: BuildRow| Build {
        version: row.version.into(),
        policy: if row.lazy { Policy::Lazy } else { Policy::Eager },
        paused: row.paused,
        sweeping: row.sweeping,
    };
    Ok(Collection {
        tenant: tenant.to_owned(),
        name: name.to_owned(),
        id: CollectionId(row.id),
        created_ms: row.created_ms,
        settings: CollectionSettings { format, metric, chunking },
        versions: Versions {
            serving: row.serving.into(),
            building: row.building.map(build),
            previous: row.previous.map(Version::from),
            epoch: row.epoch,
        },
    })
}
