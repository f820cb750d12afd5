//! Answers of Anthropic's messages.

use std::collections::BTreeMap;

use headwater_models::chat::{ChatError, ChatEvent, Finish, Usage};
use serde_json::Value;

use crate::codec::{Decoder, Step, count, cut, parse, text_of, told};

/// The only choice that the protocol has.
const CHOICE: u32 = 0;

/// What an answer has said so far.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The tool whose input is the text of the answer.
    schema_name: Option<String>,
    /// The tool calls among the blocks, by the blocks' index.
    calls: BTreeMap<u64, Call>,
    usage: Usage,
    has_started: bool,
    has_finished: bool,
}

#[derive(Debug)]
struct Call {
    /// Which call it is; none when its input is the text of the answer.
    index: Option<u32>,
    has_input: bool,
}

impl Decoder for Answer {
    fn event(&mut self, data: &str) -> Result<Step, ChatError> {
        let body = parse(data)?;
        let mut events = Vec::new();
        match body["type"].as_str().unwrap_or_default() {
            "message_start" => self.start(&body["message"], &mut events),
            "content_block_start" => {
                self.start_block(count(&body["index"]), &body["content_block"], &mut events);
            }
            "content_block_delta" => {
                self.delta(count(&body["index"]), &body["delta"], &mut events)?;
            }
            "content_block_stop" => self.stop_block(count(&body["index"]), &mut events),
            "message_delta" => {
                self.finish(&body["delta"], &mut events);
                self.count(&body["usage"]);
                events.push(ChatEvent::Usage(self.usage));
            }
            "message_stop" => return self.check_finished().map(|()| Step::Last(events)),
            "error" => return Err(told(&body)),
            // `ping`, and events of times to come, which the API's rules allow.
            _ => {}
        }
        Ok(Step::Says(events))
    }

    fn whole(&mut self, body: &str) -> Result<Vec<ChatEvent>, ChatError> {
        let body = parse(body)?;
        if body["type"] == "error" || body.get("error").is_some_and(|error| !error.is_null()) {
            return Err(told(&body));
        }
        let blocks = body["content"].as_array();
        let blocks = blocks.ok_or_else(|| cut("the provider's answer has no list of content"))?;
        let mut events = Vec::new();
        self.start(&body, &mut events);
        // The answer is complete, so what it has cost so far is told once, at its end.
        events.retain(|event| !matches!(event, ChatEvent::Usage(_)));
        for (index, block) in blocks.iter().enumerate() {
            self.start_block(index as u64, block, &mut events);
            self.stop_block(index as u64, &mut events);
        }
        self.finish(&body, &mut events);
        events.push(ChatEvent::Usage(self.usage));
        self.check_finished().map(|()| events)
    }
}

impl Answer {
    pub(crate) fn new(schema_name: Option<String>) -> Answer {
        Answer {
            schema_name,
            calls: BTreeMap::new(),
            usage: Usage::default(),
            has_started: false,
            has_finished: false,
        }
    }

    fn check_finished(&self) -> Result<(), ChatError> {
        match self.has_started && self.has_finished {
            true => Ok(()),
            false => Err(cut("the provider ended the answer without a reason to stop")),
        }
    }

    fn start(&mut self, message: &Value, events: &mut Vec<ChatEvent>) {
        self.has_started = true;
        self.count(&message["usage"]);
        let text = |field: &str| text_of(&message[field]).map(str::to_owned);
        events.push(ChatEvent::Started { id: text("id"), model: text("model") });
        events.push(ChatEvent::Usage(self.usage));
    }

    /// A later count stands in place of an earlier one; what it leaves out stays.
    fn count(&mut self, usage: &Value) {
        let fresh = usage["input_tokens"].as_u64();
        let read = usage["cache_read_input_tokens"].as_u64();
        let written = usage["cache_creation_input_tokens"].as_u64();
        let old = self.usage;
        // The provider's input leaves out what its cache held or took in; the port's has all.
        let old_fresh =
            old.input.saturating_sub(old.input_cached.saturating_add(old.input_written));
        let input_cached = read.unwrap_or(old.input_cached);
        let input_written = written.unwrap_or(old.input_written);
        self.usage = Usage {
            input: fresh
                .unwrap_or(old_fresh)
                .saturating_add(input_cached)
                .saturating_add(input_written),
            output: usage["output_tokens"].as_u64().unwrap_or(old.output),
            input_cached,
            input_written,
            reasoning: 0,
        };
    }

