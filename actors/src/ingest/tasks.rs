//! Tasks of a partition: begun, put off, ended. Every call is one transaction of the holder, and
//! repeating it is as good as once.

use std::collections::BTreeSet;

use headwater_embedding::ingest::{Counts, JobState, Lane, Turn};
use headwater_storage::retry::Retry;
use headwater_storage::{RangeRead, ReadMode, StoreError, Transaction};

use super::holds::Held;
use super::jobs::{end_turn, read_job, reopen};
use super::keys::{dead_after, dead_key, last_number, task_key, tasks_of, text_of, turns_key};
use super::nouns::{Job, JobKey};
use super::records::{
    DeadRow, TaskRow, count, decode, decode_some, decode_turns, encode, encode_turns,
};
use crate::mutants::{Mutant, planted};

/// Most tasks that one transaction looks at.
const LOOKED_AT: usize = 128;
/// Most dead letters that one transaction queues again.
const REVIVED: usize = 128;

/// A document that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) line: u64,
    pub(super) row: TaskRow,
}

/// What a worker got of its partition.
#[derive(Debug, Clone, Default)]
pub(super) struct Taken {
    pub(super) tasks: Vec<Task>,
    /// Documents that were dropped, or replaced by a later write.
    pub(super) skipped: u64,
    /// Whether tasks are left that wait for their time or for another job.
    pub(super) waits: bool,
}

/// Takes up to `wanted` tasks that are not `under_way` here.
pub(super) async fn take(
    held: &Held,
    under_way: &BTreeSet<u64>,
    wanted: usize,
    token: u128,
    now_ms: u64,
) -> Result<Taken, StoreError> {
    held.retry
        .write_idempotent(|transaction| {
            let (held, under_way) = (held.clone(), under_way.clone());
            Box::pin(async move {
                let Some(job) = read_job(transaction, &held.job.key).await? else {
                    return Ok(Taken::default());
                };
                let mut taking =
                    Taking { held: &held, job, token, now_ms, taken: Taken::default() };
                let limit = LOOKED_AT + under_way.len();
                let range = tasks_of(&held.job.key, held.partition);
                for (key, row) in transaction.range(RangeRead::all(range).limit(limit)).await? {
                    let task = Task { line: last_number(&key)?, row: decode(&row)? };
                    if under_way.contains(&task.line) {
                        continue;
                    }
                    if taking.taken.tasks.len() == wanted {
                        taking.taken.waits = true;
                        break;
                    }
                    let began = key == task_key(&held.job.key, held.partition, true, task.line);
                    taking.look_at(transaction, task, began).await?;
                }
                Ok(taking.taken)
            })
        })
        .await
}

struct Taking<'a> {
    held: &'a Held,
    job: Job,
    token: u128,
    now_ms: u64,
    taken: Taken,
}

