//! A worker's hold on a partition: claimed, renewed, given back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use headwater_embedding::ingest::{Hold, HoldProblem, PARTITIONS, claim};
use headwater_storage::retry::{Retry, RetryPolicy};
use headwater_storage::{RangeRead, StoreError, Transaction};

use super::fence::{FencedStore, is_lost};
use super::jobs::read_job;
use super::keys::{fence_key, hold_key, holds_of, last_number};
use super::nouns::{Job, JobKey, SourceSpec};
use super::records::{decode_hold, encode_hold, fence_value};
use crate::mutants::{Mutant, planted};
use crate::runtime::Runtime;

/// The partition that stands for the reading of a job's source; it has no tasks and counts no
/// worker.
pub(super) const SOURCE_PARTITION: u16 = PARTITIONS;

/// How long holds last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldSettings {
    /// A hold that is not renewed ends after so long, in ms.
    pub ttl_ms: u64,
    /// Pause between renewals, in ms.
    pub renew_ms: u64,
    /// By how much wall clocks of two nodes may differ, in ms.
    pub max_skew_ms: u64,
    /// How long a request may be on its way to the store or the sink after its sender has given
    /// it up, in ms. A holder stops so long before its hold ends, so that nothing of it arrives
    /// after another has taken over. At least the life of a transaction.
    pub late_ms: u64,
}

impl Default for HoldSettings {
    fn default() -> Self {
        HoldSettings { ttl_ms: 30_000, renew_ms: 5_000, max_skew_ms: 500, late_ms: 10_000 }
    }
}

impl HoldSettings {
    /// How long a holder may work after it asked for a hold or its renewal, in ms.
    fn usable_ms(&self) -> u64 {
        self.ttl_ms.saturating_sub(self.max_skew_ms + self.late_ms)
    }
}

/// A partition that this worker holds; cheap to clone.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) job: Arc<Job>,
    pub(super) partition: u16,
    hold: Hold,
    /// Writes only while the worker holds the partition.
    pub(super) retry: Retry,
    runtime: Runtime,
    settings: HoldSettings,
    /// When the worker must stop, in ms of its monotonic clock.
    until_ms: Arc<AtomicU64>,
}

impl Held {
    /// Whether the worker may still act, by its own clock.
    pub(super) fn stands(&self) -> bool {
        planted(Mutant::NoFence) || self.runtime.now_ms() < self.until_ms.load(Ordering::Relaxed)
    }

    /// Renews again and again; ends when the hold is lost.
    pub(super) async fn keep(self) {
        loop {
            self.runtime.pause(self.settings.renew_ms).await;
            if !self.renew().await {
                return;
            }
        }
    }

    /// False when another holds the partition now, or nobody.
    async fn renew(&self) -> bool {
        let asked_ms = self.runtime.now_ms();
        let hold =
            Hold { expires_ms: self.runtime.wall_ms() + self.settings.ttl_ms, ..self.hold.clone() };
        let (key, renewed) = (hold_key(&self.job.key, self.partition), hold);
        let written = self.retry.write_idempotent(|transaction| {
            let (key, hold) = (key.clone(), renewed.clone());
            Box::pin(async move { transaction.set(&key, &encode_hold(&hold)?) })
        });
        match written.await {
            Ok(()) => {
                let until_ms = asked_ms + self.settings.usable_ms();
                self.until_ms.fetch_max(until_ms, Ordering::Relaxed);
                true
            }
            Err(error) => !is_lost(&error),
        }
    }

    /// Gives the partition back, so that the next holder need not wait. Nothing of this one may
    /// be under way any more.
    pub(super) async fn release(self) {
        let hold = Hold { expires_ms: 0, ..self.hold };
        let key = hold_key(&self.job.key, self.partition);
        // Should this fail, the hold runs out by itself.
        let _ = self
            .retry
            .write_idempotent(|transaction| {
                let (key, hold) = (key.clone(), hold.clone());
                Box::pin(async move { transaction.set(&key, &encode_hold(&hold)?) })
            })
            .await;
    }
}

/// What claims have in common; cheap to clone.
#[derive(Clone)]
pub(super) struct Claims {
    pub(super) retry: Retry,
    /// How writes under a hold are tried again.
    pub(super) policy: RetryPolicy,
    pub(super) runtime: Runtime,
    pub(super) settings: HoldSettings,
}

