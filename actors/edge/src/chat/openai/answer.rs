//! OpenAI's body of an answer that is told at once, and the words that a stream shares with it.

use headwater_actors::gateway::{Finish, Usage};
use serde_json::{Map, Value, json};

use crate::chat::fold::{Choice, Folded, Piece};
use crate::chat::{Naming, now_s};

pub(super) fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::Filtered => "content_filter",
    }
}

pub(super) fn usage(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input.saturating_add(usage.output),
        "prompt_tokens_details": {"cached_tokens": usage.input_cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    })
}

/// The whole answer as one body.
pub(super) fn body(folded: Folded, naming: &Naming) -> Value {
    let Folded { id, model, choices, usage: used, .. } = folded;
    let choices: Vec<Value> =
        choices.into_iter().map(|(index, choice)| choice_of(index, choice)).collect();
    json!({
        "id": id.unwrap_or_else(|| naming.id.clone()),
        "object": "chat.completion",
        "created": now_s(),
        "model": model.unwrap_or_else(|| naming.model.clone()),
        "choices": choices,
        "usage": used.map(usage),
    })
}

fn choice_of(index: u32, choice: Choice) -> Value {
    let Choice { pieces, logprobs, finish, .. } = choice;
    let (mut text, mut refusal, mut thoughts) = (None, None, None);
    let mut calls = Vec::new();
    let add = |to: &mut Option<String>, more: &str| to.get_or_insert_default().push_str(more);
    for piece in pieces {
        match piece {
            Piece::Text(more) => add(&mut text, &more),
            Piece::Refusal(more) => add(&mut refusal, &more),
            Piece::Thinking { text: more, .. } => add(&mut thoughts, &more),
            Piece::Call { id, name, arguments, .. } => calls.push(json!({
                "id": id,
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            })),
        }
    }
    let mut message = Map::new();
    message.insert("role".to_owned(), Value::from("assistant"));
    message.insert("content".to_owned(), Value::from(text));
    message.insert("refusal".to_owned(), Value::from(refusal));
    if let Some(thoughts) = thoughts {
        message.insert("reasoning_content".to_owned(), Value::from(thoughts));
    }
    if !calls.is_empty() {
        message.insert("tool_calls".to_owned(), Value::from(calls));
    }
    let logprobs = (!logprobs.is_empty()).then(|| json!({"content": logprobs, "refusal": null}));
    json!({
        "index": index,
        "message": message,
        "logprobs": logprobs,
        "finish_reason": finish.map(finish_reason),
    })
}
