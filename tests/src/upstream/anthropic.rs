//! The simulator's words in Anthropic's messages.

use serde_json::{Value, json};

use super::request::Asked;
use super::script::{Answer, Event};

pub(super) const ID: &str = "msg-simulated";
const CALL: &str = "toolu-simulated";

pub(super) fn events(asked: &Asked, answer: &Answer) -> Vec<Event> {
    let event = |name: &'static str, words: u64, fields: Value| {
        let mut data = json!({"type": name});
        if let (Some(data), Value::Object(fields)) = (data.as_object_mut(), fields) {
            data.extend(fields);
        }
        Event { name: Some(name), data: data.to_string(), words }
    };
    let usage = json!({"input_tokens": asked.input, "output_tokens": 0});
    let message = json!({"id": ID, "type": "message", "role": "assistant", "content": [],
        "model": asked.model, "stop_reason": null, "stop_sequence": null, "usage": usage});
    let block = match &answer.tool {
        None => json!({"type": "text", "text": ""}),
        Some(tool) => json!({"type": "tool_use", "id": CALL, "name": tool, "input": {}}),
    };
    let mut events = vec![
        event("message_start", 0, json!({"message": message})),
        event("content_block_start", 0, json!({"index": 0, "content_block": block})),
    ];
    events.extend(answer.words.iter().map(|word| {
        let delta = match &answer.tool {
            None => json!({"type": "text_delta", "text": word}),
            Some(_) => json!({"type": "input_json_delta", "partial_json": word}),
        };
        event("content_block_delta", 1, json!({"index": 0, "delta": delta}))
    }));
    let delta = json!({"stop_reason": stop(answer), "stop_sequence": null});
    let usage = json!({"output_tokens": answer.output()});
    events.extend([
        event("content_block_stop", 0, json!({"index": 0})),
        event("message_delta", 0, json!({"delta": delta, "usage": usage})),
        event("message_stop", 0, json!({})),
    ]);
    events
}

pub(super) fn whole(asked: &Asked, answer: &Answer) -> Value {
    let block = match &answer.tool {
        None => json!({"type": "text", "text": answer.text()}),
        Some(tool) => {
            let input: Value = serde_json::from_str(&answer.text()).unwrap_or_default();
            json!({"type": "tool_use", "id": CALL, "name": tool, "input": input})
        }
    };
    json!({"id": ID, "type": "message", "role": "assistant", "model": asked.model,
        "content": [block], "stop_reason": stop(answer), "stop_sequence": null,
        "usage": {"input_tokens": asked.input, "output_tokens": answer.output()}})
}

pub(super) fn error(status: u16, message: &str) -> Value {
    let kind = match status {
        401 => "authentication_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    json!({"type": "error", "error": {"type": kind, "message": message}})
}

fn stop(answer: &Answer) -> &'static str {
    match (answer.is_limited, &answer.tool) {
        (true, _) => "max_tokens",
        (false, Some(_)) => "tool_use",
        (false, None) => "end_turn",
    }
}
