//! `POST /v1/completions`: OpenAI's older form, a text that goes on. Chat models answer it as the
//! words of a user.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use headwater_actors::gateway::{
    ChatEvent, ChatRequest, Chunk, GatewayError, Message, Role, Usage,
};
use serde_json::{Map, Value, json};

use super::answer::{finish_reason, usage};
use super::request::{include_usage, sampling};
use crate::body::read_json;
use crate::chat::fields::Fields;
use crate::chat::fold::{Choice, Folded, Piece};
use crate::chat::sse::{self, Writer};
use crate::chat::{Naming, ask, folded, gateway, now_s};
use crate::error::{ApiError, Shape, respond};
use crate::identity::Grant;
use crate::router::Edge;

const ROUTE: &str = "/v1/completions";

/// `POST /v1/completions`
pub(crate) async fn completions(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answer = async {
        let gateway = gateway(&edge)?;
        let sent: Map<String, Value> = read_json(body, &edge.settings).await?;
        let fields = Fields::root(&sent);
        let request = read(&fields)?;
        let (stream, include_usage) = (request.stream, include_usage(&fields)?);
        let begun = ask(gateway, &grant, ROUTE, &headers, request).await?;
        let mut naming = Naming::new("cmpl-", &begun.served);
        if stream {
            let writer = LegacyWriter { naming, created_s: now_s(), include_usage, usage: None };
            return Ok(sse::respond(begun, writer));
        }
        folded(begun, |answer| whole(answer, &mut naming)).await
    };
    respond(answer.await)
}

fn read(fields: &Fields) -> Result<ChatRequest, ApiError> {
    let model = fields.name("model")?;
    let prompt = fields.required("prompt", "a string")?;
    // A list of one is what some clients make of a string.
    let prompt = match prompt.as_array().map(Vec::as_slice) {
        Some([one]) => one.as_str(),
        Some(_) => None,
        None => prompt.as_str(),
    };
    let prompt = prompt.ok_or_else(|| fields.refuse("prompt", "a string, or a list of one"))?;
    let mut request = ChatRequest::new(model, vec![Message::text(Role::User, prompt)]);
    if fields.text("suffix")?.is_some_and(|suffix| !suffix.is_empty()) {
        return Err(fields.refuse("suffix", "left out; chat models write no middles"));
    }
    if fields.flag("echo")?.unwrap_or(false) {
        return Err(fields.refuse("echo", "false or left out"));
    }
    if fields.get("logprobs").is_some() {
        let allowed = "left out; ask /v1/chat/completions for probabilities";
        return Err(fields.refuse("logprobs", allowed));
    }
    fields.whole("best_of", 1, 1)?;
    request.sampling = sampling(fields)?;
    request.max_tokens = fields.whole("max_tokens", 1, u64::MAX)?;
    request.choices = fields.whole("n", 1, 128)?.unwrap_or(1) as u32;
    request.user = fields.text("user")?.map(str::to_owned);
    request.stream = fields.flag("stream")?.unwrap_or(false);
    Ok(request)
}

fn whole(folded: Folded, naming: &mut Naming) -> Value {
    let Folded { id, model, choices, usage: used, .. } = folded;
    naming.take(id, model);
    let choices: Vec<Value> = choices
        .into_iter()
        .map(|(index, Choice { pieces, finish, .. })| {
            let said = pieces.into_iter().filter_map(|piece| match piece {
                Piece::Text(text) | Piece::Refusal(text) => Some(text),
                _ => None,
            });
            choice(index, &said.collect::<String>(), finish.map(finish_reason))
        })
        .collect();
    let mut body = body_of(naming, now_s(), Value::from(choices));
    body["usage"] = Value::from(used.map(usage));
    body
}

fn choice(index: u32, text: &str, finish: Option<&str>) -> Value {
    json!({"index": index, "text": text, "logprobs": null, "finish_reason": finish})
}

fn body_of(naming: &Naming, created_s: u64, choices: Value) -> Value {
    json!({
        "id": naming.id,
        "object": "text_completion",
        "created": created_s,
        "model": naming.model,
        "choices": choices,
    })
}

struct LegacyWriter {
    naming: Naming,
    created_s: u64,
    include_usage: bool,
    usage: Option<Usage>,
}

impl LegacyWriter {
    fn write(&self, choice: Value, out: &mut String) {
        let body = body_of(&self.naming, self.created_s, json!([choice]));
        sse::event(None, &body.to_string(), out);
    }
}

impl Writer for LegacyWriter {
    fn chunk(&mut self, chunk: Chunk, out: &mut String) -> Result<(), GatewayError> {
        for event in chunk.events {
            match event {
                ChatEvent::Started { id, model } => self.naming.take(id, model),
                ChatEvent::Text { choice: index, text }
                | ChatEvent::Refusal { choice: index, text } => {
                    self.write(choice(index, &text, None), out);
                }
                ChatEvent::Finished { choice: index, reason, .. } => {
                    self.write(choice(index, "", Some(finish_reason(reason))), out);
                }
                ChatEvent::Usage(usage) => self.usage = Some(usage),
                // The form has no words for thoughts and calls, and offers the model no tools.
                ChatEvent::Thinking { .. }
                | ChatEvent::ToolCall { .. }
                | ChatEvent::Logprobs { .. }
                // No chat asks for them.
                | ChatEvent::Vectors { .. } => {}
            }
        }
        Ok(())
    }

    fn end(&mut self, out: &mut String) {
        if self.include_usage
            && let Some(used) = self.usage
        {
            let mut body = body_of(&self.naming, self.created_s, json!([]));
            body["usage"] = usage(used);
            sse::event(None, &body.to_string(), out);
        }
        sse::event(None, "[DONE]", out);
    }

    fn error(&mut self, error: ApiError, out: &mut String) {
        sse::event(None, &error.body(Shape::OpenAi).to_string(), out);
    }
}
