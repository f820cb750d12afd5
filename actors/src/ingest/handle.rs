//! The way into ingest for clients: jobs and their documents.

use std::sync::Arc;

use headwater_embedding::ingest::{AttemptSettings, JobState, Refusal, check_name, progress};
use headwater_storage::retry::{Retry, RetryPolicy};
use sha2::{Digest, Sha256};

use super::holds::{HoldSettings, SOURCE_PARTITION};
use super::intake::Intake;
use super::jobs::{self, Load};
use super::nouns::{
    DeadLetter, IngestError, Job, JobKey, JobSpec, JobStatus, PRIORITY_MAX, SourceSpec,
};
use super::tasks;
use crate::collection::Collections;
use crate::runtime::Runtime;

/// Most places in one job.
const PLACES: usize = 1_000;
/// Longest place, in bytes.
const PLACE_BYTES: usize = 4_096;
/// Most bytes of all places of a job together: they are one row, and a row holds 100,000.
const PLACES_BYTES: usize = 64 << 10;

/// How ingest works on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IngestSettings {
    /// Workers of this node; each holds one partition of one job at a time.
    pub workers: usize,
    /// Documents that a worker has under way.
    pub documents: usize,
    /// Most texts in one request to the embedding service.
    pub embed_texts: usize,
    pub hold: HoldSettings,
    pub attempts: AttemptSettings,
    /// How transactions are tried again; shorter than a hold.
    pub retry: RetryPolicy,
    /// How long an idle worker waits before it looks for work again, in ms.
    pub poll_ms: u64,
    /// After so long a worker gives its partition back, so that a job of higher priority gets
    /// its turn, in ms.
    pub slice_ms: u64,
    /// How long a job that has ended is remembered, in ms.
    pub retention_ms: u64,
    /// How often the gauges of the backlog are set, in ms.
    pub backlog_ms: u64,
    /// Most jobs of a tenant that have not ended.
    pub jobs: usize,
    /// Longest line that holds a document, in bytes.
    pub line_bytes: usize,
}

impl Default for IngestSettings {
    fn default() -> Self {
        IngestSettings {
            workers: 4,
            documents: 8,
            embed_texts: 32,
            hold: HoldSettings::default(),
            attempts: AttemptSettings::default(),
            retry: RetryPolicy { total_ms: 10_000, ..RetryPolicy::default() },
            poll_ms: 500,
            slice_ms: 15_000,
            retention_ms: 7 * 24 * 60 * 60 * 1000,
            backlog_ms: 15_000,
            jobs: 1_000,
            line_bytes: 8 << 20,
        }
    }
}

/// The way in; cheap to clone.
#[derive(Clone)]
pub struct IngestHandle {
    shared: Arc<Shared>,
}

struct Shared {
    runtime: Runtime,
    retry: Retry,
    collections: Collections,
    settings: IngestSettings,
}

impl IngestHandle {
    /// `retry` should give up while clients still wait.
    pub fn new(
        runtime: Runtime,
        retry: Retry,
        collections: Collections,
        settings: IngestSettings,
    ) -> IngestHandle {
        IngestHandle { shared: Arc::new(Shared { runtime, retry, collections, settings }) }
    }

    pub fn settings(&self) -> &IngestSettings {
        &self.shared.settings
    }

    pub(super) fn runtime(&self) -> &Runtime {
        &self.shared.runtime
    }

    pub fn collections(&self) -> &Collections {
        &self.shared.collections
    }

    pub(super) fn retry(&self) -> &Retry {
        &self.shared.retry
    }

    /// An id for a job that its client gave none. The same `once` of a tenant, an idempotency
    /// key, is always the same id.
    pub fn job_id(&self, once: Option<&str>) -> String {
        match once {
            Some(once) => {
                let digest = Sha256::digest(once.as_bytes());
                digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
            }
            None => format!("{:032x}", self.runtime().draw()),
        }
    }

    /// Creates a job, or finds the one with this id and the same settings. Documents come in
    /// until [`IngestHandle::seal`], and are worked on at once.
    ///
    /// # Errors
    /// [`IngestError::Invalid`] names the field; [`IngestError::Exists`];
    /// [`IngestError::TooManyJobs`]; the store's.
    pub async fn create(&self, key: &JobKey, spec: JobSpec) -> Result<(Job, bool), IngestError> {
        check(key, &spec)?;
        self.shared.collections.get(&key.tenant, &spec.collection).await?;
        let state = JobState { created_ms: self.runtime().wall_ms(), ..JobState::default() };
        let job = Job { key: key.clone(), spec, state };
        jobs::create(self.retry(), &job, self.settings().jobs).await
    }

    /// A stream of documents for a job whose first line is the one behind `offset`. A job that
    /// takes no more still hears the lines that it has: a client whose answer got lost sends them
    /// again, and must not hear that they were refused.
    ///
    /// # Errors
    /// [`IngestError::Gap`] when lines before it are missing, [`IngestError::Refused`] when the
    /// job takes no more; [`IngestError::NoJob`] and the store's.
    pub async fn intake(&self, key: &JobKey, offset: u64) -> Result<Intake, IngestError> {
        let load = self.load(key).await?;
        let state = &load.job.state;
        let closed = (!state.may_receive()).then(|| Refusal(state.standing()));
        Intake::new(self.clone(), key.clone(), offset, load.received, closed)
    }

