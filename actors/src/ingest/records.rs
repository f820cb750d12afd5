//! Ingest's rows as bytes.

use std::collections::BTreeMap;

use headwater_embedding::ingest::{Counts, DocumentKey, Hold, JobState, NearDuplicates, Turns};
use headwater_embedding::{ChunkSettings, Split};
use headwater_storage::{AtomicOp, StoreError, Transaction, codec};
use headwater_vectors::Value;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::keys::counts_key;
use super::nouns::{DeadLetter, Document, Job, JobKey, JobSpec, Received, SourceSpec};

const RECORD: u8 = 1;
/// Bytes of a document in one row; a value holds 100,000.
const PIECE_BYTES: usize = 90_000;

pub(super) fn encode(record: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    codec::encode(RECORD, record)
}

pub(super) fn decode<T: DeserializeOwned>(row: &[u8]) -> Result<T, StoreError> {
    codec::decode(RECORD, row)
}

pub(super) fn decode_some<T: DeserializeOwned>(
    row: Option<Vec<u8>>,
) -> Result<Option<T>, StoreError> {
    row.map(|row| decode(&row)).transpose()
}

#[derive(Serialize, Deserialize)]
struct JobRow {
    collection: String,
    model: Option<String>,
    window_tokens: u64,
    overlap_percent: u64,
    split: String,
    priority: u8,
    tokens_per_s: Option<u64>,
    workers_max: u32,
    near_duplicates: String,
    places: Option<Vec<String>>,
    created_ms: u64,
    sealed: bool,
    paused_since_ms: Option<u64>,
    paused_ms: u64,
    cancelled: bool,
    ended_ms: Option<u64>,
}

pub(super) fn encode_job(job: &Job) -> Result<Vec<u8>, StoreError> {
    let Job { spec, state, .. } = job;
    encode(&JobRow {
        collection: spec.collection.clone(),
        model: spec.model.clone(),
        window_tokens: spec.chunks.window_tokens as u64,
        overlap_percent: spec.chunks.overlap_percent as u64,
        split: spec.chunks.split.name().to_owned(),
        priority: spec.priority,
        tokens_per_s: spec.tokens_per_s,
        workers_max: spec.workers_max,
        near_duplicates: spec.near_duplicates.name().to_owned(),
        places: match &spec.source {
            SourceSpec::Stream => None,
            SourceSpec::Places(places) => Some(places.clone()),
        },
        created_ms: state.created_ms,
        sealed: state.sealed,
        paused_since_ms: state.paused_since_ms,
        paused_ms: state.paused_ms,
        cancelled: state.cancelled,
        ended_ms: state.ended_ms,
    })
}

pub(super) fn decode_job(key: &JobKey, row: &[u8]) -> Result<Job, StoreError> {
    let damaged = || StoreError::Corrupt("a job's row".to_owned());
    let row: JobRow = decode(row)?;
    let spec = JobSpec {
        collection: row.collection,
        model: row.model,
        chunks: ChunkSettings {
            window_tokens: row.window_tokens as usize,
            overlap_percent: row.overlap_percent as usize,
            split: Split::named(&row.split).ok_or_else(damaged)?,
        },
        priority: row.priority,
        tokens_per_s: row.tokens_per_s,
        workers_max: row.workers_max,
        near_duplicates: NearDuplicates::named(&row.near_duplicates).ok_or_else(damaged)?,
        source: row.places.map_or(SourceSpec::Stream, SourceSpec::Places),
    };
    let state = JobState {
        created_ms: row.created_ms,
        sealed: row.sealed,
        paused_since_ms: row.paused_since_ms,
        paused_ms: row.paused_ms,
        cancelled: row.cancelled,
        ended_ms: row.ended_ms,
    };
    Ok(Job { key: key.clone(), spec, state })
}

#[derive(Serialize, Deserialize)]
struct ReceivedRow {
    lines: u64,
    bytes: u64,
    place: u32,
    object: Option<String>,
    object_bytes: u64,
}

pub(super) fn encode_received(received: &Received) -> Result<Vec<u8>, StoreError> {
    let Received { lines, bytes, place, object, object_bytes } = received.clone();
    encode(&ReceivedRow { lines, bytes, place, object, object_bytes })
}

pub(super) fn decode_received(row: Option<Vec<u8>>) -> Result<Received, StoreError> {
    let row: Option<ReceivedRow> = decode_some(row)?;
    Ok(row.map_or_else(Received::default, |row| {
        let ReceivedRow { lines, bytes, place, object, object_bytes } = row;
        Received { lines, bytes, place, object, object_bytes }
    }))
}

#[derive(Serialize, Deserialize)]
struct HoldRow {
    worker: u128,
    epoch: u64,
    expires_ms: u64,
}

