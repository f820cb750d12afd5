//! A backend that says as many words as it is asked for, and fails as its mood is.

use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures_core::Stream;
use headwater_actors::gateway::{
    ChatError, ChatEvent, ChatModel, ChatRequest, ChatStream, Chunk, Finish, Usage,
};

use super::book::{Book, Ended};
use super::options::{HEAL_MS, Mood, SILENT_MS};
use super::wording::word_of;
use crate::world::World;

/// Tokens of every request.
pub(super) const INPUT: u64 = 7;
/// A request for so many words is at fault.
pub(super) const TOO_MANY: u64 = 1_000;

pub(super) struct Backend {
    pub(super) world: World,
    pub(super) book: Book,
    pub(super) mood: Mood,
    pub(super) tells_always: bool,
}

impl Backend {
    fn strikes(&self, share: u64) -> bool {
        self.world.now_ms() < HEAL_MS && self.world.percent(share)
    }
}

#[async_trait]
impl ChatModel for Backend {
    async fn chat(&self, request: &ChatRequest) -> Result<ChatStream, ChatError> {
        let world = &self.world;
        let told = format!("{:?}", request.messages);
        if told.contains('@') {
            world.violated("nothing_personal_reaches_a_backend", &told);
        }
        world.sleep(world.between(1, 50)).await;
        let words = request.max_tokens.unwrap_or(1);
        if words >= TOO_MANY {
            world.count("request at fault");
            let message = "too many words".to_owned();
            return Err(ChatError::Refused { status: 400, code: None, message });
        }
        if self.strikes(self.mood.broken) {
            world.count("backend broken");
            return Err(ChatError::Unavailable { status: Some(500), reason: "broken".to_owned() });
        }
        if self.strikes(self.mood.limited) {
            world.count("backend limited");
            let retry_after_ms = world.percent(70).then(|| world.between(1, 3_000));
            return Err(ChatError::Limited { retry_after_ms, message: "busy".to_owned() });
        }
        if self.strikes(self.mood.silent) {
            world.count("backend silent");
            world.sleep(SILENT_MS).await;
            return Err(ChatError::TimedOut { after_ms: SILENT_MS });
        }
        // Before the first word, or after any of them.
        let cut_after = self.strikes(self.mood.cut).then(|| world.between(0, words));
        let id = request.user.clone().unwrap_or_default();
        let answer = Answer {
            world: world.clone(),
            book: self.book.clone(),
            call: None,
            id,
            word: word_of(&told),
            words,
            said: 0,
            cut_after,
            slow_ms: self.mood.slow_ms,
            tells_always: self.tells_always,
            pause: None,
            ended: false,
        };
        Ok(Box::pin(answer))
    }
}

struct Answer {
    world: World,
    book: Book,
    /// Its place in the book, once it has said something.
    call: Option<usize>,
    id: String,
    /// What it says all the time.
    word: &'static str,
    words: u64,
    said: u64,
    cut_after: Option<u64>,
    slow_ms: u64,
    tells_always: bool,
    pause: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    ended: bool,
}

impl Answer {
    fn next(&mut self) -> Option<Result<Chunk, ChatError>> {
        if self.ended {
            return None;
        }
        if self.cut_after == Some(self.said) {
            self.ended = true;
            match self.call {
                Some(call) => self.book.end(call, Ended::Cut),
                None => self.world.count("backend cut before it spoke"),
            }
            return Some(Err(ChatError::Cut { reason: "the connection was closed".to_owned() }));
        }
        let call = *self.call.get_or_insert_with(|| self.book.begin(&self.id, INPUT));
        let mut events = Vec::new();
        if self.said == 0 {
            events.push(ChatEvent::Started { id: None, model: None });
        }
        self.said += 1;
        self.book.word(call);
        // The first word is the client's name, as far as the backend knows it.
        let word = if self.said == 1 { "<EMAIL_1>" } else { self.word };
        events.push(ChatEvent::Text { choice: 0, text: format!("{word} ") });
        let is_last = self.said == self.words;
        if is_last {
            self.ended = true;
            self.book.end(call, Ended::Whole);
            events.push(ChatEvent::Finished { choice: 0, reason: Finish::Stop, stop: None });
        }
        if is_last || self.tells_always {
            let usage = Usage { input: INPUT, output: self.said, ..Usage::default() };
            events.push(ChatEvent::Usage(usage));
        }
        Some(Ok(Chunk::of(events)))
    }
}

impl Stream for Answer {
    type Item = Result<Chunk, ChatError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.pause.is_none() && !this.ended {
            let ms = this.world.between(0, this.slow_ms);
            let sleep = this.world.sleep(ms);
            this.pause = Some(Box::pin(sleep));
        }
        if let Some(pause) = &mut this.pause {
            if pause.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            this.pause = None;
        }
        Poll::Ready(this.next())
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(call) = self.call {
            self.book.end(call, Ended::Dropped);
        }
    }
}