impl Taking<'_> {
    async fn look_at(
        &mut self,
        transaction: &mut dyn Transaction,
        mut task: Task,
        began: bool,
    ) -> Result<(), StoreError> {
        let (key, partition) = (&self.held.job.key, self.held.partition);
        if began {
            // What began is ended, wherever the job stands: else its document would stay half
            // written, and locked for other jobs. A cancelled job waits for nothing.
            if task.row.not_before_ms > self.now_ms && !self.job.state.drops() {
                self.taken.waits = true;
                return Ok(());
            }
            if task.row.token != self.token {
                task.row.attempts += 1;
                task.row.token = self.token;
                let row = encode(&task.row)?;
                transaction.set(&task_key(key, partition, true, task.line), &row)?;
            }
            self.taken.tasks.push(task);
            return Ok(());
        }
        if self.job.state.drops() {
            self.taken.skipped += 1;
            return self.skip(transaction, &task, Lane::Dropped).await;
        }
        if !self.job.state.may_begin() {
            self.taken.waits = true;
            return Ok(());
        }
        let name = (key.id.clone(), task.line);
        let turns_key = turns_key(&key.tenant, &self.job.spec.collection, &task.row.key);
        let row = transaction.get(&turns_key, ReadMode::Serializable).await?;
        let mut turns = decode_turns(row)?;
        let turn = match turns.turn(task.row.turn, &name) {
            Turn::Superseded if planted(Mutant::EarlierWriteRuns) => Turn::Run,
            Turn::Wait if planted(Mutant::DocumentNotLocked) => Turn::Run,
            turn => turn,
        };
        match turn {
            Turn::Wait => self.taken.waits = true,
            Turn::Superseded => {
                self.taken.skipped += 1;
                self.skip(transaction, &task, Lane::Superseded).await?;
            }
            Turn::Run => {
                turns.begin(name);
                transaction.set(&turns_key, &encode_turns(&turns)?)?;
                task.row.attempts += 1;
                task.row.token = self.token;
                transaction.clear(&task_key(key, partition, false, task.line))?;
                let row = encode(&task.row)?;
                transaction.set(&task_key(key, partition, true, task.line), &row)?;
                count(transaction, key, partition, &Counts::of(Lane::Begun, 1))?;
                self.taken.tasks.push(task);
            }
        }
        Ok(())
    }

    /// Ends a task that has not begun.
    async fn skip(
        &self,
        transaction: &mut dyn Transaction,
        task: &Task,
        lane: Lane,
    ) -> Result<(), StoreError> {
        let (key, partition) = (&self.held.job.key, self.held.partition);
        transaction.clear(&task_key(key, partition, false, task.line))?;
        transaction.clear_range(&text_of(key, task.line))?;
        let name = (key.id.clone(), task.line);
        end_turn(transaction, &self.job, &task.row.key, &name).await?;
        let counts = Counts::of(lane, 1).with(Lane::EndedBytes, task.row.bytes);
        count(transaction, key, partition, &counts)
    }
}

/// The text and fields of a task's document.
pub(super) async fn text(
    retry: &Retry,
    key: &JobKey,
    line: u64,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let pairs = super::jobs::read_range(retry, text_of(key, line), usize::MAX).await?;
    Ok(pairs.into_iter().map(|(_, piece)| piece).collect())
}

/// How a task's attempt ends.
#[derive(Debug, Clone)]
pub(super) enum Ending {
    /// With what the document counts.
    Done(Counts),
    Again {
        not_before_ms: u64,
        reason: String,
    },
    Dead {
        reason: String,
        at_ms: u64,
    },
}

/// Writes down how an attempt ended. A task that has ended already is left alone.
pub(super) async fn end(held: &Held, task: &Task, ending: &Ending) -> Result<(), StoreError> {
    if planted(Mutant::CountsApart)
        && let Ending::Done(counts) = ending
    {
        // Counts first, and in a transaction of their own.
        add_counts(held, &done_counts(task, counts)).await?;
    }
    held.retry
        .write_idempotent(|transaction| {
            let (held, task, ending) = (held.clone(), task.clone(), ending.clone());
            Box::pin(async move { end_in(transaction, &held, task, ending).await })
        })
        .await
}

fn done_counts(task: &Task, counts: &Counts) -> Counts {
    counts.with(Lane::Documents, 1).with(Lane::EndedBytes, task.row.bytes)
}

/// Adds to the partition's counts in a transaction of its own: only defects do.
pub(super) async fn add_counts(held: &Held, counts: &Counts) -> Result<(), StoreError> {
    held.retry
        .write_idempotent(|transaction| {
            let (held, counts) = (held.clone(), *counts);
            Box::pin(async move { count(transaction, &held.job.key, held.partition, &counts) })
        })
        .await
}

