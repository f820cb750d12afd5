//! Anthropic's stream of an answer: a message, its blocks one after the other, and why it ended.

use std::collections::BTreeSet;

use headwater_actors::gateway::{ChatEvent, Chunk, Finish, GatewayError, Protocol, Usage};
use serde_json::{Value, json};

use super::answer::{call_id, stop_reason, usage};
use crate::chat::Naming;
use crate::chat::sse::{self, Writer};
use crate::error::{ApiError, Shape};

/// The last event of a whole answer.
const STOP: &str = "message_stop";

/// Writes one answer.
pub(super) struct AnthropicWriter {
    naming: Naming,
    begun: bool,
    /// The block that grows now.
    open: Option<Block>,
    /// Blocks so far.
    blocks: u64,
    /// Calls so far.
    calls: BTreeSet<u32>,
    finish: Option<(Finish, Option<String>)>,
    refused: bool,
    usage: Usage,
    /// Whether the backend itself has told the answer, and whether it has told the end.
    said: bool,
    stopped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    Text,
    Thinking,
    Call(u32),
}

/// The type of each event stands in its data, too.
fn write(data: &Value, out: &mut String) {
    sse::event(data["type"].as_str(), &data.to_string(), out);
}

impl AnthropicWriter {
    pub(super) fn new(naming: Naming) -> AnthropicWriter {
        AnthropicWriter {
            naming,
            begun: false,
            open: None,
            blocks: 0,
            calls: BTreeSet::new(),
            finish: None,
            refused: false,
            usage: Usage::default(),
            said: false,
            stopped: false,
        }
    }

    fn begin(&mut self, out: &mut String) {
        if self.begun {
            return;
        }
        self.begun = true;
        let message = json!({
            "id": self.naming.id,
            "type": "message",
            "role": "assistant",
            "model": self.naming.model,
            "content": [],
            "stop_reason": null,
            "stop_sequence": null,
            "usage": usage(self.usage),
        });
        write(&json!({"type": "message_start", "message": message}), out);
    }

    fn close(&mut self, out: &mut String) {
        if self.open.take().is_some() {
            write(&json!({"type": "content_block_stop", "index": self.blocks}), out);
            self.blocks += 1;
        }
    }

    /// Opens the block unless it is open already.
    fn open(&mut self, block: Block, content: Value, out: &mut String) {
        if self.open == Some(block) {
            return;
        }
        self.begin(out);
        self.close(out);
        self.open = Some(block);
        let data = json!({
            "type": "content_block_start",
            "index": self.blocks,
            "content_block": content,
        });
        write(&data, out);
    }

    fn delta(&self, delta: Value, out: &mut String) {
        let data = json!({"type": "content_block_delta", "index": self.blocks, "delta": delta});
        write(&data, out);
    }

    fn text(&mut self, text: &str, out: &mut String) {
        if !text.is_empty() {
            self.open(Block::Text, json!({"type": "text", "text": ""}), out);
            self.delta(json!({"type": "text_delta", "text": text}), out);
        }
    }

    /// A signature ends a thought.
    fn thought(&mut self, text: &str, signature: Option<&str>, out: &mut String) {
        if text.is_empty() && signature.is_none() {
            return;
        }
        let empty = json!({"type": "thinking", "thinking": "", "signature": ""});
        self.open(Block::Thinking, empty, out);
        if !text.is_empty() {
            self.delta(json!({"type": "thinking_delta", "thinking": text}), out);
        }
        if let Some(signature) = signature {
            self.delta(json!({"type": "signature_delta", "signature": signature}), out);
            self.close(out);
        }
    }

    fn event(&mut self, event: ChatEvent, out: &mut String) -> Result<(), GatewayError> {
        match event {
            ChatEvent::Started { id, model } => {
                self.naming.take(id, model);
                self.begin(out);
            }
            ChatEvent::Text { choice: 0, text } => self.text(&text, out),
            ChatEvent::Refusal { choice: 0, text } => {
                self.refused = true;
                self.text(&text, out);
            }
            ChatEvent::Thinking { choice: 0, text, signature } => {
                self.thought(&text, signature.as_deref(), out);
            }
            ChatEvent::ToolCall { choice: 0, index, id, name, arguments } => {
                let block = Block::Call(index);
                if self.open != Some(block) && !self.calls.insert(index) {
                    let reason = "a call of a tool went on after the next block had begun, which \
                                  this protocol cannot tell; ask without a stream";
                    return Err(GatewayError::Cut { reason: reason.to_owned() });
                }
                let id = call_id(id, &self.naming, index);
                let content = json!({"type": "tool_use", "id": id, "name": name, "input": {}});
                self.open(block, content, out);
                if !arguments.is_empty() {
                    let delta = json!({"type": "input_json_delta", "partial_json": arguments});
                    self.delta(delta, out);
                }
            }
            ChatEvent::Finished { choice: 0, reason, stop } => self.finish = Some((reason, stop)),
            ChatEvent::Usage(usage) => self.usage = usage,
            // The protocol has one choice, and asks for no other; it has no probabilities.
            _ => {}
        }
        Ok(())
    }
}

impl Writer for AnthropicWriter {
    fn chunk(&mut self, chunk: Chunk, out: &mut String) -> Result<(), GatewayError> {
        let Chunk { said, events } = chunk;
        if let Some(said) = said.filter(|said| said.protocol == Protocol::AnthropicMessages) {
            self.said = true;
            self.stopped |= said.event.as_deref() == Some(STOP);
            sse::event(said.event.as_deref(), &said.data, out);
            return Ok(());
        }
        // The beginning tells what is known of the usage.
        for event in &events {
            if let ChatEvent::Usage(usage) = event {
                self.usage = *usage;
            }
        }
        events.into_iter().try_for_each(|event| self.event(event, out))
    }

    fn end(&mut self, out: &mut String) {
        if !self.said {
            self.begin(out);
            self.close(out);
            let (finish, stop) = self.finish.take().unzip();
            let stop = stop.flatten();
            let reason = finish.map(|finish| stop_reason(finish, stop.as_deref(), self.refused));
            let data = json!({
                "type": "message_delta",
                "delta": {"stop_reason": reason, "stop_sequence": stop},
                "usage": usage(self.usage),
            });
            write(&data, out);
        }
        if !self.stopped {
            write(&json!({"type": STOP}), out);
        }
    }

    fn error(&mut self, error: ApiError, out: &mut String) {
        write(&error.body(Shape::Anthropic), out);
    }
}
