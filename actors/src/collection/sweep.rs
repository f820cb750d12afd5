//! The job over all chunks of a collection, one step after the other: copy, check both sides,
//! switch. Its place is in the store, so another node goes on where one stopped.

use std::sync::Arc;

use headwater_embedding::{Role, Version};
use headwater_storage::{RangeRead, ReadMode, StoreError, Transaction};
use headwater_vectors::{RecordId, SinkError};

use super::handle::{Collections, DOOMED_MS, read_collection};
use super::keys::{chunks_after, count_key, last_chunk, sweep_key};
use super::nouns::{ChunkId, Collection, CollectionError, Target};
use super::records::{SweepRow, decode, encode};
use super::vectors::PAGE_CHUNKS;
use super::versions::{progress_of, write_versions};
use crate::cluster::{LeaseProof, lease_stands};
use crate::mutants::{Mutant, planted};

type Outcome<T> = Result<T, CollectionError>;

const COPYING: u8 = 0;
const CHECKING: u8 = 1;
const ORPHANS: u8 = 2;
/// After so many times over all chunks, what is still found missing is being written just now.
const CHECKS: u32 = 3;

/// What one step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stepped {
    /// There is more to do; so many chunks were embedded in this step.
    On { embedded: usize },
    /// The version serves.
    Switched,
    /// The lease, the build or its place are not what this step began with.
    Stopped,
}

/// A build that may go on, as one step sees it.
#[derive(Clone)]
struct Job {
    collection: Collection,
    version: Version,
    proof: LeaseProof,
    row: SweepRow,
    /// Chunks of one step.
    page: usize,
}

impl Collections {
    /// One step of the build of this collection.
    ///
    /// # Errors
    /// The store's, the sink's and the embedder's, after which the step is taken again.
    pub(super) async fn sweep_step(
        &self,
        collection: &Collection,
        proof: &LeaseProof,
        page: usize,
    ) -> Outcome<Stepped> {
        let build = collection.versions.building.as_ref().filter(|build| build.may_sweep());
        let Some(build) = build else { return Ok(Stepped::Stopped) };
        let target = collection.target(Role::Building, &build.version);
        let (row, total) = self.sweep_row(collection, &build.version).await?;
        self.metrics().progress(&target, &progress_of(&row, total, false));
        let (collection, version, proof) =
            (collection.clone(), build.version.clone(), proof.clone());
        let job = Job { collection, version, proof, row, page };
        let stepped = match job.row.phase {
            ORPHANS => self.step_orphans(&job, &target).await,
            _ => self.step_chunks(&job, &target).await,
        };
        if let Ok(Stepped::Switched) = &stepped {
            self.metrics().switched();
            self.metrics().forget(&job.collection, &job.version.fingerprint);
        }
        stepped
    }

    async fn sweep_row(
        &self,
        collection: &Collection,
        version: &Version,
    ) -> Outcome<(SweepRow, u64)> {
        let keys = (sweep_key(collection.id, version.generation), count_key(collection.id));
        let rows = self.retry().read(|transaction| {
            let (sweep, count) = keys.clone();
            Box::pin(async move {
                let sweep = transaction.get(&sweep, ReadMode::Snapshot).await?;
                Ok((sweep, transaction.get(&count, ReadMode::Snapshot).await?))
            })
        });
        let (sweep, count) = rows.await?;
        let sweep: Option<SweepRow> = sweep.as_deref().map(decode).transpose()?;
        let count = count.and_then(|count| count.try_into().ok()).map_or(0, u64::from_le_bytes);
        Ok((sweep.unwrap_or_else(|| SweepRow::new(self.runtime().wall_ms())), count))
    }

