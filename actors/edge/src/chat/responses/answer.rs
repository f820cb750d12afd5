//! A response as one body, and its items, which a stream shares with it.

use headwater_actors::gateway::{Finish, Usage};
use serde_json::{Value, json};

use crate::chat::fold::{Folded, Piece};
use crate::chat::{Naming, now_s};

/// A whole response.
pub(super) fn body(folded: Folded, naming: &Naming) -> Value {
    let Folded { model, mut choices, usage: used, .. } = folded;
    let choice = choices.remove(&0).unwrap_or_default();
    let pieces = choice.pieces.iter().enumerate();
    let output: Vec<Value> = pieces.map(|(at, piece)| item(at as u64, piece, naming)).collect();
    let mut body = head(naming, now_s());
    if let Some(model) = model {
        body["model"] = Value::from(model);
    }
    finish(&mut body, output, choice.finish, used);
    body
}

/// A response that has just begun.
pub(super) fn head(naming: &Naming, created_s: u64) -> Value {
    json!({
        "id": naming.id,
        "object": "response",
        "created_at": created_s,
        "status": "in_progress",
        "error": null,
        "incomplete_details": null,
        "model": naming.model,
        "output": [],
        "store": false,
        "usage": null,
    })
}

/// Puts the end into a response that has begun.
pub(super) fn finish(
    body: &mut Value,
    output: Vec<Value>,
    finish: Option<Finish>,
    used: Option<Usage>,
) {
    let reason = match finish {
        Some(Finish::Length) => Some("max_output_tokens"),
        Some(Finish::Filtered) => Some("content_filter"),
        _ => None,
    };
    body["status"] = Value::from(if reason.is_some() { "incomplete" } else { "completed" });
    body["incomplete_details"] = reason.map_or(Value::Null, |reason| json!({"reason": reason}));
    body["output"] = Value::from(output);
    body["usage"] = Value::from(used.map(usage));
}

fn usage(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.input_cached},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input.saturating_add(usage.output),
    })
}

/// What an item of the output is called.
pub(super) fn item_id(at: u64, naming: &Naming) -> String {
    format!("item_{at}_{}", naming.id)
}

/// An item of the output that is whole.
pub(super) fn item(at: u64, piece: &Piece, naming: &Naming) -> Value {
    let id = item_id(at, naming);
    let spoken = |part: Value| {
        json!({
            "type": "message",
            "id": id,
            "status": "completed",
            "role": "assistant",
            "content": [part],
        })
    };
    match piece {
        Piece::Text(_) | Piece::Refusal(_) => spoken(part(piece)),
        Piece::Thinking { .. } => json!({"type": "reasoning", "id": id, "summary": [part(piece)]}),
        Piece::Call { id: call, name, arguments, .. } => json!({
            "type": "function_call",
            "id": id,
            "call_id": call.as_ref().unwrap_or(&id),
            "name": name,
            "arguments": arguments,
            "status": "completed",
        }),
    }
}

/// The part that an item has; null for a call, which has none.
pub(super) fn part(piece: &Piece) -> Value {
    match piece {
        Piece::Text(text) => json!({"type": "output_text", "text": text, "annotations": []}),
        Piece::Refusal(text) => json!({"type": "refusal", "refusal": text}),
        Piece::Thinking { text, .. } => json!({"type": "summary_text", "text": text}),
        Piece::Call { .. } => Value::Null,
    }
}