impl Claims {
    /// Claims a partition of a job; none when another has it, or the job has workers enough.
    pub(super) async fn of_job(
        &self,
        key: &JobKey,
        partition: u16,
    ) -> Result<Option<Held>, StoreError> {
        let (worker, asked_ms) = (self.runtime.draw(), self.runtime.now_ms());
        let claimed = self.retry.write_idempotent(|transaction| {
            let (key, claims) = (key.clone(), self.clone());
            Box::pin(async move {
                let Some(job) = read_job(transaction, &key).await? else { return Ok(None) };
                let workers_max = match partition {
                    SOURCE_PARTITION => u32::MAX,
                    _ => job.spec.workers_max,
                };
                let hold = claims.take(transaction, &key, partition, workers_max, worker).await?;
                Ok(hold.map(|hold| (job, hold)))
            })
        });
        match claimed.await? {
            Some((job, hold)) => self.held(Arc::new(job), partition, hold, asked_ms).map(Some),
            None => Ok(None),
        }
    }

    /// Claims the mending of a job's collection: one worker does it at a time, whichever the job.
    pub(super) async fn of_mending(&self, job: &Job) -> Result<Option<Held>, StoreError> {
        let (worker, asked_ms) = (self.runtime.draw(), self.runtime.now_ms());
        // No job is called so: a '/' is no part of a job's id.
        let id = format!("mend/{}", job.spec.collection);
        let key = JobKey { tenant: job.key.tenant.clone(), id };
        let claimed = self.retry.write_idempotent(|transaction| {
            let (key, claims) = (key.clone(), self.clone());
            Box::pin(async move { claims.take(transaction, &key, 0, 1, worker).await })
        });
        match claimed.await? {
            Some(hold) => {
                let job = Arc::new(Job { key, ..job.clone() });
                self.held(job, 0, hold, asked_ms).map(Some)
            }
            None => Ok(None),
        }
    }

    async fn take(
        &self,
        transaction: &mut dyn Transaction,
        key: &JobKey,
        partition: u16,
        workers_max: u32,
        worker: u128,
    ) -> Result<Option<Hold>, StoreError> {
        let now_ms = self.runtime.wall_ms();
        let mut holds = Vec::new();
        for (key, row) in transaction.range(RangeRead::all(holds_of(key))).await? {
            holds.push((last_number(&key)? as u16, decode_hold(&row)?));
        }
        let mine = holds.iter().find(|(place, hold)| *place == partition && hold.worker == worker);
        if let Some((_, hold)) = mine {
            // An earlier try whose result was not known.
            return Ok(Some(hold.clone()));
        }
        holds.retain(|(place, _)| *place == partition || *place != SOURCE_PARTITION);
        let epoch = match claim(holds, partition, workers_max, now_ms) {
            Ok(epoch) => epoch,
            Err(HoldProblem::Held | HoldProblem::Cap) => return Ok(None),
        };
        let hold = Hold { worker, epoch, expires_ms: now_ms + self.settings.ttl_ms };
        transaction.set(&hold_key(key, partition), &encode_hold(&hold)?)?;
        transaction.set(&fence_key(key, partition), &fence_value(worker, epoch)?)?;
        Ok(Some(hold))
    }

    fn held(
        &self,
        job: Arc<Job>,
        partition: u16,
        hold: Hold,
        asked_ms: u64,
    ) -> Result<Held, StoreError> {
        let value = fence_value(hold.worker, hold.epoch)?;
        let key = fence_key(&job.key, partition);
        let store = FencedStore::new(self.retry.store().clone(), key, value);
        let fenced = Retry::new(Arc::new(store), self.runtime.environment().clone(), self.policy);
        let retry = if planted(Mutant::NoFence) { self.retry.clone() } else { fenced };
        let until_ms = Arc::new(AtomicU64::new(asked_ms + self.settings.usable_ms()));
        let (runtime, settings) = (self.runtime.clone(), self.settings);
        Ok(Held { job, partition, hold, retry, runtime, settings, until_ms })
    }
}

/// Whether a node has to read the job's source.
pub(super) fn wants_source(job: &Job) -> bool {
    job.state.may_receive()
        && job.state.paused_since_ms.is_none()
        && matches!(job.spec.source, SourceSpec::Places(_))
}
