//! The way into the embedding service: checks, a permit, one call with a timeout.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use headwater_embedding::{
    Failure, InputProblem, Pool, ReplicaIndex, RequestId, check_count, check_ids, check_length,
    check_text,
};
use headwater_models::{Model, ModelCard, Piece, Sequence, TokenIds, TokenizeError};
use ractor::ActorRef;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::{Duration, sleep, timeout};

use super::cache::{Served, VectorCache};
use super::messages::{ModelMessage, Work};
use super::metrics::ModelMetrics;
use super::supervisor::EmbeddingSettings;

/// Texts above this many bytes are tokenised off the async threads.
const INLINE_BYTES: usize = 4096;
/// How often the start of a node looks whether its replicas are loaded.
const LOADED_POLL: Duration = Duration::from_millis(5);
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

/// The texts of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inputs {
    Texts(Vec<String>),
    /// Ids of the model's own vocabulary, without special tokens.
    Tokens(Vec<Vec<u32>>),
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
    /// No answer in time: try again, or later.
    #[error("no answer within {timeout_ms} ms; try again with fewer texts")]
    TimedOut { timeout_ms: u64 },
    /// The encoder refused the batch.
    #[error("the encoder refused the input: {0}")]
    Refused(String),
}

/// All served models; cheap to clone.
#[derive(Clone)]
pub struct EmbeddingHandle {
    models: Arc<BTreeMap<String, ModelHandle>>,
    aliases: Arc<BTreeMap<String, String>>,
}

impl EmbeddingHandle {
    pub(super) fn new(
        models: BTreeMap<String, ModelHandle>,
        aliases: BTreeMap<String, String>,
    ) -> Self {
        EmbeddingHandle { models: Arc::new(models), aliases: Arc::new(aliases) }
    }

    /// The model of this name or alias.
    pub fn model(&self, name: &str) -> Option<&ModelHandle> {
        let name = self.aliases.get(name).map_or(name, String::as_str);
        self.models.get(name)
    }

    /// Every model, by name.
    pub fn models(&self) -> impl Iterator<Item = &ModelHandle> {
        self.models.values()
    }

    /// Whether every model has at least one loaded replica.
    pub fn ready(&self) -> bool {
        self.models.values().all(|model| model.live_replicas() > 0)
    }

    /// How much of the queues is taken, in percent; 0 without models.
    pub fn busy_percent(&self) -> u32 {
        let share = |model: &ModelHandle| {
            let queue = model.settings.queue_tokens.max(1);
            let taken = queue.saturating_sub(model.permits.available_permits());
            (taken * 100 / queue) as u32
        };
        self.models.values().map(share).max().unwrap_or(0)
    }

    /// Waits until every model has at least one loaded replica.
    pub async fn loaded(&self) {
        while !self.ready() {
            sleep(LOADED_POLL).await;
        }
    }
}

/// One served model; cheap to clone.
#[derive(Clone)]
pub struct ModelHandle {
    pub(super) model: Arc<dyn Model>,
    pub(super) replicas: usize,
    /// Tokens that may still be queued.
    pub(super) permits: Arc<Semaphore>,
    pub(super) actor: watch::Receiver<Option<ActorRef<ModelMessage>>>,
    pub(super) settings: EmbeddingSettings,
    pub(super) metrics: ModelMetrics,
    pub(super) cache: VectorCache,
}

impl ModelHandle {
    pub fn card(&self) -> &ModelCard {
        self.model.card()
    }

    /// Number of replicas that are loaded now.
    pub fn live_replicas(&self) -> usize {
        self.metrics.live_replicas()
    }

    /// Number of replicas that should be loaded.
    pub fn replicas(&self) -> usize {
        self.replicas
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
        off_thread(bytes, read).await?
    }

    /// Embeds the texts of one request.
    ///
    /// # Errors
    /// See [`EmbedError`]. When the returned future is dropped the request is taken out
    /// of the queue.
    pub async fn embed(&self, call: EmbedCall) -> Result<Embedded, EmbedError> {
        // Counts what is written here when it is dropped, be it with this future.
        let mut count = Count { metrics: &self.metrics, outcome: "left" };
        let timeout_ms = self.settings.request_timeout_ms;
        let answer = timeout(Duration::from_millis(timeout_ms), self.try_embed(call))
            .await
            .unwrap_or(Err(EmbedError::TimedOut { timeout_ms }));
        count.outcome = match &answer {
            Ok(_) => "ok",
            Err(EmbedError::Input(_) | EmbedError::Unreadable { .. }) => "invalid",
            Err(EmbedError::Overloaded { .. }) => "overloaded",
            Err(EmbedError::Unavailable) => "replica_lost",
            Err(EmbedError::TimedOut { .. }) => "timeout",
            Err(EmbedError::Refused(_)) => "refused",
        };
        answer
    }

