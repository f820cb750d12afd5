//! The way into the embedding service: checks, a permit, one call with a timeout.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use headwater_embedding::{Failure, InputProblem, Pool, ReplicaIndex, RequestId, check_count};
use headwater_models::{Model, ModelCard, Piece, Sequence, TokenizeError};
use ractor::ActorRef;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot, watch};
use tokio::time::{Duration, timeout};

use super::background::Background;
use super::cache::{Served, VectorCache};
use super::messages::{ModelMessage, Work};
use super::metrics::{ModelMetrics, PoolMetrics};
use super::precedence::Precedence;
use super::read::{DECODERS, Read, check_read, read};
use super::start::EmbeddingSettings;
use super::table::Phase;

/// Texts above this many bytes are tokenised off the async threads.
const INLINE_BYTES: usize = 4096;
/// Longest pause that a client is told to make, in ms.
const LONGEST_RETRY_MS: u64 = 60_000;

/// What a text is for; chooses the model's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// Embedded as it is.
    #[default]
    Plain,
    Query,
    Passage,
}

/// The inputs of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inputs {
    Texts(Vec<String>),
    /// Ids of the model's own vocabulary, without special tokens.
    Tokens(Vec<Vec<u32>>),
    /// A query and a passage each, for a cross-encoder and for no other model.
    Pairs(Vec<(String, String)>),
    /// The bytes of image files.
    Images(Vec<Vec<u8>>),
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbedCall {
    pub inputs: Inputs,
    pub purpose: Purpose,
    /// Cut what is longer than the model reads, and say so, instead of refusing it.
    pub truncate: bool,
    /// Whose latency contract the request is under.
    pub pool: Pool,
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedded {
    /// One vector per text, in the order of the texts.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens of each text that were read, special tokens counted.
    pub tokens: Vec<usize>,
    /// Places of the texts that were cut.
    pub truncated: Vec<usize>,
    /// The other node that made the vectors; none for this one.
    pub served_by: Option<String>,
    /// How many of the texts had their vectors in the cache.
    pub cached: usize,
}

/// Why a request got no vectors, by what the caller should do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// The request is wrong and must be changed.
    #[error("the input is outside the limits")]
    Input(InputProblem),
    /// The input at this place cannot be read by the model's vocabulary.
    #[error("input {index}: {error}")]
    Unreadable { index: usize, error: TokenizeError },
    /// The queue is full: try again after the pause.
    #[error("the model's queue is full; try again in {retry_after_ms} ms")]
    Overloaded { retry_after_ms: u64 },
    /// A replica was lost under the request: try again.
    #[error("the model's replica was lost; try again")]
    Unavailable,
    /// The model is being unloaded: use another one.
    #[error("the model is being unloaded; use another one")]
    Unloading,
    /// No answer in time: try again, or later.
    #[error("no answer within {timeout_ms} ms; try again with fewer texts")]
    TimedOut { timeout_ms: u64 },
    /// The encoder refused the batch.
    #[error("the encoder refused the input: {0}")]
    Refused(String),
    /// The quota of the tenant that pays does not cover it now: try again after the pause.
    #[error("{reason}")]
    OverQuota { reason: String, retry_after_ms: u64 },
}

/// One served model.
pub struct ModelHandle {
    pub(super) model: Arc<dyn Model>,
    /// Tokens that may still be queued, by [`Pool::index`].
    pub(super) permits: [Arc<Semaphore>; 2],
    pub(super) actor: watch::Receiver<Option<ActorRef<ModelMessage>>>,
    pub(super) phase: Arc<watch::Sender<Phase>>,
    /// Whether the node is not ready before the model is.
    pub(super) with_the_node: bool,
    pub(super) precedence: Precedence,
    pub(super) background: Background,
    pub(super) settings: EmbeddingSettings,
    pub(super) metrics: ModelMetrics,
    pub(super) cache: VectorCache,
}

impl ModelHandle {
    pub fn card(&self) -> &ModelCard {
        self.model.card()
    }

    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Number of a pool's replicas that are loaded now.
    pub fn live_replicas_of(&self, pool: Pool) -> usize {
        self.metrics.of(pool).live_replicas()
    }

    /// Number of a pool's replicas that should be loaded.
    pub fn replicas_of(&self, pool: Pool) -> usize {
        self.metrics.of(pool).wanted_replicas()
    }

