//! Answers that may be given again, and questions that are being answered just now.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_core::Stream;
use headwater_gateway::{AnswerKey, CacheWish};
use headwater_models::chat::{ChatError, ChatEvent, Chunk};
use tokio::sync::Semaphore;

use super::near::{Near, NearQuestions, Question};
use super::nouns::Served;
use crate::runtime::Runtime;

/// Longest wait for an answer that another request gets, in ms; then it is asked for once more.
const WAIT_MS: u64 = 10_000;
/// What an answer takes beside its parts, in bytes: its place in the cache, and who gave it.
const ANSWER_BYTES: usize = 700;
/// What a part or an event takes beside its own size and its text: the allocations, in bytes.
const HEAP_BYTES: usize = 32;
/// An answer takes at most this share of the memory.
const SHARE: u64 = 8;

/// An answer that was whole.
pub(super) struct Kept {
    pub(super) served: Served,
    pub(super) chunks: Vec<Chunk>,
    /// When it was whole, in ms of the node's clock.
    at_ms: u64,
    bytes: u64,
}

impl Kept {
    pub(super) fn age_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.at_ms)
    }
}

/// The answers of one node. What is pushed out when the memory is full is decided by TinyLFU, as
/// for vectors.
pub(super) struct AnswerCache {
    kept: moka::sync::Cache<AnswerKey, Arc<Kept>>,
    bytes: u64,
    flights: Mutex<BTreeMap<AnswerKey, Flight>>,
}

/// A question that is being answered. It never has a permit; it is closed when that is over, which
/// wakes those who wait in their order (a watch wakes them in an order that is drawn).
type Flight = Arc<Semaphore>;

/// What is known of a question.
pub(super) enum Look {
    Hit(Arc<Kept>),
    /// The answer to one that is put in other words.
    Near(Near),
    /// Nobody else asks it now: the caller does, and the others wait.
    Lead(Lead),
    /// The caller asks by itself, and its answer is not kept.
    Aside,
}

impl AnswerCache {
    /// None for 0 bytes.
    pub(super) fn new(bytes: u64) -> Option<Arc<AnswerCache>> {
        let weigh = |_: &AnswerKey, kept: &Arc<Kept>| u32::try_from(kept.bytes).unwrap_or(u32::MAX);
        let kept = moka::sync::Cache::builder().max_capacity(bytes).weigher(weigh).build();
        let cache = AnswerCache { kept, bytes, flights: Mutex::default() };
        (bytes > 0).then(|| Arc::new(cache))
    }

    fn flights(&self) -> MutexGuard<'_, BTreeMap<AnswerKey, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &AnswerKey, ttl_ms: u64, now_ms: u64) -> Option<Arc<Kept>> {
        let kept = self.kept.get(key)?;
        if kept.age_ms(now_ms) < ttl_ms {
            return Some(kept);
        }
        self.kept.invalidate(key);
        None
    }

    /// Looks for an answer that is younger than `ttl_ms`; waits for one that is on its way.
    pub(super) async fn look(
        self: &Arc<Self>,
        runtime: &Runtime,
        key: AnswerKey,
        wish: CacheWish,
        ttl_ms: u64,
    ) -> Look {
        let began_ms = runtime.now_ms();
        loop {
            let now_ms = runtime.now_ms();
            if let Some(kept) = self.get(&key, ttl_ms, now_ms)
                && wish.takes(kept.age_ms(now_ms))
            {
                return Look::Hit(kept);
            }
            if wish.no_store {
                return Look::Aside;
            }
            let flight = {
                let mut flights = self.flights();
                match flights.get(&key) {
                    // It wants an answer of its own, and another one is being kept.
                    Some(_) if !wish.takes(0) || wish.only => return Look::Aside,
                    Some(flight) => flight.clone(),
                    None => {
                        let flight = Flight::new(Semaphore::new(0));
                        flights.insert(key, Arc::clone(&flight));
                        return Look::Lead(Lead::new(Arc::clone(self), key, flight));
                    }
                }
            };
            let left_ms = (began_ms + WAIT_MS).saturating_sub(now_ms);
            if runtime.within(left_ms, flight.acquire()).await.is_none() {
                return Look::Aside;
            }
        }
    }
}

