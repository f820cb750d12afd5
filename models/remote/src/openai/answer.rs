//! Answers of OpenAI's chat completions.

use std::collections::BTreeMap;

use headwater_models::chat::{ChatError, ChatEvent, Finish, Usage};
use serde_json::Value;

use crate::codec::{Decoder, Step, count, cut, parse, text_of, told};

/// Ends a stream, in place of JSON.
const DONE: &str = "[DONE]";

/// What an answer has said so far.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    has_started: bool,
    /// The choices so far, and whether each has finished.
    choices: BTreeMap<u32, bool>,
}

impl Decoder for Answer {
    fn event(&mut self, data: &str) -> Result<Step, ChatError> {
        if data.trim() == DONE {
            return self.check_finished().map(|()| Step::End);
        }
        self.read(data, "delta").map(Step::Says)
    }

    fn whole(&mut self, body: &str) -> Result<Vec<ChatEvent>, ChatError> {
        let events = self.read(body, "message")?;
        self.check_finished().map(|()| events)
    }
}

impl Answer {
    fn check_finished(&self) -> Result<(), ChatError> {
        if self.choices.is_empty() || self.choices.values().any(|finished| !finished) {
            return Err(cut("the provider ended the answer before every choice had finished"));
        }
        Ok(())
    }

    /// `said` names the field that holds what a choice says.
    fn read(&mut self, data: &str, said: &str) -> Result<Vec<ChatEvent>, ChatError> {
        let body = parse(data)?;
        if body.get("error").is_some_and(|error| !error.is_null()) || body["object"] == "error" {
            return Err(told(&body));
        }
        let choices = body.get("choices").filter(|choices| !choices.is_null());
        let no_list = || cut("the provider's answer has no list of choices");
        let choices = choices.map(|choices| choices.as_array().ok_or_else(no_list)).transpose()?;
        if choices.is_none() && body["usage"].is_null() {
            return Err(no_list());
        }
        let mut events = Vec::new();
        if !std::mem::replace(&mut self.has_started, true) {
            let text = |field: &str| text_of(&body[field]).map(str::to_owned);
            events.push(ChatEvent::Started { id: text("id"), model: text("model") });
        }
        for choice in choices.into_iter().flatten() {
            self.read_choice(choice, said, &mut events)?;
        }
        // Some servers tell the usage with every chunk, null until it is known with others.
        if body["usage"].is_object() {
            events.push(ChatEvent::Usage(usage(&body["usage"])));
        }
        Ok(events)
    }

    fn read_choice(
        &mut self,
        body: &Value,
        said: &str,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ChatError> {
        let choice = count(&body["index"]) as u32;
        let finished = self.choices.entry(choice).or_default();
        let said = &body[said];
        // DeepSeek's and vLLM's name, and the one of OpenRouter and later vLLM.
        let thought = text_of(&said["reasoning_content"]).or_else(|| text_of(&said["reasoning"]));
        if let Some(text) = thought {
            events.push(ChatEvent::Thinking { choice, text: text.to_owned(), signature: None });
        }
        if let Some(text) = text_of(&said["content"]) {
            events.push(ChatEvent::Text { choice, text: text.to_owned() });
        }
        if let Some(text) = text_of(&said["refusal"]) {
            events.push(ChatEvent::Refusal { choice, text: text.to_owned() });
        }
        for (place, call) in said["tool_calls"].as_array().into_iter().flatten().enumerate() {
            // A whole answer, and some servers' streams, tell no index: the place is the index.
            let index = call["index"].as_u64().unwrap_or(place as u64) as u32;
            events.push(ChatEvent::ToolCall {
                choice,
                index,
                id: text_of(&call["id"]).map(str::to_owned),
                name: text_of(&call["function"]["name"]).map(str::to_owned),
                arguments: call["function"]["arguments"].as_str().unwrap_or_default().to_owned(),
            });
        }
        if let Some(content) = body["logprobs"].get("content").filter(|content| content.is_array())
        {
            events.push(ChatEvent::Logprobs { choice, content: content.clone() });
        }
        if let Some(reason) = text_of(&body["finish_reason"]) {
            let reason = finish(reason)?;
            *finished = true;
            // vLLM's: the stop text that was met, or the number of a token.
            let stop = text_of(&body["stop_reason"]).map(str::to_owned);
            events.push(ChatEvent::Finished { choice, reason, stop });
        }
        Ok(())
    }
}

fn finish(reason: &str) -> Result<Finish, ChatError> {
    match reason {
        "length" => Ok(Finish::Length),
        "tool_calls" | "function_call" => Ok(Finish::ToolCalls),
        "content_filter" => Ok(Finish::Filtered),
        // vLLM's words for a request that it gave up.
        "abort" | "error" => Err(cut("the provider gave the answer up")),
        _ => Ok(Finish::Stop),
    }
}

fn usage(usage: &Value) -> Usage {
    Usage {
        input: count(&usage["prompt_tokens"]),
        output: count(&usage["completion_tokens"]),
        input_cached: count(&usage["prompt_tokens_details"]["cached_tokens"]),
        input_written: 0,
        reasoning: count(&usage["completion_tokens_details"]["reasoning_tokens"]),
    }
}