pub(super) fn encode_hold(hold: &Hold) -> Result<Vec<u8>, StoreError> {
    let Hold { worker, epoch, expires_ms } = *hold;
    encode(&HoldRow { worker, epoch, expires_ms })
}

pub(super) fn decode_hold(row: &[u8]) -> Result<Hold, StoreError> {
    let HoldRow { worker, epoch, expires_ms } = decode(row)?;
    Ok(Hold { worker, epoch, expires_ms })
}

/// The value of a fence row while this worker holds the partition.
pub(super) fn fence_value(worker: u128, epoch: u64) -> Result<Vec<u8>, StoreError> {
    encode(&(worker, epoch))
}

/// One document's work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TaskRow {
    pub(super) document: String,
    pub(super) key: DocumentKey,
    /// Of the text.
    pub(super) bytes: u64,
    /// The document's number among its writes.
    pub(super) turn: u64,
    pub(super) staged_ms: u64,
    /// Attempts that began.
    pub(super) attempts: u32,
    /// Drawn by the call that began the last attempt, so that its repetition counts none.
    pub(super) token: u128,
    /// No attempt begins before, in ms of the wall clock.
    pub(super) not_before_ms: u64,
    /// Why the last attempt failed.
    pub(super) problem: String,
}

/// Names a task over all jobs of a tenant.
pub(super) type TaskName = (String, u64);

#[derive(Serialize, Deserialize)]
struct TurnsRow {
    latest: u64,
    pending: u64,
    running: Option<TaskName>,
}

pub(super) fn encode_turns(turns: &Turns<TaskName>) -> Result<Vec<u8>, StoreError> {
    let Turns { latest, pending, running } = turns.clone();
    encode(&TurnsRow { latest, pending, running })
}

pub(super) fn decode_turns(row: Option<Vec<u8>>) -> Result<Turns<TaskName>, StoreError> {
    let row: Option<TurnsRow> = decode_some(row)?;
    Ok(row.map_or_else(Turns::default, |row| {
        let TurnsRow { latest, pending, running } = row;
        Turns { latest, pending, running }
    }))
}

/// A dead letter: of a document with its task, of a line without.
#[derive(Serialize, Deserialize)]
pub(super) struct DeadRow {
    pub(super) task: Option<TaskRow>,
    pub(super) field: Option<String>,
    pub(super) reason: String,
    pub(super) at_ms: u64,
}

impl DeadRow {
    pub(super) fn letter(self, line: u64) -> DeadLetter {
        let DeadRow { task, field, reason, at_ms } = self;
        let attempts = task.as_ref().map_or(0, |task| task.attempts);
        let document = task.map(|task| task.document);
        DeadLetter { line, document, field, reason, attempts, at_ms }
    }
}

#[derive(Serialize, Deserialize)]
enum ValueRow {
    Bool(bool),
    Number(f64),
    Text(String),
}

#[derive(Serialize, Deserialize)]
struct TextRow {
    text: String,
    fields: Vec<(String, ValueRow)>,
}

/// A document's text and fields, in pieces that fit into rows.
pub(super) fn encode_text(document: &Document) -> Result<Vec<Vec<u8>>, StoreError> {
    let field = |(name, value): (&String, &Value)| {
        let value = match value {
            Value::Bool(value) => ValueRow::Bool(*value),
            Value::Number(value) => ValueRow::Number(*value),
            Value::Text(value) => ValueRow::Text(value.clone()),
        };
        (name.clone(), value)
    };
    let fields = document.fields.iter().map(field).collect();
    let bytes = encode(&TextRow { text: document.text.clone(), fields })?;
    Ok(bytes.chunks(PIECE_BYTES).map(<[u8]>::to_vec).collect())
}

pub(super) fn decode_text(
    pieces: impl IntoIterator<Item = Vec<u8>>,
) -> Result<(String, BTreeMap<String, Value>), StoreError> {
    let bytes: Vec<u8> = pieces.into_iter().flatten().collect();
    let TextRow { text, fields } = decode(&bytes)?;
    let fields = fields.into_iter().map(|(name, value)| {
        let value = match value {
            ValueRow::Bool(value) => Value::Bool(value),
            ValueRow::Number(value) => Value::Number(value),
            ValueRow::Text(value) => Value::Text(value),
        };
        (name, value)
    });
    Ok((text, fields.collect()))
}

/// Adds to a partition's counts without reading them.
pub(super) fn count(
    transaction: &mut dyn Transaction,
    job: &JobKey,
    partition: u16,
    counts: &Counts,
) -> Result<(), StoreError> {
    if counts.is_zero() {
        return Ok(());
    }
    transaction.atomic(&counts_key(job, partition), AtomicOp::Add, &counts.to_bytes())
}
