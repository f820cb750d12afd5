//! Answers of Google's Gemini API.

use std::collections::BTreeMap;

use headwater_models::chat::{ChatError, ChatEvent, Finish, Usage};
use serde_json::Value;

use crate::codec::{Decoder, Step, count, cut, parse, text_of, told};

/// What an answer has said so far.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    has_started: bool,
    id: Option<String>,
    choices: BTreeMap<u32, Choice>,
}

#[derive(Debug, Default)]
struct Choice {
    calls: u32,
    has_finished: bool,
}

impl Decoder for Answer {
    fn event(&mut self, data: &str) -> Result<Step, ChatError> {
        self.read(data).map(Step::Says)
    }

    fn whole(&mut self, body: &str) -> Result<Vec<ChatEvent>, ChatError> {
        let events = self.read(body)?;
        self.end().map(|()| events)
    }

    /// The protocol has no mark of the end: the connection ends after every choice has finished.
    fn end(&self) -> Result<(), ChatError> {
        let is_open = self.choices.values().any(|choice| !choice.has_finished);
        if self.choices.is_empty() || is_open {
            return Err(cut("the connection ended before every choice had finished"));
        }
        Ok(())
    }
}

impl Answer {
    fn read(&mut self, data: &str) -> Result<Vec<ChatEvent>, ChatError> {
        let body = parse(data)?;
        if body.get("error").is_some_and(|error| !error.is_null()) {
            return Err(told(&body));
        }
        let known = ["candidates", "promptFeedback", "usageMetadata"];
        if !known.iter().any(|field| body.get(field).is_some()) {
            return Err(cut("the provider's answer has no candidates"));
        }
        let mut events = Vec::new();
        if !std::mem::replace(&mut self.has_started, true) {
            let text = |field: &str| text_of(&body[field]).map(str::to_owned);
            self.id = text("responseId");
            events.push(ChatEvent::Started { id: text("responseId"), model: text("modelVersion") });
        }
        for candidate in body["candidates"].as_array().into_iter().flatten() {
            self.read_candidate(candidate, &mut events)?;
        }
        if text_of(&body["promptFeedback"]["blockReason"]).is_some() {
            self.choices.entry(0).or_default().has_finished = true;
            let reason = Finish::Filtered;
            events.push(ChatEvent::Finished { choice: 0, reason, stop: None });
        }
        if body["usageMetadata"].is_object() {
            events.push(ChatEvent::Usage(usage(&body["usageMetadata"])));
        }
        Ok(events)
    }

    fn read_candidate(
        &mut self,
        candidate: &Value,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ChatError> {
        let choice = count(&candidate["index"]) as u32;
        let state = self.choices.entry(choice).or_default();
        for part in candidate["content"]["parts"].as_array().into_iter().flatten() {
            let text = text_of(&part["text"]).unwrap_or_default().to_owned();
            let is_thought = part["thought"].as_bool().unwrap_or_default();
            let signature = text_of(&part["thoughtSignature"]).map(str::to_owned);
            if is_thought || signature.is_some() {
                let text = if is_thought { text.clone() } else { String::new() };
                events.push(ChatEvent::Thinking { choice, text, signature });
            }
            if !is_thought && !text.is_empty() {
                events.push(ChatEvent::Text { choice, text });
            }
            let call = &part["functionCall"];
            if call.is_object() {
                let arguments = if call["args"].is_object() { &call["args"] } else { &Value::Null };
                let index = state.calls;
                state.calls += 1;
                let answer = self.id.as_deref().unwrap_or("answer");
                // Older models give calls no id, and clients need one.
                let own = || format!("call-{answer}-{choice}-{index}");
                events.push(ChatEvent::ToolCall {
                    choice,
                    index,
                    id: Some(text_of(&call["id"]).map_or_else(own, str::to_owned)),
                    name: text_of(&call["name"]).map(str::to_owned),
                    arguments: match arguments {
                        Value::Null => "{}".to_owned(),
                        arguments => arguments.to_string(),
                    },
                });
            }
        }
        let reason = text_of(&candidate["finishReason"]);
        if let Some(reason) = reason.filter(|reason| *reason != "FINISH_REASON_UNSPECIFIED") {
            let reason = finish(reason, state.calls > 0)?;
            state.has_finished = true;
            events.push(ChatEvent::Finished { choice, reason, stop: None });
        }
        Ok(())
    }
}

fn finish(reason: &str, calls_tools: bool) -> Result<Finish, ChatError> {
    match reason {
        "STOP" if calls_tools => Ok(Finish::ToolCalls),
        "STOP" => Ok(Finish::Stop),
        "MAX_TOKENS" => Ok(Finish::Length),
        // The model's own slip: what it said is no answer, and another try may be one.
        "MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL" | "TOO_MANY_TOOL_CALLS" => {
            Err(cut("the model called a tool in a wrong way, and the provider gave up"))
        }
        // Safety, recitation, block lists, and reasons of times to come: it is withheld.
        _ => Ok(Finish::Filtered),
    }
}

/// Thoughts are billed as output, and the provider counts them beside it.
fn usage(usage: &Value) -> Usage {
    let reasoning = count(&usage["thoughtsTokenCount"]);
    let prompt = count(&usage["promptTokenCount"]);
    Usage {
        input: prompt.saturating_add(count(&usage["toolUsePromptTokenCount"])),
        output: count(&usage["candidatesTokenCount"]).saturating_add(reasoning),
        input_cached: count(&usage["cachedContentTokenCount"]),
        input_written: 0,
        reasoning,
    }
}
