//! Jobs: created, paused, resumed, cancelled, ended, and forgotten after a while.

use std::collections::BTreeMap;

use headwater_embedding::ingest::{Counts, Hold, JobState, Refusal};
use headwater_storage::retry::Retry;
use headwater_storage::{KeyRange, RangeRead, ReadMode, StoreError, Transaction};

use super::keys::{
    active_after, active_key, active_of, counts_of, dead_after, ended_before, ended_key, holds_of,
    job_key, jobs_after, last_job, last_number, ranges_of, received_key, turns_key,
};
use super::nouns::{IngestError, Job, JobKey, PRIORITY_MAX, Received};
use super::records::{
    DeadRow, decode, decode_hold, decode_job, decode_received, decode_turns, encode_job,
    encode_turns,
};

/// Most dead letters of a job that one transaction forgets.
const FORGOTTEN: usize = 500;

/// A job with its rows beside it, as one transaction saw them.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) job: Job,
    pub(super) received: Received,
    pub(super) holds: Vec<(u16, Hold)>,
    pub(super) counts: BTreeMap<u16, Counts>,
}

impl Load {
    pub(super) fn total(&self) -> Counts {
        self.counts.values().fold(Counts::default(), |sum, counts| sum.plus(counts))
    }
}

pub(super) async fn read_job(
    transaction: &mut dyn Transaction,
    key: &JobKey,
) -> Result<Option<Job>, StoreError> {
    let row = transaction.get(&job_key(key), ReadMode::Serializable).await?;
    row.map(|row| decode_job(key, &row)).transpose()
}

fn write_job(transaction: &mut dyn Transaction, job: &Job) -> Result<(), StoreError> {
    transaction.set(&job_key(&job.key), &encode_job(job)?)
}

/// A tenant's jobs that have not ended; `most` where there are more.
async fn count_active(
    transaction: &mut dyn Transaction,
    tenant: &str,
    most: usize,
) -> Result<usize, StoreError> {
    let mut count = 0;
    for priority in 0..=PRIORITY_MAX {
        let read = RangeRead::all(active_of(priority, tenant)).limit(most - count).snapshot();
        count += transaction.range(read).await?.len();
        if count >= most {
            break;
        }
    }
    Ok(count)
}

/// Creates the job, or finds it: the job, and whether it is new. A tenant may have `most` that
/// have not ended; requests at once may get a few more in.
pub(super) async fn create(
    retry: &Retry,
    job: &Job,
    most: usize,
) -> Result<(Job, bool), IngestError> {
    let created = retry.write_idempotent(|transaction| {
        let job = job.clone();
        Box::pin(async move {
            if let Some(known) = read_job(transaction, &job.key).await? {
                return Ok((known, Some(false)));
            }
            if count_active(transaction, &job.key.tenant, most).await? >= most {
                return Ok((job, None));
            }
            write_job(transaction, &job)?;
            transaction.set(&active_key(job.spec.priority, &job.key), &[])?;
            Ok((job, Some(true)))
        })
    });
    let (known, is_new) = created.await?;
    let Some(is_new) = is_new else { return Err(IngestError::TooManyJobs { allowed: most }) };
    if known.spec != job.spec {
        return Err(IngestError::Exists(job.key.id.clone()));
    }
    Ok((known, is_new))
}

/// Changes where a job stands.
pub(super) async fn change(
    retry: &Retry,
    key: &JobKey,
    act: impl Fn(&mut JobState) -> Result<(), Refusal> + Copy + Send + Sync + 'static,
) -> Result<Job, IngestError> {
    let changed = retry.write_idempotent(|transaction| {
        let key = key.clone();
        Box::pin(async move {
            let Some(mut job) = read_job(transaction, &key).await? else { return Ok(None) };
            let before = job.state;
            if let Err(refusal) = act(&mut job.state) {
                return Ok(Some(Err(refusal)));
            }
            if job.state != before {
                write_job(transaction, &job)?;
            }
            Ok(Some(Ok(job)))
        })
    });
    match changed.await? {
        None => Err(IngestError::NoJob(key.id.clone())),
        Some(Err(refusal)) => Err(IngestError::Refused(refusal)),
        Some(Ok(job)) => Ok(job),
    }
}

/// Lets a job that is done go on, one that is cancelled not; where it stands then.
pub(super) async fn reopen(
    transaction: &mut dyn Transaction,
    key: &JobKey,
) -> Result<Option<JobState>, StoreError> {
    let Some(mut job) = read_job(transaction, key).await? else { return Ok(None) };
    if let Some(ended_ms) = job.state.ended_ms
        && job.state.revive().is_ok()
    {
        write_job(transaction, &job)?;
        transaction.clear(&ended_key(ended_ms, key))?;
        transaction.set(&active_key(job.spec.priority, key), &[])?;
    }
    Ok(Some(job.state))
}

