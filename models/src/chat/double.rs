//! A chat model in memory: it says what its script says, chunk by chunk.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures_core::Stream;

use super::{ChatError, ChatEvent, ChatModel, ChatRequest, ChatStream, Chunk, Finish, Usage};

/// What one call gives: an error at once, or what the stream gives one after the other.
pub type Script = Result<Vec<Result<Chunk, ChatError>>, ChatError>;

/// Answers each call with the next script; the last one again and again.
#[derive(Clone)]
pub struct ScriptedChat {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    scripts: VecDeque<Script>,
    asked: Vec<ChatRequest>,
    dropped: usize,
}

impl ScriptedChat {
    pub fn new(scripts: Vec<Script>) -> ScriptedChat {
        let shared = Shared { scripts: scripts.into(), asked: Vec::new(), dropped: 0 };
        ScriptedChat { shared: Arc::new(Mutex::new(shared)) }
    }

    /// A script that says these words, a chunk each, and counts each as a token.
    pub fn words(input: u64, words: &[&str]) -> Script {
        let mut chunks = vec![Ok(Chunk::of(vec![ChatEvent::Started { id: None, model: None }]))];
        for word in words {
            let text = ChatEvent::Text { choice: 0, text: (*word).to_owned() };
            chunks.push(Ok(Chunk::of(vec![text])));
        }
        let usage = Usage { input, output: words.len() as u64, ..Usage::default() };
        let finished = ChatEvent::Finished { choice: 0, reason: Finish::Stop, stop: None };
        chunks.push(Ok(Chunk::of(vec![finished, ChatEvent::Usage(usage)])));
        Ok(chunks)
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<ChatRequest> {
        self.lock().asked.clone()
    }

    /// Streams that were dropped before their end.
    pub fn dropped(&self) -> usize {
        self.lock().dropped
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ChatModel for ScriptedChat {
    async fn chat(&self, request: &ChatRequest) -> Result<ChatStream, ChatError> {
        let mut shared = self.lock();
        shared.asked.push(request.clone());
        let script = match shared.scripts.len() {
            0 | 1 => shared.scripts.front().cloned(),
            _ => shared.scripts.pop_front(),
        };
        let chunks = script.unwrap_or_else(|| Ok(Vec::new()))?;
        Ok(Box::pin(Scripted { chunks: chunks.into(), model: self.clone() }))
    }
}

struct Scripted {
    chunks: VecDeque<Result<Chunk, ChatError>>,
    model: ScriptedChat,
}

impl Stream for Scripted {
    type Item = Result<Chunk, ChatError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.chunks.pop_front())
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        if !self.chunks.is_empty() {
            self.model.lock().dropped += 1;
        }
    }
}
