//! `/v1/embeddings` for an alias of the gateway: some provider makes the vectors, within the same
//! quotas, redaction, cache, prices and audit as chats.

use axum::http::HeaderMap;
use axum::response::Response;
use headwater_actors::embedding::Inputs;
use headwater_actors::gateway::{Body, ChatRequest, Message, Protocol, Role, Sampling};
use serde_json::{Map, Value, json};

use super::openai::{EmbeddingsRequest, ROUTE};
use crate::chat;
use crate::error::ApiError;
use crate::identity::Grant;
use crate::router::Edge;

/// A field that providers do not know, and why it is refused.
const OWN_FIELDS: [(&str, &str); 2] = [
    ("truncate", "is for encoders of this platform; the provider cuts or refuses as it does"),
    ("input_type", "is for encoders of this platform; put the prefix before the texts"),
];

pub(super) async fn answer(
    edge: &Edge,
    grant: &Grant,
    headers: &HeaderMap,
    request: EmbeddingsRequest,
) -> Result<Response, ApiError> {
    let asked = chat_of(request)?;
    let gateway = chat::gateway(edge)?;
    let answer = chat::ask(gateway, grant, ROUTE, headers, asked).await?;
    chat::folded(answer, |folded| {
        let input = folded.usage.map_or(0, |usage| usage.input);
        json!({
            "object": "list",
            "data": folded.vectors,
            "model": folded.model,
            "usage": {"prompt_tokens": input, "total_tokens": input},
        })
    })
    .await
}

/// The texts as messages, one each.
fn chat_of(request: EmbeddingsRequest) -> Result<ChatRequest, ApiError> {
    let own = [request.truncate.is_some(), request.input_type.is_some()];
    for ((field, why), is_sent) in OWN_FIELDS.into_iter().zip(own) {
        if is_sent {
            return Err(ApiError::invalid(field, "invalid_field", format!("{field} {why}")));
        }
    }
    let Inputs::Texts(texts) = request.input.0 else {
        let message = "input must be a text or a list of texts for this model".to_owned();
        return Err(ApiError::invalid("input", "invalid_input", message));
    };
    if texts.is_empty() || texts.iter().any(String::is_empty) {
        let message = "input holds an empty text or none; send at least one text".to_owned();
        return Err(ApiError::invalid("input", "empty_input", message));
    }
    let fields: Map<String, Value> = [
        ("dimensions", request.dimensions.map(Value::from)),
        ("encoding_format", request.encoding_format.map(Value::from)),
        ("service_tier", request.service_tier.map(Value::from)),
        ("user", request.user.clone().map(Value::from)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect();
    let messages = texts.into_iter().map(|text| Message::text(Role::User, text)).collect();
    let protocol = Protocol::OpenAiEmbeddings;
    Ok(ChatRequest {
        body: Some(Body { protocol, fields, headers: Vec::new() }),
        // The same texts have the same vectors, and no output is paid for.
        sampling: Sampling { temperature: Some(0.0), ..Sampling::default() },
        max_tokens: Some(0),
        user: request.user,
        ..ChatRequest::new(request.model, messages)
    })
}
