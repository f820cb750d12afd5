//! Places that a node reads documents from. What they are, files or object stores, is the
//! node's affair.

use std::future::Future;
use std::pin::pin;

use async_trait::async_trait;

use super::holds::{Held, wants_source};
use super::intake::Intake;
use super::jobs::read_job;
use super::node::Shared;
use super::nouns::{IngestError, SourceSpec};

/// Most bytes that are asked for at a time.
const READ_BYTES: usize = 1 << 20;
/// So often a place is read in a row before the worker turns to other work for a while.
const READ_TRIES: u32 = 5;

/// Why a place cannot be read, by what the reader should do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Nobody may or can read it; the text says why and what is allowed. The place is given up.
    #[error("{0}")]
    Refused(String),
    /// Try again later; it is tried until it works or the job is cancelled.
    #[error("{0}")]
    Unavailable(String),
}

/// Reads the places of jobs that no client streams.
#[async_trait]
pub trait DocumentSource: Send + Sync {
    /// Up to `most` bytes of a place from `offset` on; none at its end.
    ///
    /// # Errors
    /// See [`SourceError`].
    async fn read(&self, place: &str, offset: u64, most: usize) -> Result<Vec<u8>, SourceError>;
}

/// How the reading of a job's places ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    All,
    /// The job takes no more, or is paused, or the node drains.
    Stopped,
    /// Try again later.
    Failed,
}

/// Reads a job's places from where the last reader stopped, and seals the job behind the last
/// one. Its writes go past the fence: a batch is taken once whoever brings it.
pub(super) async fn read(shared: &Shared, source: &dyn DocumentSource, held: &Held) -> Ended {
    match (Reader { shared, source, held }).read_places().await {
        Ok(ended) => ended,
        Err(IngestError::Refused(_)) => Ended::Stopped,
        Err(error) => {
            tracing::warn!(job = held.job.key.id, %error, "a job's source was not read");
            shared.handle.runtime().pause(shared.handle.settings().poll_ms).await;
            Ended::Failed
        }
    }
}

/// How one place ended.
enum Place {
    End,
    Stopped,
    Failed,
}

struct Reader<'a> {
    shared: &'a Shared,
    source: &'a dyn DocumentSource,
    held: &'a Held,
}

impl Reader<'_> {
    async fn read_places(&self) -> Result<Ended, IngestError> {
        let (handle, key) = (&self.shared.handle, &self.held.job.key);
        let SourceSpec::Places(places) = &self.held.job.spec.source else { return Ok(Ended::All) };
        let received = handle.status(key).await?.received;
        let mut intake = handle.intake(key, received.lines).await?;
        let mut offset = received.place_bytes;
        for (number, place) in (0..).zip(places).skip(received.place as usize) {
            intake.begin_place(number, offset);
            match self.read_place(&mut intake, place, offset).await? {
                Place::End => {}
                Place::Stopped => return Ok(Ended::Stopped),
                Place::Failed => return Ok(Ended::Failed),
            }
            offset = 0;
            intake.end_place(number + 1).await?;
        }
        handle.seal(key).await?;
        Ok(Ended::All)
    }

    async fn read_place(
        &self,
        intake: &mut Intake,
        place: &str,
        mut offset: u64,
    ) -> Result<Place, IngestError> {
        let mut failed = 0;
        loop {
            if !self.goes_on().await? {
                return Ok(Place::Stopped);
            }
            let reading = self.source.read(place, offset, READ_BYTES);
            let Some(read) = self.while_wanted(reading).await? else { return Ok(Place::Stopped) };
            match read {
                Ok(bytes) if bytes.is_empty() => return Ok(Place::End),
                Ok(bytes) => {
                    failed = 0;
                    if !self.push(intake, &bytes).await? {
                        return Ok(Place::Stopped);
                    }
                    offset += bytes.len() as u64;
                }
                Err(SourceError::Refused(reason)) => {
                    // One place that nobody can read does not hold up the others.
                    intake.refuse(&reason).await?;
                    return Ok(Place::End);
                }
                Err(SourceError::Unavailable(reason)) => {
                    failed += 1;
                    let job = &self.held.job.key.id;
                    tracing::warn!(job, reason, failed, "a place cannot be read now");
                    if failed == READ_TRIES {
                        return Ok(Place::Failed);
                    }
                    let runtime = self.shared.handle.runtime();
                    let poll_ms = self.shared.handle.settings().poll_ms;
                    let pause_ms = poll_ms.saturating_mul(1 << failed);
                    if self.while_wanted(runtime.pause(pause_ms)).await?.is_none() {
                        return Ok(Place::Stopped);
                    }
                }
            }
        }
    }

    /// Takes bytes in, line by line; false when it was told to stop. Lines that are not staged
    /// then are read again.
    async fn push(&self, intake: &mut Intake, bytes: &[u8]) -> Result<bool, IngestError> {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.shared.is_draining() || !self.held.stands() {
                return Ok(false);
            }
            let staged = intake.received().lines;
            intake.push(line).await?;
            if intake.received().lines != staged && !self.goes_on().await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What comes of it, or none once the reading is to stop: a place may hang.
    async fn while_wanted<T>(
        &self,
        future: impl Future<Output = T>,
    ) -> Result<Option<T>, IngestError> {
        let (handle, mut future) = (&self.shared.handle, pin!(future));
        loop {
            let ended = handle.runtime().within(handle.settings().poll_ms, future.as_mut());
            if let Some(output) = ended.await {
                return Ok(Some(output));
            }
            if !self.goes_on().await? {
                return Ok(None);
            }
        }
    }

    /// Whether the node, the hold and the job still let this go on.
    async fn goes_on(&self) -> Result<bool, IngestError> {
        if self.shared.is_draining() || !self.held.stands() {
            return Ok(false);
        }
        let job = self.held.retry.read(|transaction| {
            let key = self.held.job.key.clone();
            Box::pin(async move { read_job(transaction, &key).await })
        });
        Ok(job.await?.is_some_and(|job| wants_source(&job)))
    }
}