/// A tenant's jobs by id, those behind `after` first.
pub(super) async fn list(
    retry: &Retry,
    tenant: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Job>, StoreError> {
    let range = jobs_after(tenant, after);
    let pairs = read_range(retry, range, limit).await?;
    pairs.into_iter().map(|(key, row)| decode_job(&last_job(&key)?, &row)).collect()
}

pub(super) async fn read_range(
    retry: &Retry,
    range: KeyRange,
    limit: usize,
) -> Result<Vec<headwater_storage::Pair>, StoreError> {
    let read = RangeRead::all(range).limit(limit).snapshot();
    retry
        .read(|transaction| {
            let read = read.clone();
            Box::pin(async move { transaction.range(read).await })
        })
        .await
}

/// Jobs that have not ended, the highest priority first, behind the row `after` or all, each with
/// the key of its row.
pub(super) async fn active(
    retry: &Retry,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<(Vec<u8>, JobKey)>, StoreError> {
    let pairs = read_range(retry, active_after(after), limit).await?;
    pairs.into_iter().map(|(row, _)| last_job(&row).map(|job| (row, job))).collect()
}

/// A job with its counts and holders.
pub(super) async fn load(retry: &Retry, key: &JobKey) -> Result<Option<Load>, StoreError> {
    retry
        .read(|transaction| {
            let key = key.clone();
            Box::pin(async move { read_load(transaction, &key, ReadMode::Snapshot).await })
        })
        .await
}

async fn read_load(
    transaction: &mut dyn Transaction,
    key: &JobKey,
    mode: ReadMode,
) -> Result<Option<Load>, StoreError> {
    let row = transaction.get(&job_key(key), mode).await?;
    let Some(job) = row.map(|row| decode_job(key, &row)).transpose()? else { return Ok(None) };
    let received = decode_received(transaction.get(&received_key(key), mode).await?)?;
    let mut counts = BTreeMap::new();
    let read = RangeRead { mode, ..RangeRead::all(counts_of(key)) };
    for (key, row) in transaction.range(read).await? {
        counts.insert(last_number(&key)? as u16, Counts::from_bytes(&row));
    }
    let mut holds = Vec::new();
    for (key, row) in transaction.range(RangeRead::all(holds_of(key)).snapshot()).await? {
        holds.push((last_number(&key)? as u16, decode_hold(&row)?));
    }
    Ok(Some(Load { job, received, holds, counts }))
}

/// Ends a job in which nothing waits any more; whether it did.
pub(super) async fn finish(retry: &Retry, key: &JobKey, now_ms: u64) -> Result<bool, StoreError> {
    retry
        .write_idempotent(|transaction| {
            let key = key.clone();
            Box::pin(async move {
                let load = read_load(transaction, &key, ReadMode::Serializable).await?;
                let Some(load) = load else { return Ok(false) };
                if !load.job.state.may_end() || load.total().waiting() > 0 {
                    return Ok(false);
                }
                let mut job = load.job;
                job.state.ended_ms = Some(now_ms);
                write_job(transaction, &job)?;
                transaction.clear(&active_key(job.spec.priority, &key))?;
                transaction.set(&ended_key(now_ms, &key), &[])?;
                Ok(true)
            })
        })
        .await
}

/// Forgets a step of the job that ended first, if it ended before this time; whether there may
/// be more to forget.
pub(super) async fn forget(retry: &Retry, ended_before_ms: u64) -> Result<bool, StoreError> {
    retry
        .write_idempotent(|transaction| {
            Box::pin(async move {
                let range = ended_before(ended_before_ms);
                let first = transaction.range(RangeRead::all(range).limit(1)).await?;
                let Some((index_key, _)) = first.first() else { return Ok(false) };
                let key = last_job(index_key)?;
                let Some(job) = read_job(transaction, &key).await? else {
                    transaction.clear(index_key)?;
                    return Ok(true);
                };
                if !forget_dead(transaction, &job).await? {
                    return Ok(true);
                }
                for range in ranges_of(&key) {
                    transaction.clear_range(&range)?;
                }
                transaction.clear(&job_key(&key))?;
                transaction.clear(index_key)?;
                Ok(true)
            })
        })
        .await
}

/// Dead letters keep their place in the order of their document's writes; they leave it now.
/// Whether all have left.
async fn forget_dead(transaction: &mut dyn Transaction, job: &Job) -> Result<bool, StoreError> {
    let read = RangeRead::all(dead_after(&job.key, None)).limit(FORGOTTEN);
    let dead = transaction.range(read).await?;
    for (key, row) in &dead {
        let line = last_number(key)?;
        let row: DeadRow = decode(row)?;
        if let Some(task) = row.task {
            let name = (job.key.id.clone(), line);
            end_turn(transaction, job, &task.key, &name).await?;
        }
        transaction.clear(key)?;
    }
    Ok(dead.len() < FORGOTTEN)
}

/// One write of a document has ended.
pub(super) async fn end_turn(
    transaction: &mut dyn Transaction,
    job: &Job,
    document: &headwater_embedding::ingest::DocumentKey,
    name: &super::records::TaskName,
) -> Result<(), StoreError> {
    let key = turns_key(&job.key.tenant, &job.spec.collection, document);
    let row = transaction.get(&key, ReadMode::Serializable).await?;
    let mut turns = decode_turns(row)?;
    if turns.end(name) {
        transaction.set(&key, &encode_turns(&turns)?)
    } else {
        transaction.clear(&key)
    }
}