    /// Number of the query pool's replicas that are loaded now.
    pub fn live_replicas(&self) -> usize {
        self.live_replicas_of(Pool::Query)
    }

    /// Number of the query pool's replicas that should be loaded.
    pub fn replicas(&self) -> usize {
        self.replicas_of(Pool::Query)
    }

    pub(super) fn permits(&self, pool: Pool) -> &Arc<Semaphore> {
        &self.permits[pool.index()]
    }

    /// No new work is admitted from now on.
    pub(super) fn close(&self) {
        self.phase.send_replace(Phase::Draining);
        for permits in &self.permits {
            permits.close();
        }
    }

    /// Whether nothing is admitted that has not ended.
    pub(super) fn is_empty(&self) -> bool {
        let all = self.settings.queue_tokens;
        self.permits.iter().all(|permits| permits.available_permits() == all)
    }

    /// Ends a replica as if it had died; it is started again at once. For operators and
    /// for tests of failure.
    pub fn kill_replica(&self, replica: usize) {
        let actor = self.actor.borrow().clone();
        if let Some(actor) = actor {
            let _ = actor.cast(ModelMessage::KillReplica(ReplicaIndex(replica)));
        }
    }

    /// Reads texts as pieces, never cut.
    ///
    /// # Errors
    /// [`EmbedError::Input`] for a wrong number of texts and [`EmbedError::Unreadable`] when
    /// the tokenizer refuses one.
    pub async fn pieces(
        &self,
        texts: Vec<String>,
        special: bool,
        pool: Pool,
    ) -> Result<Vec<Vec<Piece>>, EmbedError> {
        check_count(texts.len(), &self.settings.limits).map_err(EmbedError::Input)?;
        let model = Arc::clone(&self.model);
        let bytes = texts.iter().map(String::len).sum();
        let read = move || {
            let pieces = |(index, text): (usize, String)| {
                let unreadable = |error| EmbedError::Unreadable { index, error };
                model.pieces(&text, special).map_err(unreadable)
            };
            texts.into_iter().enumerate().map(pieces).collect()
        };
        self.off_thread(bytes, pool, read).await?
    }

    /// Embeds the texts of one request.
    ///
    /// # Errors
    /// See [`EmbedError`]. When the returned future is dropped the request is taken out
    /// of the queue.
    pub async fn embed(&self, call: EmbedCall) -> Result<Embedded, EmbedError> {
        // Counts what is written here when it is dropped, be it with this future.
        let mut count = Count { metrics: self.metrics.of(call.pool), outcome: "left" };
        let (_inside, timeout_ms) = match call.pool {
            Pool::Query => (Some(self.precedence.enter()), self.settings.request_timeout_ms),
            Pool::Ingest => (None, self.settings.pools.ingest_timeout_ms),
        };
        let answer = timeout(Duration::from_millis(timeout_ms), self.try_embed(call))
            .await
            .unwrap_or(Err(EmbedError::TimedOut { timeout_ms }));
        count.outcome = match &answer {
            Ok(_) => "ok",
            Err(EmbedError::Input(_) | EmbedError::Unreadable { .. }) => "invalid",
            Err(EmbedError::Overloaded { .. }) => "overloaded",
            Err(EmbedError::Unavailable) => "replica_lost",
            Err(EmbedError::Unloading) => "unloading",
            Err(EmbedError::TimedOut { .. }) => "timeout",
            Err(EmbedError::Refused(_)) => "refused",
            Err(EmbedError::OverQuota { .. }) => "over_quota",
        };
        answer
    }

    async fn try_embed(&self, call: EmbedCall) -> Result<Embedded, EmbedError> {
        let pool = call.pool;
        let read = self.read(call).await?;
        let tokens: Vec<usize> = read.iter().map(|input| input.sequence.tokens()).collect();
        let truncated = places(&read, Read::truncated);
        let texts = read.into_iter().map(|input| input.sequence).collect();
        let compute = |texts| self.compute(pool, texts);
        let Served { vectors, cached } = self.cache.serve(pool, texts, compute).await?;
        Ok(Embedded { vectors, tokens, truncated, served_by: None, cached })
    }

    /// Vectors that no cache has.
    async fn compute(&self, pool: Pool, texts: Vec<Sequence>) -> Result<Vec<Vec<f32>>, EmbedError> {
        let permit = self.admit(pool, texts.iter().map(Sequence::tokens).sum())?;
        self.call(pool, texts, permit).await
    }