/// The duty to get an answer that others may wait for. Dropped before the answer is whole, one of
/// them takes over.
pub(super) struct Lead {
    cache: Arc<AnswerCache>,
    key: AnswerKey,
    flight: Flight,
    chunks: Vec<Chunk>,
    bytes: usize,
    /// What others may put in other words.
    question: Option<(NearQuestions, Question)>,
}

impl Lead {
    fn new(cache: Arc<AnswerCache>, key: AnswerKey, flight: Flight) -> Lead {
        Lead { cache, key, flight, chunks: Vec::new(), bytes: ANSWER_BYTES, question: None }
    }

    /// The answer to a question that is near enough, and that this wish takes; else the question
    /// is noted with its answer.
    pub(super) fn near(
        mut self,
        questions: &NearQuestions,
        question: Question,
        least_per_mille: u32,
        wish: CacheWish,
        (ttl_ms, now_ms): (u64, u64),
    ) -> Look {
        let get = |key: &AnswerKey| {
            let kept = self.cache.get(key, ttl_ms, now_ms)?;
            wish.takes(kept.age_ms(now_ms)).then_some(kept)
        };
        if let Some(near) = questions.nearest(&question, least_per_mille, get) {
            return Look::Near(near);
        }
        self.question = Some((questions.clone(), question));
        Look::Lead(self)
    }

    /// A part of the answer; false when it is too large to be kept.
    pub(super) fn see(&mut self, chunk: &Chunk) -> bool {
        self.bytes = self.bytes.saturating_add(bytes_of(chunk));
        self.chunks.push(chunk.clone());
        self.bytes as u64 <= self.cache.bytes / SHARE
    }

    /// The answer is whole.
    pub(super) fn finish(mut self, served: Served, now_ms: u64) {
        let (chunks, bytes) = (std::mem::take(&mut self.chunks), self.bytes as u64);
        // Before the flight ends: whoever finds none finds the answer.
        self.cache.kept.insert(self.key, Arc::new(Kept { served, chunks, at_ms: now_ms, bytes }));
        if let Some((questions, question)) = self.question.take() {
            questions.note(question, self.key);
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.cache.flights().remove(&self.key);
        self.flight.close();
    }
}

fn bytes_of(chunk: &Chunk) -> usize {
    let text = |event: &ChatEvent| match event {
        ChatEvent::Text { text, .. } | ChatEvent::Refusal { text, .. } => text.len(),
        ChatEvent::Thinking { text, .. } => text.len(),
        ChatEvent::ToolCall { arguments, .. } => arguments.len(),
        ChatEvent::Logprobs { content, .. } => content.to_string().len(),
        ChatEvent::Vectors { data } => data.to_string().len(),
        _ => 0,
    };
    let said = chunk.said.as_ref().map_or(0, |said| said.data.len());
    let event_bytes = size_of::<ChatEvent>() + HEAP_BYTES;
    let events: usize = chunk.events.iter().map(|event| event_bytes + text(event)).sum();
    size_of::<Chunk>() + HEAP_BYTES + said + events
}

/// The parts of an answer that was given before.
pub(super) struct Replay {
    kept: Arc<Kept>,
    next: usize,
}

impl Replay {
    pub(super) fn new(kept: Arc<Kept>) -> Replay {
        Replay { kept, next: 0 }
    }
}

impl Stream for Replay {
    type Item = Result<Chunk, ChatError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let chunk = self.kept.chunks.get(self.next).cloned();
        self.next += 1;
        Poll::Ready(chunk.map(Ok))
    }
}
