//! Runs and their events as clients read them.

use bytes::Bytes;
use headwater_actors::tools::{RunEvent, RunMessage, RunNotice, RunTold};
use serde_json::{Value, json};

pub(super) fn run(told: &RunTold) -> Value {
    let approval = |(call, approval): &(String, String)| json!({"call": call, "id": approval});
    json!({
        "object": "agent.run",
        "id": told.id,
        "model": told.model,
        "session": told.session,
        "state": told.state.name(),
        "finish": told.finish.map(|finish| finish.name()),
        "output": told.output,
        "steps": told.steps,
        "cost_microdollars": told.cost_microdollars,
        "approvals": told.approvals.iter().map(approval).collect::<Vec<_>>(),
        "tools": told.tools,
        "created_ms": told.created_ms,
        "deadline_ms": told.deadline_ms,
        "ended_ms": told.ended_ms,
    })
}

pub(super) fn message(message: &RunMessage) -> Value {
    match message {
        RunMessage::System { text } => json!({"role": "system", "content": text}),
        RunMessage::User { text } => json!({"role": "user", "content": text}),
        RunMessage::Note { text } => json!({"role": "note", "content": text}),
        RunMessage::Assistant { text, calls } => {
            let call = |call: &headwater_actors::tools::ToolRequest| json!({"call": call.id, "tool": call.name, "arguments": arguments(&call.arguments)});
            let calls: Vec<Value> = calls.iter().map(call).collect();
            json!({"role": "assistant", "content": text, "calls": calls})
        }
        RunMessage::Tool { call, name, text, is_error, .. } => {
            json!({
                "role": "tool",
                "call": call,
                "tool": name,
                "content": text,
                "is_error": is_error,
            })
        }
    }
}

/// As JSON, or the text that the model wrote instead.
fn arguments(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

/// The event's name, and what it has beside the run and its place.
fn parts(event: &RunEvent) -> (&'static str, Value) {
    match &event.notice {
        RunNotice::Began { .. } => ("began", json!({})),
        RunNotice::Recovered { step } => ("recovered", json!({"step": step})),
        RunNotice::Asking { step } => ("asking", json!({"step": step})),
        RunNotice::Said { step, text } => ("said", json!({"step": step, "text": text})),
        RunNotice::Calling { call, name, arguments: text } => {
            ("calling", json!({"call": call, "tool": name, "arguments": arguments(text)}))
        }
        RunNotice::CallEnded { call, name, is_error } => {
            ("call_ended", json!({"call": call, "tool": name, "is_error": is_error}))
        }
        RunNotice::ApprovalNeeded { call, approval } => {
            ("approval_needed", json!({"call": call, "approval": approval}))
        }
        RunNotice::Warned { text } => ("warned", json!({"text": text})),
        RunNotice::Finished { reason, text } => {
            let (steps, cost) = (event.steps, event.cost_microdollars);
            let told = json!({
                "finish": reason.name(),
                "output": text,
                "steps": steps,
                "cost_microdollars": cost,
            });
            ("finished", told)
        }
    }
}

/// One server-sent event. Its id is told with the last event of an entry, so that a client that goes
/// on behind an id misses none.
pub(super) fn event(run: &str, event: &RunEvent) -> Bytes {
    let (kind, mut data) = parts(event);
    data["type"] = kind.into();
    data["run"] = run.into();
    data["index"] = event.index.into();
    let id = if event.is_last { format!("id: {}\n", event.index) } else { String::new() };
    format!("event: {kind}\n{id}data: {data}\n\n").into()
}

/// The stream breaks off; the run goes on.
pub(super) fn failed(error: &Value) -> Bytes {
    let mut data = error.clone();
    data["type"] = "error".into();
    format!("event: error\ndata: {data}\n\n").into()
}