    async fn read(&self, call: EmbedCall) -> Result<Vec<Read>, EmbedError> {
        let EmbedCall { inputs, purpose, truncate, pool } = call;
        let limits = &self.settings.limits;
        check_count(inputs.count(), limits).map_err(EmbedError::Input)?;
        inputs.check(self.card())?;
        let decoder = match inputs {
            Inputs::Images(_) => DECODERS.acquire().await.ok(),
            _ => None,
        };
        let model = Arc::clone(&self.model);
        let bytes = inputs.bytes();
        let work = move || {
            // Held until the work is done, even when the caller has left.
            let _decoder = decoder;
            read(&*model, inputs, purpose)
        };
        let read = self.off_thread(bytes, pool, work).await??;
        check_read(&read, truncate, self.card(), limits).map_err(EmbedError::Input)?;
        Ok(read)
    }

    fn admit(&self, pool: Pool, tokens: usize) -> Result<OwnedSemaphorePermit, EmbedError> {
        let wanted = u32::try_from(tokens).unwrap_or(u32::MAX);
        let permits = self.permits(pool);
        Arc::clone(permits).try_acquire_many_owned(wanted).map_err(|refusal| {
            if refusal == TryAcquireError::Closed {
                return EmbedError::Unloading;
            }
            let waiting = self.settings.queue_tokens - permits.available_permits();
            // Ingest that borrows has no replicas of its own to divide the wait by.
            let replicas = self.replicas_of(pool).max(1);
            let wait_ms = self.metrics.of(pool).estimated_wait_ms(waiting / replicas);
            EmbedError::Overloaded { retry_after_ms: wait_ms.clamp(1000, LONGEST_RETRY_MS) }
        })
    }

    /// Runs the work here when it is small and on another thread when it is not; bulk work
    /// always where it is in nobody's way.
    async fn off_thread<T: Send + 'static>(
        &self,
        bytes: usize,
        pool: Pool,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, EmbedError> {
        if pool == Pool::Ingest {
            return self.background.run(work).await.ok_or(EmbedError::Unavailable);
        }
        if bytes <= INLINE_BYTES {
            return Ok(work());
        }
        tokio::task::spawn_blocking(work).await.map_err(|_| EmbedError::Unavailable)
    }

    async fn call(
        &self,
        pool: Pool,
        texts: Vec<Sequence>,
        permit: OwnedSemaphorePermit,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        static NEXT_REQUEST: AtomicU64 = AtomicU64::new(0);
        let request = RequestId(NEXT_REQUEST.fetch_add(1, Ordering::Relaxed));
        // Between a model actor's failure and its restart there is none; wait for it.
        let mut slot = self.actor.clone();
        let actor = match slot.wait_for(Option::is_some).await {
            Ok(actor) => actor.clone(),
            Err(_) => None,
        };
        let Some(actor) = actor else { return Err(EmbedError::Unavailable) };
        let (reply, answer) = oneshot::channel();
        actor
            .cast(ModelMessage::Embed(Work { request, pool, texts, reply, permit }))
            .map_err(|_| EmbedError::Unavailable)?;
        let mut leave = LeaveQueue { actor, request, answered: false };
        // A dropped reply means that the model actor failed with the request inside.
        let outcome = answer.await;
        leave.answered = true;
        match outcome {
            Ok(Ok(vectors)) => Ok(vectors),
            Ok(Err(Failure::ReplicaLost)) | Err(_) => Err(EmbedError::Unavailable),
            Ok(Err(Failure::Refused(why))) => Err(EmbedError::Refused(why)),
        }
    }
}

struct Count<'a> {
    metrics: &'a PoolMetrics,
    outcome: &'static str,
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.metrics.outcome(self.outcome);
    }
}

/// Takes the request out of the queue when its caller goes away before the answer.
struct LeaveQueue {
    actor: ActorRef<ModelMessage>,
    request: RequestId,
    answered: bool,
}

impl Drop for LeaveQueue {
    fn drop(&mut self) {
        if !self.answered {
            let _ = self.actor.cast(ModelMessage::Cancel(self.request));
        }
    }
}

fn places<T>(items: &[T], wanted: impl Fn(&T) -> bool) -> Vec<usize> {
    items.iter().enumerate().filter(|(_, item)| wanted(item)).map(|(place, _)| place).collect()
}
