//! What a request was made of, when it was a prompt: its secrets, which go in on the way to the
//! model and nowhere else, and whoever watches how its answers come out.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use headwater_models::chat::{ChatError, ChatEvent, ChatRequest, Chunk, Part};
use headwater_prompts::replace_markers;
use headwater_secrets::SecretValue;
use serde_json::Value;

/// Bytes of an answer that whoever watches gets to read.
const SAID_BYTES: usize = 64_000;

/// How one answer came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    pub failed: bool,
    pub latency_ms: u64,
    pub micro_usd: u64,
    /// What was said; empty unless it is wanted.
    pub said: String,
}

impl Observed {
    /// Nothing came of it.
    pub fn failed() -> Observed {
        Observed { failed: true, latency_ms: 0, micro_usd: 0, said: String::new() }
    }
}

/// Hears how an answer came out, once.
#[derive(Clone)]
pub struct Watcher {
    /// Whether it wants to read what was said.
    pub wants_text: bool,
    pub hear: Arc<dyn Fn(Observed) + Send + Sync>,
}

impl Debug for Watcher {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Watcher")
            .field("wants_text", &self.wants_text)
            .finish_non_exhaustive()
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct PromptUse {
    /// As records name it, such as `greeting@7`; empty where only the watcher is wanted.
    pub label: String,
    /// By their names.
    pub secrets: BTreeMap<String, SecretValue>,
    pub watcher: Option<Watcher>,
}

impl PromptUse {
    /// The request as the model gets it.
    pub(super) fn fill(&self, mut request: ChatRequest) -> ChatRequest {
        if self.secrets.is_empty() {
            return request;
        }
        for part in request.messages.iter_mut().flat_map(|message| &mut message.parts) {
            if let Part::Text(text) = part {
                *text = self.filled(text);
            }
        }
        if let Some(body) = &mut request.body {
            body.fields.values_mut().for_each(|value| self.fill_value(value));
        }
        request
    }

    fn fill_value(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.filled(text),
            Value::Array(entries) => entries.iter_mut().for_each(|entry| self.fill_value(entry)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.fill_value(field)),
            _ => {}
        }
    }

    fn filled(&self, text: &str) -> String {
        replace_markers(text, |name| self.secrets.get(name).map(SecretValue::expose))
    }

    /// A text of the model or its provider without the values, for whoever keeps or tells it.
    pub(crate) fn hide(&self, text: &mut String) {
        // One value may be the beginning of another.
        let mut values: Vec<_> = self.secrets.iter().collect();
        values.sort_by_key(|(_, value)| std::cmp::Reverse(value.expose().len()));
        for (name, value) in values {
            if !value.expose().is_empty() && text.contains(value.expose()) {
                *text = text.replace(value.expose(), &format!("[secret {name}]"));
            }
        }
    }

    pub(super) fn hide_in(&self, mut error: ChatError) -> ChatError {
        match &mut error {
            ChatError::Refused { message, .. } | ChatError::Limited { message, .. } => {
                self.hide(message)
            }
            ChatError::Unavailable { reason, .. } | ChatError::Cut { reason } => self.hide(reason),
            ChatError::Misconfigured { .. } | ChatError::TimedOut { .. } => {}
        }
        error
    }

    pub(super) fn hear(&self, observed: Observed) {
        if let Some(watcher) = &self.watcher {
            (watcher.hear)(observed);
        }
    }
}

/// An answer's use of its prompt while it grows.
pub(super) struct Watching {
    prompt: PromptUse,
    said: String,
}

impl Watching {
    pub(super) fn new(prompt: PromptUse) -> Watching {
        Watching { prompt, said: String::new() }
    }

    pub(super) fn prompt(&self) -> &PromptUse {
        &self.prompt
    }

    pub(super) fn see(&mut self, chunk: &Chunk) {
        if !self.prompt.watcher.as_ref().is_some_and(|watcher| watcher.wants_text) {
            return;
        }
        for event in &chunk.events {
            if let ChatEvent::Text { text, choice: 0, .. } = event
                && self.said.len() + text.len() <= SAID_BYTES
            {
                self.said.push_str(text);
            }
        }
    }

    pub(super) fn end(&mut self, failed: bool, latency_ms: u64, micro_usd: u64) {
        let mut said = std::mem::take(&mut self.said);
        self.prompt.hide(&mut said);
        self.prompt.hear(Observed { failed, latency_ms, micro_usd, said });
    }
}
