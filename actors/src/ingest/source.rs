//! Places that a node reads documents from, object by object. What they are, files or object
//! stores, is the node's affair.

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
/// So often an object is read in a row before the worker turns to other work for a while.
const READ_TRIES: u32 = 5;

/// Why a place cannot be read, by what the reader should do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Nobody may or can read it; the text says why and what is allowed. It is given up.
    #[error("{0}")]
    Refused(String),
    /// Try again later; it is tried until it works or the job is cancelled.
    #[error("{0}")]
    Unavailable(String),
}

/// Reads the places of jobs that no client streams.
#[async_trait]
pub trait DocumentSource: Send + Sync {
    /// The object of a place that comes behind `after`, in an order that stays; none behind the
    /// last. A place that is one object is its own.
    ///
    /// # Errors
    /// See [`SourceError`].
    async fn next(&self, place: &str, after: Option<&str>) -> Result<Option<String>, SourceError>;

    /// Up to `most` bytes of an object from `offset` on; none at its end.
    ///
    /// # Errors
    /// See [`SourceError`].
    async fn read(&self, object: &str, offset: u64, most: usize) -> Result<Vec<u8>, SourceError>;
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

/// What came of a request to the source, or why the reading ends here.
enum Answer<T> {
    Given(T),
    /// Nobody can read it.
    Refused(String),
    Ended(Ended),
}

/// Whether the reading goes on.
type Step = Result<(), Ended>;

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
        // Where the last reader stopped.
        let mut begun = received.object.map(|object| (object, received.object_bytes));
        for (number, place) in (0..).zip(places).skip(received.place as usize) {
            if let Err(ended) = self.read_place(&mut intake, number, place, begun.take()).await? {
                return Ok(ended);
            }
            intake.end_place(number + 1).await?;
        }
        handle.seal(key).await?;
        Ok(Ended::All)
    }

    /// Reads all objects of a place, from the one on that was begun.
    async fn read_place(
        &self,
        intake: &mut Intake,
        number: u32,
        place: &str,
        begun: Option<(String, u64)>,
    ) -> Result<Step, IngestError> {
        let (mut last, mut begun): (Option<String>, _) = (None, begun);
        loop {
            let (object, offset) = match begun.take() {
                Some(begun) => begun,
                None => match self.ask(|| self.source.next(place, last.as_deref())).await? {
                    Answer::Given(Some(object)) => (object, 0),
                    Answer::Given(None) => {
                        if last.is_none() {
                            intake.refuse("no object lies below the place").await?;
                        }
                        return Ok(Ok(()));
                    }
                    Answer::Refused(reason) => {
                        intake.refuse(&reason).await?;
                        return Ok(Ok(()));
                    }
                    Answer::Ended(ended) => return Ok(Err(ended)),
                },
            };
            intake.begin_object(number, &object, offset);
            if let Err(ended) = self.read_object(intake, place, &object, offset).await? {
                return Ok(Err(ended));
            }
            last = Some(object);
        }
    }

    async fn read_object(
        &self,
        intake: &mut Intake,
        place: &str,
        object: &str,
        mut offset: u64,
    ) -> Result<Step, IngestError> {
        loop {
            match self.ask(|| self.source.read(object, offset, READ_BYTES)).await? {
                Answer::Given(bytes) if bytes.is_empty() => {
                    intake.end_object().await?;
                    return Ok(Ok(()));
                }
                Answer::Given(bytes) => {
                    if !self.push(intake, &bytes).await? {
                        return Ok(Err(Ended::Stopped));
                    }
                    offset += bytes.len() as u64;
                }
                Answer::Refused(reason) => {
                    // One object that nobody can read does not hold up the others. It goes into
                    // the store with what comes behind it, so a reader that stops here tells it once.
                    let told = match object == place {
                        true => reason,
                        false => format!("{object}: {reason}"),
                    };
                    intake.refuse(&told).await?;
                    return Ok(Ok(()));
                }
                Answer::Ended(ended) => return Ok(Err(ended)),
            }
        }
    }

    /// Asks the source until it answers, as long as the reading is wanted.
    async fn ask<T, F>(&self, request: impl Fn() -> F) -> Result<Answer<T>, IngestError>
    where
        F: Future<Output = Result<T, SourceError>>,
    {
        for failed in 1..=READ_TRIES {
            if !self.goes_on().await? {
                return Ok(Answer::Ended(Ended::Stopped));
            }
            let Some(answer) = self.while_wanted(request()).await? else {
                return Ok(Answer::Ended(Ended::Stopped));
            };
            let reason = match answer {
                Ok(given) => return Ok(Answer::Given(given)),
                Err(SourceError::Refused(reason)) => return Ok(Answer::Refused(reason)),
                Err(SourceError::Unavailable(reason)) => reason,
            };
            let job = &self.held.job.key.id;
            tracing::warn!(job, reason, failed, "a place cannot be read now");
            if failed < READ_TRIES {
                let runtime = self.shared.handle.runtime();
                let poll_ms = self.shared.handle.settings().poll_ms;
                let pause_ms = poll_ms.saturating_mul(1 << failed);
                if self.while_wanted(runtime.pause(pause_ms)).await?.is_none() {
                    return Ok(Answer::Ended(Ended::Stopped));
                }
            }
        }
        Ok(Answer::Ended(Ended::Failed))
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
