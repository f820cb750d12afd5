//! Documents on their way into the store: batches of bounded size, each taken once.

use headwater_embedding::ingest::{Counts, Lane, document_key, partition_of};
use headwater_storage::retry::Retry;
use headwater_storage::{ReadMode, StoreError, Transaction};

use super::jobs::read_job;
use super::keys::{dead_key, received_key, task_key, text_key, turns_key};
use super::nouns::{BadLine, Document, IngestError, Job, JobKey, Received};
use super::parse::field_bytes;
use super::records::{
    DeadRow, TaskRow, count, decode_received, decode_turns, encode, encode_received, encode_text,
    encode_turns,
};

/// Most lines that one transaction takes in.
pub(super) const BATCH_LINES: usize = 256;
/// Most bytes of lines that one transaction takes in, unless one line alone has more.
pub(super) const BATCH_BYTES: usize = 1 << 20;
/// What a line's rows take beside what the line says: keys, conflict ranges and counts, in bytes.
const ROWS_BYTES: usize = 2_048;

/// Lines that go into the store together.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    pub(super) lines: Vec<(u64, Result<Document, BadLine>)>,
    /// Lines that must have come in before.
    pub(super) from_lines: u64,
    /// What has come in once this batch is in.
    pub(super) received: Received,
    bytes: usize,
}

impl Batch {
    /// An empty batch behind what has come in.
    pub(super) fn after(received: Received) -> Batch {
        Batch { lines: Vec::new(), from_lines: received.lines, received, bytes: 0 }
    }

    pub(super) fn add(&mut self, line: u64, document: Result<Document, BadLine>) {
        self.bytes += line_bytes(&document);
        self.lines.push((line, document));
    }

    /// Whether this line may come into the same transaction.
    pub(super) fn has_room(&self, document: &Result<Document, BadLine>) -> bool {
        self.lines.is_empty() || self.bytes + line_bytes(document) <= BATCH_BYTES
    }

    pub(super) fn is_full(&self) -> bool {
        self.lines.len() >= BATCH_LINES || self.bytes >= BATCH_BYTES
    }
}

/// What a line takes in the store, about, in bytes.
fn line_bytes(document: &Result<Document, BadLine>) -> usize {
    let own = match document {
        Ok(Document { id, text, fields }) => {
            let fields = fields.iter().map(|(name, value)| field_bytes(name, value));
            id.len() + text.len() + fields.sum::<usize>()
        }
        Err(BadLine { field, problem }) => field.as_ref().map_or(0, String::len) + problem.len(),
    };
    own + ROWS_BYTES
}

/// What became of a batch.
enum Staged {
    Taken(Received),
    NoJob,
    Refused(Job),
    Gap(Received),
}

/// Takes a batch in; one that is in already is left alone.
pub(super) async fn stage(
    retry: &Retry,
    key: &JobKey,
    batch: &Batch,
    now_ms: u64,
) -> Result<Received, IngestError> {
    let staged = retry.write_idempotent(|transaction| {
        let (key, batch) = (key.clone(), batch.clone());
        Box::pin(async move { put(transaction, &key, batch, now_ms).await })
    });
    match staged.await? {
        Staged::Taken(received) => Ok(received),
        Staged::NoJob => Err(IngestError::NoJob(key.id.clone())),
        Staged::Refused(job) => {
            let refusal = headwater_embedding::ingest::Refusal(job.state.standing());
            Err(IngestError::Refused(refusal))
        }
        Staged::Gap(received) => Err(IngestError::Gap { received: received.lines }),
    }
}

async fn put(
    transaction: &mut dyn Transaction,
    key: &JobKey,
    batch: Batch,
    now_ms: u64,
) -> Result<Staged, StoreError> {
    let Some(job) = read_job(transaction, key).await? else { return Ok(Staged::NoJob) };
    let row = transaction.get(&received_key(key), ReadMode::Serializable).await?;
    let before = decode_received(row)?;
    if before.lines >= batch.received.lines {
        return Ok(Staged::Taken(before));
    }
    if !job.state.may_receive() {
        return Ok(Staged::Refused(job));
    }
    if before.lines != batch.from_lines {
        return Ok(Staged::Gap(before));
    }
    let mut received = batch.received;
    received.bytes = before.bytes;
    for (line, document) in batch.lines {
        received.bytes += document.as_ref().map_or(0, |document| document.text.len() as u64);
        match document {
            Ok(document) => put_document(transaction, &job, line, &document, now_ms).await?,
            Err(bad) => put_bad_line(transaction, key, line, bad, now_ms)?,
        }
    }
    transaction.set(&received_key(key), &encode_received(&received)?)?;
    Ok(Staged::Taken(received))
}

async fn put_document(
    transaction: &mut dyn Transaction,
    job: &Job,
    line: u64,
    document: &Document,
    now_ms: u64,
) -> Result<(), StoreError> {
    let key = document_key(&document.id);
    let partition = partition_of(&key);
    let turns_key = turns_key(&job.key.tenant, &job.spec.collection, &key);
    let row = transaction.get(&turns_key, ReadMode::Serializable).await?;
    let mut turns = decode_turns(row)?;
    let turn = turns.add();
    transaction.set(&turns_key, &encode_turns(&turns)?)?;
    for (piece, bytes) in (0..).zip(encode_text(document)?) {
        transaction.set(&text_key(&job.key, line, piece), &bytes)?;
    }
    let bytes = document.text.len() as u64;
    let task = TaskRow {
        document: document.id.clone(),
        key,
        bytes,
        turn,
        staged_ms: now_ms,
        attempts: 0,
        token: 0,
        not_before_ms: 0,
        problem: String::new(),
    };
    transaction.set(&task_key(&job.key, partition, false, line), &encode(&task)?)?;
    let counts = Counts::of(Lane::Staged, 1).with(Lane::StagedBytes, bytes);
    count(transaction, &job.key, partition, &counts)
}

fn put_bad_line(
    transaction: &mut dyn Transaction,
    job: &JobKey,
    line: u64,
    bad: BadLine,
    now_ms: u64,
) -> Result<(), StoreError> {
    let BadLine { field, problem: reason } = bad;
    let dead = DeadRow { task: None, field, reason, at_ms: now_ms };
    transaction.set(&dead_key(job, line), &encode(&dead)?)?;
    count(transaction, job, 0, &Counts::of(Lane::BadLines, 1))
}
