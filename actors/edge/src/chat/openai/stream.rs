//! OpenAI's stream of an answer: chunks, the usage where it is asked for, and `[DONE]`.

use std::collections::{BTreeMap, BTreeSet};

use headwater_actors::gateway::{ChatEvent, Chunk, GatewayError, Protocol, Said, Usage};
use serde_json::{Map, Value, json};

use super::answer::{finish_reason, usage};
use crate::chat::sse::{self, Writer};
use crate::chat::{Naming, now_s};
use crate::error::{ApiError, Shape};

const DONE: &str = "[DONE]";

/// Writes one answer.
pub(super) struct OpenAiWriter {
    naming: Naming,
    created_s: u64,
    include_usage: bool,
    /// Choices whose role has been told.
    begun: BTreeSet<u32>,
    /// The last usage that was not told in the backend's own words.
    usage: Option<Usage>,
}

impl OpenAiWriter {
    pub(super) fn new(naming: Naming, include_usage: bool) -> OpenAiWriter {
        let begun = BTreeSet::new();
        OpenAiWriter { naming, created_s: now_s(), include_usage, begun, usage: None }
    }

    fn chunk_of(&self, choices: Value, usage: Option<Value>) -> String {
        let mut body = json!({
            "id": self.naming.id,
            "object": "chat.completion.chunk",
            "created": self.created_s,
            "model": self.naming.model,
            "choices": choices,
        });
        if self.include_usage {
            body["usage"] = Value::from(usage);
        }
        body.to_string()
    }

    fn delta(&self, choice: u32, delta: Value, logprobs: Option<Vec<Value>>, out: &mut String) {
        self.choice(choice, delta, logprobs, None, out);
    }

    fn choice(
        &self,
        index: u32,
        delta: Value,
        logprobs: Option<Vec<Value>>,
        finish: Option<&str>,
        out: &mut String,
    ) {
        let logprobs = logprobs.map(|content| json!({"content": content, "refusal": null}));
        let choices = json!([{
            "index": index,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": finish,
        }]);
        sse::event(None, &self.chunk_of(choices, None), out);
    }

    /// The role comes first, in a delta of its own.
    fn begin(&mut self, choice: u32, out: &mut String) {
        if self.begun.insert(choice) {
            self.delta(choice, json!({"role": "assistant", "content": ""}), None, out);
        }
    }

    fn event(
        &mut self,
        event: ChatEvent,
        logprobs: &mut BTreeMap<u32, Vec<Value>>,
        out: &mut String,
    ) {
        match event {
            ChatEvent::Started { id, model } => {
                self.naming.take(id, model);
                self.begin(0, out);
            }
            ChatEvent::Text { choice, text } => {
                self.begin(choice, out);
                let beside = logprobs.remove(&choice);
                self.delta(choice, json!({"content": text}), beside, out);
            }
            ChatEvent::Refusal { choice, text } => {
                self.begin(choice, out);
                self.delta(choice, json!({"refusal": text}), None, out);
            }
            ChatEvent::Thinking { choice, text, .. } => {
                self.begin(choice, out);
                self.delta(choice, json!({"reasoning_content": text}), None, out);
            }
            ChatEvent::ToolCall { choice, index, id, name, arguments } => {
                self.begin(choice, out);
                let call = call(index, id, name, arguments);
                self.delta(choice, json!({"tool_calls": [call]}), None, out);
            }
            // They stand beside a text of the same chunk; what is left of them follows it.
            ChatEvent::Logprobs { .. } => {}
            // No chat asks for them.
            ChatEvent::Vectors { .. } => {}
            ChatEvent::Finished { choice, reason, .. } => {
                self.begin(choice, out);
                let beside = logprobs.remove(&choice);
                self.choice(choice, json!({}), beside, Some(finish_reason(reason)), out);
            }
            ChatEvent::Usage(usage) => self.usage = Some(usage),
        }
    }

    fn said(&mut self, said: &Said, events: &[ChatEvent], out: &mut String) {
        let is_usage = |event: &ChatEvent| matches!(event, ChatEvent::Usage(_));
        // The gateway asks for the usage even when the client does not.
        let unasked = !self.include_usage
            && !events.is_empty()
            && events.iter().all(is_usage)
            && has_no_choice(&said.data);
        if !unasked && said.data.trim() != DONE {
            sse::event(said.event.as_deref(), &said.data, out);
        }
    }
}

fn call(index: u32, id: Option<String>, name: Option<String>, arguments: String) -> Value {
    let mut function = Map::new();
    let mut call = Map::new();
    call.insert("index".to_owned(), Value::from(index));
    if let Some(id) = id {
        call.insert("id".to_owned(), Value::from(id));
        call.insert("type".to_owned(), Value::from("function"));
    }
    if let Some(name) = name {
        function.insert("name".to_owned(), Value::from(name));
    }
    function.insert("arguments".to_owned(), Value::from(arguments));
    call.insert("function".to_owned(), Value::from(function));
    Value::from(call)
}

fn has_no_choice(data: &str) -> bool {
    let body: Option<Value> = serde_json::from_str(data).ok();
    let choices = body.as_ref().and_then(|body| body.get("choices"));
    choices.and_then(Value::as_array).is_none_or(Vec::is_empty)
}

impl Writer for OpenAiWriter {
    fn chunk(&mut self, chunk: Chunk, out: &mut String) -> Result<(), GatewayError> {
        let Chunk { said, events } = chunk;
        if let Some(said) = said.filter(|said| said.protocol == Protocol::OpenAiChat) {
            self.said(&said, &events, out);
            return Ok(());
        }
        let mut logprobs: BTreeMap<u32, Vec<Value>> = BTreeMap::new();
        for event in &events {
            if let ChatEvent::Logprobs { choice, content } = event {
                let tokens = content.as_array().cloned();
                let told = logprobs.entry(*choice).or_default();
                told.extend(tokens.unwrap_or_else(|| vec![content.clone()]));
            }
        }
        for event in events {
            self.event(event, &mut logprobs, out);
        }
        for (choice, content) in logprobs {
            self.begin(choice, out);
            self.delta(choice, json!({}), Some(content), out);
        }
        Ok(())
    }

    fn end(&mut self, out: &mut String) {
        if self.include_usage
            && let Some(used) = self.usage
        {
            let told = self.chunk_of(json!([]), Some(usage(used)));
            sse::event(None, &told, out);
        }
        sse::event(None, DONE, out);
    }

    fn error(&mut self, error: ApiError, out: &mut String) {
        sse::event(None, &error.body(Shape::OpenAi).to_string(), out);
    }
}