    /// No more documents come in. Sealing twice is as good as once.
    ///
    /// # Errors
    /// [`IngestError::NoJob`] and the store's.
    pub async fn seal(&self, key: &JobKey) -> Result<Job, IngestError> {
        jobs::change(self.retry(), key, |state| {
            state.sealed = true;
            Ok(())
        })
        .await
    }

    /// Documents that began are ended, no other begins.
    ///
    /// # Errors
    /// [`IngestError::Refused`] when the job is over, [`IngestError::NoJob`] and the store's.
    pub async fn pause(&self, key: &JobKey) -> Result<Job, IngestError> {
        let now_ms = self.runtime().wall_ms();
        jobs::change(self.retry(), key, move |state| state.pause(now_ms)).await
    }

    /// # Errors
    /// As [`IngestHandle::pause`].
    pub async fn resume(&self, key: &JobKey) -> Result<Job, IngestError> {
        let now_ms = self.runtime().wall_ms();
        jobs::change(self.retry(), key, move |state| state.resume(now_ms)).await
    }

    /// Documents that began are ended, all others are dropped. What was written stays.
    ///
    /// # Errors
    /// As [`IngestHandle::pause`].
    pub async fn cancel(&self, key: &JobKey) -> Result<Job, IngestError> {
        jobs::change(self.retry(), key, JobState::cancel).await
    }

    /// Queues the dead letters of a job again; a job that was done goes on.
    ///
    /// # Errors
    /// As [`IngestHandle::pause`].
    pub async fn retry_dead(&self, key: &JobKey) -> Result<Job, IngestError> {
        let mut after = None;
        loop {
            match tasks::revive(self.retry(), key, after).await? {
                Ok(None) => return Ok(self.load(key).await?.job),
                Ok(line) => after = line,
                Err(None) => return Err(IngestError::NoJob(key.id.clone())),
                Err(Some(state)) => return Err(IngestError::Refused(Refusal(state.standing()))),
            }
        }
    }

    /// A tenant's jobs by id, those behind `after` first.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(
        &self,
        tenant: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Job>, IngestError> {
        Ok(jobs::list(self.retry(), tenant, after, limit).await?)
    }

    /// # Errors
    /// [`IngestError::NoJob`] and the store's.
    pub async fn status(&self, key: &JobKey) -> Result<JobStatus, IngestError> {
        let load = self.load(key).await?;
        let now_ms = self.runtime().wall_ms();
        let waiting = load.counts.iter().filter(|(_, counts)| counts.waiting() > 0);
        let partitions: Vec<u16> = waiting.map(|(partition, _)| *partition).collect();
        let oldest_ms = tasks::oldest_ms(self.retry(), key, &partitions).await?;
        let counts = load.total();
        let worker = |place: u16| place != SOURCE_PARTITION;
        let runs = load.holds.iter().filter(|(place, hold)| worker(*place) && hold.runs(now_ms));
        Ok(JobStatus {
            counts,
            progress: progress(
                &counts,
                load.job.state.worked_ms(now_ms),
                !load.job.state.may_receive(),
            ),
            workers: runs.count() as u32,
            oldest_waiting_ms: oldest_ms.map(|oldest_ms| now_ms.saturating_sub(oldest_ms)),
            received: load.received,
            job: load.job,
        })
    }

    /// Dead letters by line, those behind `after` first.
    ///
    /// # Errors
    /// [`IngestError::NoJob`] and the store's.
    pub async fn dead_letters(
        &self,
        key: &JobKey,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, IngestError> {
        self.load(key).await?;
        let rows = tasks::dead_letters(self.retry(), key, after, limit).await?;
        Ok(rows.into_iter().map(|(line, row)| row.letter(line)).collect())
    }

    async fn load(&self, key: &JobKey) -> Result<Load, IngestError> {
        let load = jobs::load(self.retry(), key).await?;
        load.ok_or_else(|| IngestError::NoJob(key.id.clone()))
    }
}

fn check(key: &JobKey, spec: &JobSpec) -> Result<(), IngestError> {
    let named = |problem: headwater_embedding::ingest::SpecProblem| IngestError::Invalid {
        field: problem.field,
        allowed: problem.allowed.to_owned(),
    };
    check_name("id", &key.id).map_err(named)?;
    let invalid =
        |field: &'static str, allowed: String| Err(IngestError::Invalid { field, allowed });
    if spec.priority > PRIORITY_MAX {
        return invalid("priority", format!("0 to {PRIORITY_MAX}"));
    }
    if spec.workers_max == 0 {
        return invalid("max_workers", "at least 1".to_owned());
    }
    if spec.tokens_per_s == Some(0) {
        return invalid("tokens_per_s", "at least 1; leave it out for no limit".to_owned());
    }
    if spec.chunks.check().is_err() {
        let most = headwater_embedding::ChunkSettings::OVERLAP_PERCENT_MAX;
        return invalid("chunks", format!("a window of at least 1 token, overlap 0 to {most} %"));
    }
    match &spec.source {
        SourceSpec::Places(places) if places.is_empty() || places.len() > PLACES => {
            invalid("source", format!("1 to {PLACES} places"))
        }
        SourceSpec::Places(places) if places.iter().any(|place| place.len() > PLACE_BYTES) => {
            invalid("source", format!("places of at most {PLACE_BYTES} bytes"))
        }
        SourceSpec::Places(places)
            if places.iter().map(String::len).sum::<usize>() > PLACES_BYTES =>
        {
            let allowed = "bytes in all places together; make several jobs of them";
            invalid("source", format!("at most {PLACES_BYTES} {allowed}"))
        }
        _ => Ok(()),
    }
}