    /// In a stream a block starts empty; in a whole answer it is all there.
    fn start_block(&mut self, index: u64, block: &Value, events: &mut Vec<ChatEvent>) {
        let text = |field: &str| text_of(&block[field]).map(str::to_owned);
        match block["type"].as_str().unwrap_or_default() {
            "text" => {
                events.extend(text("text").map(|text| ChatEvent::Text { choice: CHOICE, text }))
            }
            "thinking" => {
                let (thought, signature) = (text("thinking"), text("signature"));
                if thought.is_some() || signature.is_some() {
                    let text = thought.unwrap_or_default();
                    events.push(ChatEvent::Thinking { choice: CHOICE, text, signature });
                }
            }
            "tool_use" => {
                let is_text = self.schema_name.is_some() && text("name") == self.schema_name;
                let earlier = self.calls.values().filter(|call| call.index.is_some()).count();
                let call_index = (!is_text).then_some(earlier as u32);
                let input = block["input"].as_object().filter(|input| !input.is_empty());
                let input = input.map(|_| block["input"].to_string());
                self.calls.insert(index, Call { index: call_index, has_input: input.is_some() });
                let arguments = input.unwrap_or_default();
                match call_index {
                    Some(index) => events.push(ChatEvent::ToolCall {
                        choice: CHOICE,
                        index,
                        id: text("id"),
                        name: text("name"),
                        arguments,
                    }),
                    None if arguments.is_empty() => {}
                    None => events.push(ChatEvent::Text { choice: CHOICE, text: arguments }),
                }
            }
            // Thoughts that are sealed, and work of the provider's own tools: no noun has them,
            // and the chunk keeps them in the provider's words.
            _ => {}
        }
    }

    fn delta(
        &mut self,
        index: u64,
        delta: &Value,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ChatError> {
        let text = |field: &str| text_of(&delta[field]).map(str::to_owned);
        let choice = CHOICE;
        match delta["type"].as_str().unwrap_or_default() {
            "text_delta" => {
                events.extend(text("text").map(|text| ChatEvent::Text { choice, text }));
            }
            "thinking_delta" => events.extend(text("thinking").map(|text| ChatEvent::Thinking {
                choice,
                text,
                signature: None,
            })),
            "signature_delta" => {
                let (text, signature) = (String::new(), text("signature"));
                events.push(ChatEvent::Thinking { choice, text, signature });
            }
            "input_json_delta" => {
                let Some(arguments) = text("partial_json") else {
                    return Ok(());
                };
                // The input of the provider's own tools belongs to no call of the client's.
                if let Some(call) = self.calls.get_mut(&index) {
                    call.has_input = true;
                    events.push(said(call, arguments));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A call without arguments has an empty object, which a stream does not spell out.
    fn stop_block(&mut self, index: u64, events: &mut Vec<ChatEvent>) {
        if let Some(call) = self.calls.get_mut(&index).filter(|call| !call.has_input) {
            call.has_input = true;
            events.push(said(call, "{}".to_owned()));
        }
    }

    fn finish(&mut self, told: &Value, events: &mut Vec<ChatEvent>) {
        let Some(reason) = text_of(&told["stop_reason"]) else {
            return;
        };
        let calls_tools = self.calls.values().any(|call| call.index.is_some());
        let reason = match reason {
            "max_tokens" | "model_context_window_exceeded" => Finish::Length,
            "tool_use" if calls_tools || self.schema_name.is_none() => Finish::ToolCalls,
            "refusal" => Finish::Filtered,
            _ => Finish::Stop,
        };
        self.has_finished = true;
        let stop = text_of(&told["stop_sequence"]).map(str::to_owned);
        events.push(ChatEvent::Finished { choice: CHOICE, reason, stop });
    }
}

fn said(call: &Call, arguments: String) -> ChatEvent {
    match call.index {
        Some(index) => {
            ChatEvent::ToolCall { choice: CHOICE, index, id: None, name: None, arguments }
        }
        None => ChatEvent::Text { choice: CHOICE, text: arguments },
    }
}
