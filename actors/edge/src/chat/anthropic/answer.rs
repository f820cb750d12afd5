//! Anthropic's body of an answer that is told at once, and the words that a stream shares with it.

use headwater_actors::gateway::{Finish, Usage};
use serde_json::{Value, json};

use crate::chat::Naming;
use crate::chat::fold::{Choice, Folded, Piece};

pub(super) fn stop_reason(finish: Finish, stop: Option<&str>, refused: bool) -> &'static str {
    match finish {
        Finish::Stop if refused => "refusal",
        Finish::Stop if stop.is_some() => "stop_sequence",
        Finish::Stop => "end_turn",
        Finish::Length => "max_tokens",
        Finish::ToolCalls => "tool_use",
        Finish::Filtered => "refusal",
    }
}

/// Anthropic's input tokens leave out what its cache holds.
pub(super) fn usage(usage: Usage) -> Value {
    let cached = usage.input_cached.saturating_add(usage.input_written);
    json!({
        "input_tokens": usage.input.saturating_sub(cached),
        "cache_creation_input_tokens": usage.input_written,
        "cache_read_input_tokens": usage.input_cached,
        "output_tokens": usage.output,
    })
}

pub(super) fn call_id(id: Option<String>, naming: &Naming, index: u32) -> String {
    id.unwrap_or_else(|| format!("toolu_{}_{index}", naming.id))
}

/// The whole answer as one body.
pub(super) fn body(folded: Folded, mut naming: Naming) -> Value {
    let Folded { id, model, mut choices, usage: used, .. } = folded;
    naming.take(id, model);
    let choice = choices.remove(&0).unwrap_or_default();
    let refused = choice.is_refusal();
    let Choice { pieces, finish, stop, .. } = choice;
    let content: Vec<Value> =
        pieces.into_iter().filter_map(|piece| block(piece, &naming)).collect();
    json!({
        "id": naming.id,
        "type": "message",
        "role": "assistant",
        "model": naming.model,
        "content": content,
        "stop_reason": finish.map(|finish| stop_reason(finish, stop.as_deref(), refused)),
        "stop_sequence": stop,
        "usage": usage(used.unwrap_or_default()),
    })
}

fn block(piece: Piece, naming: &Naming) -> Option<Value> {
    match piece {
        // A client may not send an empty text back.
        Piece::Text(text) | Piece::Refusal(text) => {
            (!text.is_empty()).then(|| json!({"type": "text", "text": text}))
        }
        Piece::Thinking { text, signature } => {
            let signature = signature.unwrap_or_default();
            Some(json!({"type": "thinking", "thinking": text, "signature": signature}))
        }
        Piece::Call { index, id, name, arguments } => Some(json!({
            "type": "tool_use",
            "id": call_id(id, naming, index),
            "name": name.unwrap_or_default(),
            "input": input(arguments),
        })),
    }
}

/// A model may write what is no JSON; its words are told as they are then.
fn input(arguments: String) -> Value {
    if arguments.trim().is_empty() {
        return json!({});
    }
    serde_json::from_str(&arguments).unwrap_or(Value::String(arguments))
}
