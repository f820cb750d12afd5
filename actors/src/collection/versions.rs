//! Changing which versions are live, and how far a build is.

use std::sync::Arc;

use headwater_embedding::{Policy, Version, VersionProblem, Versions};
use headwater_storage::retry::{Applied, OperationId};
use headwater_storage::{ReadMode, StoreError, Transaction};
use headwater_vectors::NumberFormat;

use super::handle::{Collections, DOOMED_MS, doom, read_collection};
use super::keys::{count_key, record_key, sweep_key, todo_key};
use super::nouns::{Collection, CollectionError};
use super::records::{SweepRow, decode, encode_collection};

type Outcome<T> = Result<T, CollectionError>;

const HOUR_MS: u64 = 60 * 60 * 1000;

/// What the job over all chunks does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepPhase {
    /// Embeds every chunk that has no vector yet.
    Copying,
    /// Looks for chunks without a vector, and vectors without a chunk.
    Checking,
}

impl SweepPhase {
    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            SweepPhase::Copying => "copying",
            SweepPhase::Checking => "checking",
        }
    }
}

/// How far a build is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    pub phase: SweepPhase,
    /// Chunks that the job is done with.
    pub done: u64,
    /// Chunks that there are now.
    pub total: u64,
    /// Since the job began; 0 before it did.
    pub chunks_per_s: f64,
    /// Until the copy is done at this pace, in s.
    pub remaining_s: Option<u64>,
    /// Why the job does not go on, if it does not.
    pub problem: Option<String>,
}

impl Collections {
    /// Begins to build a version with this model. From now on every document is written into it
    /// too.
    ///
    /// # Errors
    /// [`CollectionError::Version`] when that is not allowed now, [`CollectionError::NoModel`].
    pub async fn start_build(
        &self,
        tenant: &str,
        name: &str,
        model: &str,
        policy: Policy,
        format: Option<NumberFormat>,
    ) -> Outcome<Collection> {
        let format = match format {
            Some(format) => format,
            None => self.get(tenant, name).await?.settings.format,
        };
        let version = self.new_version(model, format.name())?;
        let collection = self
            .change(tenant, name, move |versions| {
                versions.start(version.clone(), policy).map(|()| Vec::new())
            })
            .await?;
        if let Some(build) = &collection.versions.building {
            // Should this fail, the first vector written creates it.
            let _ = self.sink().create(&collection.space(&build.version)).await;
        }
        Ok(collection)
    }

    /// # Errors
    /// [`CollectionError::Version`] when that is not allowed now.
    pub async fn pause_build(
        &self,
        tenant: &str,
        name: &str,
        version: &str,
    ) -> Outcome<Collection> {
        let version = version.to_owned();
        self.change(tenant, name, move |versions| versions.pause(&version).map(|()| Vec::new()))
            .await
    }

    /// # Errors
    /// [`CollectionError::Version`] when that is not allowed now.
    pub async fn resume_build(
        &self,
        tenant: &str,
        name: &str,
        version: &str,
    ) -> Outcome<Collection> {
        let version = version.to_owned();
        self.change(tenant, name, move |versions| versions.resume(&version).map(|()| Vec::new()))
            .await
    }

    /// Has the rest of a lazy build embedded, and the version serve behind that.
    ///
    /// # Errors
    /// [`CollectionError::Version`] when that is not allowed now.
    pub async fn complete_build(
        &self,
        tenant: &str,
        name: &str,
        version: &str,
    ) -> Outcome<Collection> {
        let version = version.to_owned();
        self.change(tenant, name, move |versions| versions.complete(&version).map(|()| Vec::new()))
            .await
    }

    /// Gives a build up, with the vectors that it has by now.
    ///
    /// # Errors
    /// [`CollectionError::Version`] when that is not allowed now.
    pub async fn cancel_build(
        &self,
        tenant: &str,
        name: &str,
        version: &str,
    ) -> Outcome<Collection> {
        let version = version.to_owned();
        self.change(tenant, name, move |versions| versions.cancel(&version).map(|gone| vec![gone]))
            .await
    }

    /// The previous version serves again, in one transaction; what served is kept as previous.
    ///
    /// # Errors
    /// [`CollectionError::Version`] when there is none.
    pub async fn roll_back(&self, tenant: &str, name: &str) -> Outcome<Collection> {
        self.change(tenant, name, |versions| versions.roll_back().map(|()| Vec::new())).await
    }

    /// Drops the previous version. No document is written into it any more.
    ///
    /// # Errors
    /// [`CollectionError::Version`] when there is none.
    pub async fn retire(&self, tenant: &str, name: &str) -> Outcome<Collection> {
        self.change(tenant, name, |versions| versions.retire().map(|gone| vec![gone])).await
    }

