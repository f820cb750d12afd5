//! Places that a node reads documents from. What they are, files or object stores, is the
//! node's affair.

use async_trait::async_trait;

use super::handle::IngestHandle;
use super::holds::{Held, wants_source};
use super::jobs::read_job;
use super::nouns::{IngestError, SourceSpec};
use crate::runtime::Runtime;

/// Most bytes that are asked for at a time.
const READ_BYTES: usize = 1 << 20;

/// Why a place cannot be read, by what the reader should do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Nobody may or can read it; the text says why and what is allowed.
    #[error("{0}")]
    Refused(String),
    /// Try again later.
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
    /// The job takes no more, or is paused.
    Stopped,
    /// Try again later.
    Failed,
}

/// Reads a job's places from where the last reader stopped, and seals the job behind the last
/// one. Its writes go past the fence: a batch is taken once whoever brings it.
pub(super) async fn read(
    handle: &IngestHandle,
    runtime: &Runtime,
    source: &dyn DocumentSource,
    held: &Held,
) -> Ended {
    match read_places(handle, source, held).await {
        Ok(ended) => ended,
        Err(error) => {
            tracing::warn!(job = held.job.key.id, %error, "a job's source was not read");
            runtime.pause(handle.settings().poll_ms).await;
            Ended::Failed
        }
    }
}

async fn read_places(
    handle: &IngestHandle,
    source: &dyn DocumentSource,
    held: &Held,
) -> Result<Ended, IngestError> {
    let key = &held.job.key;
    let SourceSpec::Places(places) = &held.job.spec.source else { return Ok(Ended::All) };
    let received = handle.status(key).await?.received;
    let mut intake = handle.intake(key, received.lines).await?;
    let mut offset = received.place_bytes;
    for (number, place) in (0..).zip(places).skip(received.place as usize) {
        intake.begin_place(number, offset);
        loop {
            if !held.stands() || !still_wanted(held).await? {
                return Ok(Ended::Stopped);
            }
            match source.read(place, offset, READ_BYTES).await {
                Ok(bytes) if bytes.is_empty() => break,
                Ok(bytes) => {
                    intake.push(&bytes).await?;
                    offset += bytes.len() as u64;
                }
                Err(SourceError::Refused(reason)) => {
                    // One place that nobody can read does not hold up the others.
                    intake.refuse(&reason).await?;
                    break;
                }
                Err(SourceError::Unavailable(reason)) => {
                    tracing::warn!(job = key.id, reason, "a place cannot be read now");
                    return Ok(Ended::Failed);
                }
            }
        }
        offset = 0;
        intake.end_place(number + 1).await?;
    }
    handle.seal(key).await?;
    Ok(Ended::All)
}

async fn still_wanted(held: &Held) -> Result<bool, IngestError> {
    let job = held.retry.read(|transaction| {
        let key = held.job.key.clone();
        Box::pin(async move { read_job(transaction, &key).await })
    });
    Ok(job.await?.is_some_and(|job| wants_source(&job)))
}
