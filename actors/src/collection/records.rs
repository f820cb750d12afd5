//! A collection's rows in the store; their keys are in `keys.rs`.

use std::collections::BTreeMap;

use headwater_embedding::{Build, Policy, Version, Versions};
use headwater_storage::{StoreError, codec};
use headwater_vectors::{Metric, NumberFormat, Value};
use serde::{Deserialize, Serialize};

use super::nouns::{Chunking, Collection, CollectionId, CollectionSettings, DocumentInfo};

const RECORD: u8 = 1;

pub(super) fn damaged(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
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

/// See [`sweep_key`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SweepRow {
    /// 0: copying; 1: checking for chunks without a vector; 2: for vectors without a chunk.
    pub(super) phase: u8,
    /// The last chunk that is done with in this phase.
    pub(super) after: Option<[u8; 32]>,
    /// Chunks copied so far.
    pub(super) done: u64,
    /// Times that the check went over all chunks, and what the current one found missing.
    pub(super) checks: u32,
    pub(super) found: u64,
    pub(super) began_ms: u64,
    pub(super) updated_ms: u64,
    /// Why it does not go on, if it does not.
    pub(super) problem: Option<String>,
}

impl SweepRow {
    pub(super) fn new(now_ms: u64) -> SweepRow {
        SweepRow {
            phase: 0,
            after: None,
            done: 0,
            checks: 0,
            found: 0,
            began_ms: now_ms,
            updated_ms: now_ms,
            problem: None,
        }
    }
}

/// A chunk whose vectors must be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MendRow {
    /// Drawn by the transaction that marked it last.
    pub(super) token: u128,
    /// Who may delete the chunk's vectors, until when in ms since 1970; 0 for nobody.
    pub(super) claimant: u128,
    pub(super) until_ms: u64,
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

/// Reads a collection's record, the row of the key
/// `("collection", "record", tenant, name)`.
///
/// # Errors
/// [`StoreError::Corrupt`].
pub fn collection_of_row(tenant: &str, name: &str, bytes: &[u8]) -> Result<Collection, StoreError> {
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