    /// How far the build of this collection is; none when none is under way.
    ///
    /// # Errors
    /// The store's.
    pub async fn progress(&self, collection: &Collection) -> Outcome<Option<Progress>> {
        let Some(build) = &collection.versions.building else { return Ok(None) };
        let sweep = sweep_key(collection.id, build.version.generation);
        let count = count_key(collection.id);
        let rows = self.retry().read(|transaction| {
            let (sweep, count) = (sweep.clone(), count.clone());
            Box::pin(async move {
                let sweep = transaction.get(&sweep, ReadMode::Snapshot).await?;
                Ok((sweep, transaction.get(&count, ReadMode::Snapshot).await?))
            })
        });
        let (sweep, count) = rows.await?;
        let sweep: Option<SweepRow> = sweep.as_deref().map(decode).transpose()?;
        let now_ms = self.runtime().wall_ms();
        let row = sweep.unwrap_or_else(|| SweepRow::new(now_ms));
        Ok(Some(progress_of(&row, counted(count.as_deref()), build.paused)))
    }

    /// One change, once, whatever becomes of its commit: a roll-back done twice would be none.
    async fn change(
        &self,
        tenant: &str,
        name: &str,
        change: impl Fn(&mut Versions) -> Result<Vec<Version>, VersionProblem> + Send + Sync + 'static,
    ) -> Outcome<Collection> {
        let change = Arc::new(change);
        let now_ms = self.runtime().wall_ms();
        let hour = u32::try_from(now_ms / HOUR_MS).unwrap_or(u32::MAX);
        let id = OperationId::draw(hour, self.runtime().environment());
        let applied = self.retry().write(id, |transaction| {
            let (tenant, name, change) = (tenant.to_owned(), name.to_owned(), Arc::clone(&change));
            Box::pin(async move {
                let mode = ReadMode::Serializable;
                let found = read_collection(transaction, &tenant, &name, mode).await?;
                let Some(mut collection) = found else {
                    return Ok(Err(CollectionError::NoCollection { name }));
                };
                let gone = match change(&mut collection.versions) {
                    Ok(gone) => gone,
                    Err(problem) => return Ok(Err(problem.into())),
                };
                let until_ms = now_ms.saturating_add(DOOMED_MS);
                write_versions(transaction, &collection, &gone, until_ms)?;
                Ok(Ok((collection, gone)))
            })
        });
        match applied.await? {
            Applied::Now(outcome) => {
                let (collection, gone) = outcome?;
                self.drop_versions(&collection, &gone).await;
                Ok(collection)
            }
            // No other call has this id.
            Applied::Earlier => self.get(tenant, name).await,
        }
    }

    /// Drops what was given up. Its rows stay for a while, so a later look drops it again.
    pub(super) async fn drop_versions(&self, collection: &Collection, gone: &[Version]) {
        for version in gone {
            let _ = self.sink().drop_space(&collection.space(version).name).await;
            self.metrics().forget(collection, &version.fingerprint);
        }
    }
}

/// Writes a collection whose versions changed, dooms what was given up, and tells the runners.
pub(super) fn write_versions(
    transaction: &mut dyn Transaction,
    collection: &Collection,
    gone: &[Version],
    until_ms: u64,
) -> Result<(), StoreError> {
    let Collection { tenant, name, id, .. } = collection;
    transaction.set(&record_key(tenant, name), &encode_collection(collection)?)?;
    transaction.set(&todo_key(tenant, name), &[])?;
    for version in gone {
        doom(transaction, &collection.space(version), until_ms)?;
        transaction.clear(&sweep_key(*id, version.generation))?;
    }
    Ok(())
}

/// A little-endian count; absent is 0.
fn counted(bytes: Option<&[u8]>) -> u64 {
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_le_bytes)
}

pub(super) fn progress_of(row: &SweepRow, total: u64, paused: bool) -> Progress {
    let seconds = row.updated_ms.saturating_sub(row.began_ms) as f64 / 1000.0;
    let pace = if seconds > 0.0 { row.done as f64 / seconds } else { 0.0 };
    let left = total.saturating_sub(row.done);
    let phase = if row.phase == 0 { SweepPhase::Copying } else { SweepPhase::Checking };
    let moving = pace > 0.0 && !paused && phase == SweepPhase::Copying;
    Progress {
        phase,
        done: row.done.min(total),
        total,
        chunks_per_s: pace,
        remaining_s: moving.then(|| (left as f64 / pace).ceil() as u64),
        problem: row.problem.clone(),
    }
}