    /// Copies or checks the next chunks.
    async fn step_chunks(&self, job: &Job, target: &Target) -> Outcome<Stepped> {
        let page = self.chunk_page(job).await?;
        let mut next = SweepRow { updated_ms: self.runtime().wall_ms(), ..job.row.clone() };
        next.problem = None;
        let Some(last) = page.last() else {
            match job.row.phase {
                COPYING => (next.phase, next.after, next.checks) = (CHECKING, None, 1),
                _ if job.row.found > 0 && job.row.checks < CHECKS => {
                    (next.after, next.found, next.checks) = (None, 0, job.row.checks + 1);
                }
                _ => (next.phase, next.after) = (ORPHANS, None),
            }
            return self.advance(job, next, 0).await;
        };
        let embedded = self.embed_missing(target, &page).await?;
        next.after = Some(last.0);
        match job.row.phase {
            COPYING => next.done += page.len() as u64,
            _ => next.found += embedded as u64,
        }
        if planted(Mutant::SwitchUnchecked) {
            return self.switch(job).await;
        }
        self.advance(job, next, embedded).await
    }

    /// Looks for vectors whose chunks are gone, page by page, then switches.
    async fn step_orphans(&self, job: &Job, target: &Target) -> Outcome<Stepped> {
        let after = job.row.after.map(RecordId);
        let page = match self.sink().page(&target.space.name, after, job.page).await {
            Ok(page) => page,
            Err(SinkError::Space(_)) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let ids: Vec<ChunkId> = page.iter().map(|record| record.id.into()).collect();
        let Some(last) = ids.last() else { return self.switch(job).await };
        self.mend_orphans(target, &ids).await?;
        let updated_ms = self.runtime().wall_ms();
        let next = SweepRow { after: Some(last.0), updated_ms, problem: None, ..job.row.clone() };
        self.advance(job, next, 0).await
    }

    /// Removes those of these vectors whose chunks are gone.
    async fn mend_orphans(&self, target: &Target, ids: &[ChunkId]) -> Outcome<()> {
        let there = self.labels_of(target, ids).await?;
        let gone: Vec<ChunkId> =
            ids.iter().filter(|chunk| !there.contains_key(chunk)).copied().collect();
        if gone.is_empty() {
            return Ok(());
        }
        self.mend_found(target, &gone).await
    }

    async fn chunk_page(&self, job: &Job) -> Outcome<Vec<ChunkId>> {
        let range = chunks_after(job.collection.id, job.row.after.map(ChunkId));
        self.chunk_ids(RangeRead::all(range).limit(job.page).snapshot()).await
    }

    async fn chunk_ids(&self, read: RangeRead) -> Outcome<Vec<ChunkId>> {
        let pairs = self.retry().read(|transaction| {
            let read = read.clone();
            Box::pin(async move { transaction.range(read).await })
        });
        let pairs = pairs.await?;
        Ok(pairs.iter().map(|(key, _)| last_chunk(key)).collect::<Result<Vec<_>, _>>()?)
    }

    /// Brings every live version in line with the chunks, both ways: embeds what is missing and
    /// removes what has no chunk. Builds do this for their own version before they switch; this
    /// is for an operator who does not trust a sink.
    ///
    /// # Errors
    /// The store's, the sink's and the embedder's; the call may be made again.
    pub async fn scrub(&self, tenant: &str, name: &str) -> Outcome<()> {
        let collection = self.get(tenant, name).await?;
        for target in collection.targets() {
            let mut after = None;
            loop {
                let range = chunks_after(collection.id, after);
                let read = RangeRead::all(range).limit(PAGE_CHUNKS).snapshot();
                let page = self.chunk_ids(read).await?;
                let Some(last) = page.last() else { break };
                after = Some(*last);
                self.embed_missing(&target, &page).await?;
            }
            let mut after = None;
            loop {
                let page = match self.sink().page(&target.space.name, after, PAGE_CHUNKS).await {
                    Err(SinkError::Space(_)) => Vec::new(),
                    page => page?,
                };
                let Some(last) = page.last() else { break };
                after = Some(last.id);
                let ids: Vec<ChunkId> = page.iter().map(|record| record.id.into()).collect();
                self.mend_orphans(&target, &ids).await?;
            }
        }
        Ok(())
    }

    /// Moves the job's place on, if it is still this job's.
    async fn advance(&self, job: &Job, next: SweepRow, embedded: usize) -> Outcome<Stepped> {
        let stands = self.retry().write_idempotent(|transaction| {
            let (job, next) = (job.clone(), next.clone());
            Box::pin(async move {
                let key = sweep_key(job.collection.id, job.version.generation);
                match place(transaction, &job).await? {
                    // An earlier try whose result was not known.
                    Place::At(row) if row.as_ref() == Some(&next) => return Ok(true),
                    Place::At(row) if row.as_ref().is_none_or(|row| *row == job.row) => {}
                    _ => return Ok(false),
                }
                transaction.set(&key, &encode(&next)?)?;
                Ok(true)
            })
        });
        Ok(if stands.await? { Stepped::On { embedded } } else { Stepped::Stopped })
    }

    /// Notes why the job does not go on, for whoever asks how far it is.
    pub(super) async fn note_problem(
        &self,
        collection: &Collection,
        proof: &LeaseProof,
        problem: &CollectionError,
    ) -> Outcome<()> {
        let Some(build) = &collection.versions.building else { return Ok(()) };
        let (row, _) = self.sweep_row(collection, &build.version).await?;
        let (collection, version, proof) =
            (collection.clone(), build.version.clone(), proof.clone());
        let next = SweepRow { problem: Some(problem.to_string()), ..row.clone() };
        let job = Job { collection, version, proof, row, page: 0 };
        self.advance(&job, next, 0).await.map(|_| ())
    }

    /// The version serves from this commit on.
    async fn switch(&self, job: &Job) -> Outcome<Stepped> {
        let until_ms = self.runtime().wall_ms().saturating_add(DOOMED_MS);
        let job = Arc::new(job.clone());
        let switched = self.retry().write_idempotent(|transaction| {
            let job = Arc::clone(&job);
            Box::pin(async move { switch_in(transaction, &job, until_ms).await })
        });
        let Some((collection, gone)) = switched.await? else { return Ok(Stepped::Stopped) };
        self.drop_versions(&collection, &gone).await;
        Ok(Stepped::Switched)
    }
}

/// The switch; none when the job is not what it was.
async fn switch_in(
    transaction: &mut dyn Transaction,
    job: &Job,
    until_ms: u64,
) -> Result<Option<(Collection, Vec<Version>)>, StoreError> {
    let Collection { tenant, name, id, .. } = &job.collection;
    let found = read_collection(transaction, tenant, name, ReadMode::Serializable).await?;
    let Some(mut collection) = found.filter(|found| found.id == *id) else { return Ok(None) };
    if collection.versions.serving.generation == job.version.generation {
        // An earlier try whose result was not known.
        return Ok(Some((collection, Vec::new())));
    }
    let mut built = job.version.clone();
    if planted(Mutant::SwitchUnfenced) {
        let build = collection.versions.building.as_mut();
        let Some(build) = build else { return Ok(None) };
        (build.sweeping, build.paused, built) = (true, false, build.version.clone());
    } else {
        match place(transaction, job).await? {
            Place::At(row) if row.as_ref().is_none_or(|row| *row == job.row) => {}
            _ => return Ok(None),
        }
    }
    let Ok(gone) = collection.versions.switch(&built) else { return Ok(None) };
    let gone: Vec<Version> = gone.into_iter().collect();
    write_versions(transaction, &collection, &gone, until_ms)?;
    transaction.clear(&sweep_key(*id, built.generation))?;
    Ok(Some((collection, gone)))
}

/// Where a job is, as a transaction sees it.
enum Place {
    At(Option<SweepRow>),
    /// The lease is another's, or the build may not go on.
    Lost,
}

/// Reads all that a step depends on, so that its commit fails when any of it changes.
async fn place(transaction: &mut dyn Transaction, job: &Job) -> Result<Place, StoreError> {
    let Collection { tenant, name, id, .. } = &job.collection;
    if !lease_stands(transaction, &job.proof).await? {
        return Ok(Place::Lost);
    }
    let found = read_collection(transaction, tenant, name, ReadMode::Serializable).await?;
    let building = found.filter(|found| found.id == *id).and_then(|found| found.versions.building);
    let same = |build: &headwater_embedding::Build| {
        build.may_sweep() && build.version.generation == job.version.generation
    };
    if !building.as_ref().is_some_and(same) {
        return Ok(Place::Lost);
    }
    let key = sweep_key(*id, job.version.generation);
    let row = transaction.get(&key, ReadMode::Serializable).await?;
    Ok(Place::At(row.as_deref().map(decode).transpose()?))
}
