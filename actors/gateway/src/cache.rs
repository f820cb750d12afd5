//! Which answers may be given again, to whom, and for how long.

use headwater_models::chat::{Body, ChatRequest, Message};
use sha2::{Digest, Sha256};

use crate::config::Target;

/// Fields of a client's body that change nothing of what is answered.
const IDLE_FIELDS: &[&str] = &["metadata", "model", "stream_options", "user"];

/// Names a question: answers to equal ones are equal, as far as the model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnswerKey([u8; 32]);

/// What a client says of answers that were given before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheWish {
    /// It takes one even where the model would draw another.
    pub prefers: bool,
    /// It takes none.
    pub no_cache: bool,
    /// Its own answer must not be kept, and it takes none.
    pub no_store: bool,
    /// It takes nothing but one.
    pub only: bool,
    /// It takes none that is older, in ms.
    pub max_age_ms: Option<u64>,
}

impl CacheWish {
    /// From the `Cache-Control` of a request (RFC 9111, section 5.2.1), and whether it prefers
    /// what was answered before. Unknown directives are left alone, as the RFC says.
    pub fn read(cache_control: &str, prefers: bool) -> CacheWish {
        let mut wish = CacheWish { prefers, ..CacheWish::default() };
        for directive in cache_control.split(',') {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-cache" => wish.no_cache = true,
                "no-store" => wish.no_store = true,
                "only-if-cached" => wish.only = true,
                "max-age" => {
                    let seconds = value.trim().trim_matches('"').parse::<u64>();
                    // What cannot be read is as good as "not at all".
                    let ms = seconds.map_or(0, |seconds| seconds.saturating_mul(1_000));
                    wish.max_age_ms = Some(ms);
                }
                _ => {}
            }
        }
        wish
    }

    /// Whether an answer may be one that was given before, or be given again: the model would say
    /// the same, or the client prefers it.
    pub fn covers(&self, request: &ChatRequest) -> bool {
        self.prefers || request.sampling.temperature == Some(0.0)
    }

    /// Whether it takes an answer of this age.
    pub fn takes(&self, age_ms: u64) -> bool {
        let refuses = self.no_cache || self.no_store;
        !refuses && self.max_age_ms.is_none_or(|most_ms| age_ms < most_ms)
    }
}

impl AnswerKey {
    /// Of what a team asks a target. Everything that is sent counts, in the client's own body and
    /// its protocol, but for what has no bearing on the answer.
    pub fn of(team: &str, alias: &str, target: &Target, request: &ChatRequest) -> AnswerKey {
        let mut key = KeyMaker::of(team, alias, target, request);
        match &request.body {
            Some(body) => key.add_body(body, &[]),
            None => key.add_meaning(request, &request.messages),
        }
        key.done()
    }
}

/// Makes a key of parts; no two lists of parts make the same one.
pub(crate) struct KeyMaker(Sha256);

impl KeyMaker {
    pub(crate) fn of(team: &str, alias: &str, target: &Target, request: &ChatRequest) -> KeyMaker {
        let mut key = KeyMaker(Sha256::new());
        [team, alias, &target.backend, &target.model].into_iter().for_each(|part| key.add(part));
        key.add(if request.stream { "stream" } else { "whole" });
        key
    }

    pub(crate) fn add(&mut self, part: &str) {
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part.as_bytes());
    }

    /// What bears on the answer of the client's own body, but for these fields.
    pub(crate) fn add_body(&mut self, body: &Body, but: &[&str]) {
        self.add(&format!("{:?}", body.protocol));
        // The map is sorted by its keys, so the order that a client wrote them in is none.
        for (name, value) in &body.fields {
            if !IDLE_FIELDS.contains(&name.as_str()) && !but.contains(&name.as_str()) {
                self.add(name);
                self.add(&value.to_string());
            }
        }
        self.add(&format!("{:?}", body.headers));
    }

    /// What the request means, with these messages.
    pub(crate) fn add_meaning(&mut self, request: &ChatRequest, messages: &[Message]) {
        let ChatRequest { tools, tool_choice, sampling, format, .. } = request;
        // Strings are quoted there, so no two requests are written alike.
        self.add(&format!("{messages:?} {tools:?} {tool_choice:?} {sampling:?} {format:?}"));
        let ChatRequest { max_tokens, choices, logprobs, parallel_tool_calls, .. } = request;
        self.add(&format!("{max_tokens:?} {choices} {logprobs:?} {parallel_tool_calls:?}"));
    }

    pub(crate) fn done(self) -> AnswerKey {
        AnswerKey(self.0.finalize().into())
    }
}
