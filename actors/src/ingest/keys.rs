//! Keys of ingest's rows.

use headwater_embedding::ingest::DocumentKey;
use headwater_storage::tuple::{self, Element};
use headwater_storage::{KeyRange, StoreError};

use super::nouns::{JobKey, PRIORITY_MAX};

const INGEST: &str = "ingest";

fn number(value: u64) -> Element {
    Element::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

fn elements(kind: &str, job: &JobKey, rest: &[Element]) -> Vec<Element> {
    let mut elements =
        vec![INGEST.into(), kind.into(), job.tenant.as_str().into(), job.id.as_str().into()];
    elements.extend_from_slice(rest);
    elements
}

fn key(kind: &str, job: &JobKey, rest: &[Element]) -> Vec<u8> {
    tuple::pack(&elements(kind, job, rest))
}

fn below(kind: &str, job: &JobKey, rest: &[Element]) -> KeyRange {
    tuple::below(&elements(kind, job, rest))
}

/// The job itself: what it was created with and where it stands.
pub(super) fn job_key(job: &JobKey) -> Vec<u8> {
    key("job", job, &[])
}

/// A tenant's jobs behind this id, or all.
pub(super) fn jobs_after(tenant: &str, after: Option<&str>) -> KeyRange {
    let all = tuple::below(&[INGEST.into(), "job".into(), tenant.into()]);
    match after {
        Some(id) => {
            let after = JobKey { tenant: tenant.to_owned(), id: id.to_owned() };
            KeyRange { begin: KeyRange::of_key(&job_key(&after)).end, ..all }
        }
        None => all,
    }
}

/// A job that has not ended, the highest priority first.
pub(super) fn active_key(priority: u8, job: &JobKey) -> Vec<u8> {
    let rank = u32::from(PRIORITY_MAX.saturating_sub(priority));
    let (tenant, id) = (job.tenant.as_str().into(), job.id.as_str().into());
    tuple::pack(&[INGEST.into(), "active".into(), rank.into(), tenant, id])
}

/// Jobs that have not ended: those behind this row, or all.
pub(super) fn active_after(after: Option<&[u8]>) -> KeyRange {
    let all = tuple::below(&[INGEST.into(), "active".into()]);
    match after {
        Some(row) => KeyRange { begin: KeyRange::of_key(row).end, ..all },
        None => all,
    }
}

/// A tenant's jobs of this priority that have not ended.
pub(super) fn active_of(priority: u8, tenant: &str) -> KeyRange {
    let rank = u32::from(PRIORITY_MAX.saturating_sub(priority));
    tuple::below(&[INGEST.into(), "active".into(), rank.into(), tenant.into()])
}

/// A job that has ended, by when.
pub(super) fn ended_key(ended_ms: u64, job: &JobKey) -> Vec<u8> {
    let (tenant, id) = (job.tenant.as_str().into(), job.id.as_str().into());
    tuple::pack(&[INGEST.into(), "ended".into(), number(ended_ms), tenant, id])
}

/// Jobs that ended before this time.
pub(super) fn ended_before(wall_ms: u64) -> KeyRange {
    let end = tuple::pack(&[INGEST.into(), "ended".into(), number(wall_ms)]);
    KeyRange { end, ..tuple::below(&[INGEST.into(), "ended".into()]) }
}

/// The job that a key ends in.
pub(super) fn last_job(key: &[u8]) -> Result<JobKey, StoreError> {
    let mut elements = tuple::unpack(key)?;
    match (elements.pop(), elements.pop()) {
        (Some(Element::Text(id)), Some(Element::Text(tenant))) => Ok(JobKey { tenant, id }),
        _ => Err(StoreError::Corrupt("a job's key".to_owned())),
    }
}

pub(super) fn received_key(job: &JobKey) -> Vec<u8> {
    key("received", job, &[])
}

/// When the next tokens of a job with a limit may pass.
pub(super) fn pace_key(job: &JobKey) -> Vec<u8> {
    key("pace", job, &[])
}

pub(super) fn counts_key(job: &JobKey, partition: u16) -> Vec<u8> {
    key("counts", job, &[u32::from(partition).into()])
}

pub(super) fn counts_of(job: &JobKey) -> KeyRange {
    below("counts", job, &[])
}

/// Who holds a partition and until when; renewed all the time.
pub(super) fn hold_key(job: &JobKey, partition: u16) -> Vec<u8> {
    key("hold", job, &[u32::from(partition).into()])
}

pub(super) fn holds_of(job: &JobKey) -> KeyRange {
    below("hold", job, &[])
}

/// Who holds a partition; changes with the holder only, so that proving it meets no renewal.
pub(super) fn fence_key(job: &JobKey, partition: u16) -> Vec<u8> {
    key("fence", job, &[u32::from(partition).into()])
}

/// A document that has not ended: those that began stand before those that wait.
pub(super) fn task_key(job: &JobKey, partition: u16, began: bool, line: u64) -> Vec<u8> {
    let class = u32::from(!began).into();
    key("task", job, &[u32::from(partition).into(), class, number(line)])
}

pub(super) fn tasks_of(job: &JobKey, partition: u16) -> KeyRange {
    below("task", job, &[u32::from(partition).into()])
}

/// The last number in a key: a partition or a line.
pub(super) fn last_number(key: &[u8]) -> Result<u64, StoreError> {
    match tuple::unpack(key)?.pop() {
        Some(Element::Integer(number)) => Ok(number.max(0) as u64),
        _ => Err(StoreError::Corrupt("a key of ingest".to_owned())),
    }
}

/// A piece of a document's text and fields.
pub(super) fn text_key(job: &JobKey, line: u64, piece: u32) -> Vec<u8> {
    key("text", job, &[number(line), piece.into()])
}

pub(super) fn text_of(job: &JobKey, line: u64) -> KeyRange {
    below("text", job, &[number(line)])
}

pub(super) fn dead_key(job: &JobKey, line: u64) -> Vec<u8> {
    key("dead", job, &[number(line)])
}

/// Dead letters behind this line.
pub(super) fn dead_after(job: &JobKey, after: Option<u64>) -> KeyRange {
    let all = below("dead", job, &[]);
    match after {
        Some(line) => KeyRange { begin: KeyRange::of_key(&dead_key(job, line)).end, ..all },
        None => all,
    }
}

/// The order of one document's writes.
pub(super) fn turns_key(tenant: &str, collection: &str, document: &DocumentKey) -> Vec<u8> {
    let document = Element::Bytes(document.to_vec());
    tuple::pack(&[INGEST.into(), "turns".into(), tenant.into(), collection.into(), document])
}

/// Everything of a job besides its own row and what indexes it.
pub(super) fn ranges_of(job: &JobKey) -> Vec<KeyRange> {
    ["received", "pace", "counts", "hold", "fence", "task", "text", "dead"]
        .into_iter()
        .map(|kind| KeyRange::of_prefix(&key(kind, job, &[])))
        .collect()
}