    async fn try_embed(&self, call: EmbedCall) -> Result<Embedded, EmbedError> {
        let pool = call.pool;
        let read = self.read(call).await?;
        let tokens: Vec<usize> = read.iter().map(|text| text.ids.len()).collect();
        let truncated = places(&read, TokenIds::truncated);
        let sequence = |text: TokenIds| Sequence::Tokens { ids: text.ids, second: text.second };
        let texts = read.into_iter().map(sequence).collect();
        let compute = |texts| self.compute(texts);
        let Served { vectors, cached } = self.cache.serve(pool, texts, compute).await?;
        Ok(Embedded { vectors, tokens, truncated, served_by: None, cached })
    }

    /// Vectors that no cache has.
    async fn compute(&self, texts: Vec<Sequence>) -> Result<Vec<Vec<f32>>, EmbedError> {
        let permit = self.admit(texts.iter().map(Sequence::tokens).sum())?;
        self.call(texts, permit).await
    }

    async fn read(&self, call: EmbedCall) -> Result<Vec<TokenIds>, EmbedError> {
        let EmbedCall { inputs, purpose, truncate, pool: _ } = call;
        let limits = &self.settings.limits;
        let (count, bytes) = match &inputs {
            Inputs::Texts(texts) => (texts.len(), texts.iter().map(String::len).sum()),
            Inputs::Tokens(lists) => (lists.len(), lists.iter().map(Vec::len).sum()),
        };
        check_count(count, limits).map_err(EmbedError::Input)?;
        if let Inputs::Texts(texts) = &inputs {
            for (index, text) in texts.iter().enumerate() {
                check_text(index, text).map_err(EmbedError::Input)?;
            }
        }
        let model = Arc::clone(&self.model);
        let read = off_thread(bytes, move || tokenize(&*model, inputs, purpose)).await??;
        let lengths: Vec<usize> = read.iter().map(|text| text.whole_length).collect();
        // A model without special tokens reads an empty text as nothing at all.
        for (index, text) in read.iter().enumerate() {
            check_ids(index, &text.ids).map_err(EmbedError::Input)?;
        }
        check_length(&lengths, truncate, self.card(), limits).map_err(EmbedError::Input)?;
        Ok(read)
    }

    fn admit(&self, tokens: usize) -> Result<OwnedSemaphorePermit, EmbedError> {
        let wanted = u32::try_from(tokens).unwrap_or(u32::MAX);
        Arc::clone(&self.permits).try_acquire_many_owned(wanted).map_err(|_| {
            let waiting = self.settings.queue_tokens - self.permits.available_permits();
            let wait_ms = self.metrics.estimated_wait_ms(waiting / self.replicas.max(1));
            EmbedError::Overloaded { retry_after_ms: wait_ms.clamp(1000, LONGEST_RETRY_MS) }
        })
    }

    async fn call(
        &self,
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
            .cast(ModelMessage::Embed(Work { request, texts, reply, permit }))
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
    metrics: &'a ModelMetrics,
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

/// Runs the work here when it is small and on a blocking thread when it is not.
async fn off_thread<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, EmbedError> {
    if bytes <= INLINE_BYTES {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|_| EmbedError::Unavailable)
}

/// Token ids of every text, cut to the model's limit; `whole_length` tells what was cut.
fn tokenize(
    model: &dyn Model,
    inputs: Inputs,
    purpose: Purpose,
) -> Result<Vec<TokenIds>, EmbedError> {
    let card = model.card();
    let limit = Some(card.max_tokens);
    let prefix = match purpose {
        Purpose::Plain => "",
        Purpose::Query => &card.query_prefix,
        Purpose::Passage => &card.passage_prefix,
    };
    let read = |index: usize, result: Result<TokenIds, TokenizeError>| {
        result.map_err(|error| EmbedError::Unreadable { index, error })
    };
    match inputs {
        Inputs::Texts(texts) => texts
            .iter()
            .enumerate()
            .map(|(index, text)| {
                let tokens = match prefix {
                    "" => model.tokenize(text, limit),
                    prefix => model.tokenize(&format!("{prefix}{text}"), limit),
                };
                read(index, tokens)
            })
            .collect(),
        Inputs::Tokens(lists) => lists
            .iter()
            .enumerate()
            .map(|(index, ids)| {
                check_ids(index, ids).map_err(EmbedError::Input)?;
                read(index, model.adopt(ids, limit))
            })
            .collect(),
    }
}