async fn end_in(
    transaction: &mut dyn Transaction,
    held: &Held,
    mut task: Task,
    ending: Ending,
) -> Result<(), StoreError> {
    let (job, key, partition) = (&*held.job, &held.job.key, held.partition);
    let task_key = task_key(key, partition, true, task.line);
    let standing = transaction.get(&task_key, ReadMode::Serializable).await?;
    let Some(standing) = decode_some::<TaskRow>(standing)? else { return Ok(()) };
    let name = (key.id.clone(), task.line);
    let ending = match ending {
        // Nobody waits for anything on behalf of a cancelled job.
        Ending::Again { not_before_ms: at_ms, reason }
            if read_job(transaction, key).await?.is_some_and(|job| job.state.drops()) =>
        {
            Ending::Dead { reason, at_ms }
        }
        other => other,
    };
    match ending {
        Ending::Done(counts) => {
            transaction.clear(&task_key)?;
            transaction.clear_range(&text_of(key, task.line))?;
            end_turn(transaction, job, &task.row.key, &name).await?;
            if planted(Mutant::CountsApart) {
                return Ok(());
            }
            count(transaction, key, partition, &done_counts(&task, &counts))
        }
        Ending::Again { not_before_ms, reason } => {
            if standing.not_before_ms == not_before_ms {
                return Ok(());
            }
            (task.row.not_before_ms, task.row.problem) = (not_before_ms, reason);
            transaction.set(&task_key, &encode(&task.row)?)?;
            count(transaction, key, partition, &Counts::of(Lane::Retries, 1))
        }
        Ending::Dead { reason, at_ms } => {
            transaction.clear(&task_key)?;
            // It keeps its place in the order of the document's writes: it may run again.
            let turns_key = turns_key(&key.tenant, &job.spec.collection, &task.row.key);
            let row = transaction.get(&turns_key, ReadMode::Serializable).await?;
            let mut turns = decode_turns(row)?;
            turns.stop(&name);
            transaction.set(&turns_key, &encode_turns(&turns)?)?;
            let bytes = task.row.bytes;
            let dead = DeadRow { task: Some(task.row), field: None, reason, at_ms };
            transaction.set(&dead_key(key, task.line), &encode(&dead)?)?;
            let counts = Counts::of(Lane::Dead, 1).with(Lane::EndedBytes, bytes);
            count(transaction, key, partition, &counts)
        }
    }
}

/// The last line looked at, none at the end; else why not: where the job stands, none without it.
type Revived = Result<Option<u64>, Option<JobState>>;

/// Queues a page of a job's dead letters again, those behind `after`.
pub(super) async fn revive(
    retry: &Retry,
    key: &JobKey,
    after: Option<u64>,
) -> Result<Revived, StoreError> {
    retry
        .write_idempotent(|transaction| {
            let key = key.clone();
            Box::pin(async move {
                // In one transaction with the first of them, so that the job does not end between.
                let Some(job) = reopen(transaction, &key).await? else { return Ok(Err(None)) };
                if job.cancelled {
                    return Ok(Err(Some(job)));
                }
                let read = RangeRead::all(dead_after(&key, after)).limit(REVIVED);
                let mut last = None;
                for (dead_key, row) in transaction.range(read).await? {
                    let line = last_number(&dead_key)?;
                    last = Some(line);
                    let row: DeadRow = decode(&row)?;
                    let Some(mut task) = row.task else { continue };
                    let partition = headwater_embedding::ingest::partition_of(&task.key);
                    (task.attempts, task.not_before_ms) = (0, 0);
                    transaction.clear(&dead_key)?;
                    let waiting = task_key(&key, partition, false, line);
                    transaction.set(&waiting, &encode(&task)?)?;
                    let counts = Counts::of(Lane::Revived, 1).with(Lane::StagedBytes, task.bytes);
                    count(transaction, &key, partition, &counts)?;
                }
                Ok(Ok(last))
            })
        })
        .await
}

/// A page of a job's dead letters.
pub(super) async fn dead_letters(
    retry: &Retry,
    key: &JobKey,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<(u64, DeadRow)>, StoreError> {
    let pairs = super::jobs::read_range(retry, dead_after(key, after), limit).await?;
    pairs.into_iter().map(|(key, row)| Ok((last_number(&key)?, decode(&row)?))).collect()
}

/// When the document came in that waits longest in these partitions, in ms of the wall clock.
pub(super) async fn oldest_ms(
    retry: &Retry,
    key: &JobKey,
    partitions: &[u16],
) -> Result<Option<u64>, StoreError> {
    let oldest = retry.read(|transaction| {
        let (key, partitions) = (key.clone(), partitions.to_vec());
        Box::pin(async move {
            let mut oldest: Option<u64> = None;
            for partition in partitions {
                let read = RangeRead::all(tasks_of(&key, partition)).limit(1).snapshot();
                if let Some((_, row)) = transaction.range(read).await?.first() {
                    let TaskRow { staged_ms, .. } = decode(row)?;
                    oldest = Some(oldest.map_or(staged_ms, |oldest| oldest.min(staged_ms)));
                }
            }
            Ok(oldest)
        })
    });
    oldest.await
}
