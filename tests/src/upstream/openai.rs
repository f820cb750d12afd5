//! The simulator's words in OpenAI's chat completions.

use serde_json::{Value, json};

use super::request::Asked;
use super::script::{Answer, Event};

pub(super) const ID: &str = "chatcmpl-simulated";
const CALL: &str = "call-simulated";

pub(super) fn events(asked: &Asked, answer: &Answer) -> Vec<Event> {
    let chunk = |choices: Value, usage: Value| {
        let mut chunk = json!({"id": ID, "object": "chat.completion.chunk", "created": 0,
            "model": asked.model, "choices": choices});
        if asked.include_usage {
            chunk["usage"] = usage;
        }
        chunk.to_string()
    };
    let delta = |delta: Value, finish: Value, words: u64| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        Event { name: None, data: chunk(json!([choice]), Value::Null), words }
    };
    let first = match &answer.tool {
        None => json!({"role": "assistant", "content": ""}),
        Some(tool) => json!({"role": "assistant", "content": null, "tool_calls": [{"index": 0,
            "id": CALL, "type": "function", "function": {"name": tool, "arguments": ""}}]}),
    };
    let mut events = vec![delta(first, Value::Null, 0)];
    events.extend(answer.words.iter().map(|word| {
        let said = match &answer.tool {
            None => json!({"content": word}),
            Some(_) => json!({"tool_calls": [{"index": 0, "function": {"arguments": word}}]}),
        };
        delta(said, Value::Null, 1)
    }));
    events.push(delta(json!({}), json!(finish(answer)), 0));
    if asked.include_usage {
        let data = chunk(json!([]), usage(asked, answer));
        events.push(Event { name: None, data, words: 0 });
    }
    events.push(Event { name: None, data: "[DONE]".to_owned(), words: 0 });
    events
}

pub(super) fn whole(asked: &Asked, answer: &Answer) -> Value {
    let message = match &answer.tool {
        None => json!({"role": "assistant", "content": answer.text()}),
        Some(tool) => json!({"role": "assistant", "content": null, "tool_calls": [{"id": CALL,
            "type": "function", "function": {"name": tool, "arguments": answer.text()}}]}),
    };
    let choice = json!({"index": 0, "message": message, "finish_reason": finish(answer)});
    json!({"id": ID, "object": "chat.completion", "created": 0, "model": asked.model,
        "choices": [choice], "usage": usage(asked, answer)})
}

/// A vector for each text: its words, and its bytes.
pub(super) fn vectors(asked: &Asked) -> Value {
    // The first text is the system's, which embeddings have none of.
    let texts = asked.texts.iter().skip(1).enumerate();
    let data = texts.map(|(index, text)| {
        let vector = json!([text.split_whitespace().count(), text.len()]);
        json!({"object": "embedding", "index": index, "embedding": vector})
    });
    let usage = json!({"prompt_tokens": asked.input, "total_tokens": asked.input});
    json!({"object": "list", "data": data.collect::<Vec<_>>(), "model": asked.model,
        "usage": usage})
}

pub(super) fn error(status: u16, message: &str) -> Value {
    let code = match status {
        401 => "invalid_api_key",
        404 => "model_not_found",
        429 => "rate_limit_exceeded",
        500.. => "server_error",
        _ => "invalid_request",
    };
    json!({"error": {"message": message, "type": "simulated", "param": null, "code": code}})
}

fn finish(answer: &Answer) -> &'static str {
    match (answer.is_limited, &answer.tool) {
        (true, _) => "length",
        (false, Some(_)) => "tool_calls",
        (false, None) => "stop",
    }
}

fn usage(asked: &Asked, answer: &Answer) -> Value {
    let (input, output) = (asked.input, answer.output());
    json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output})
}
