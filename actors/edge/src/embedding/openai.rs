//! `/v1/embeddings` and `/v1/models` in OpenAI's shape.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use headwater_actors::embedding::{
    EmbedCall, Embedded, ModelCard, OutputFormat, Pool, Quantised, Task,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::input::InputField;
use super::{
    check_dimensions, check_format, check_purpose, check_task, embed, find_model, name_server,
    render,
};
use crate::body::read_json;
use crate::error::{ApiError, Shape};
use crate::identity::Grant;
use crate::router::Edge;

const MODEL_VERSION: HeaderName = HeaderName::from_static("x-headwater-model-version");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmbeddingsRequest {
    model: String,
    input: InputField,
    dimensions: Option<usize>,
    encoding_format: Option<String>,
    /// OpenAI's name of an end user; accepted and not used.
    #[serde(rename = "user")]
    _user: Option<String>,
    /// Cut long inputs and mark them, instead of refusing the request.
    truncate: Option<bool>,
    /// `query` or `document`: puts the model's prefix before every text.
    input_type: Option<String>,
}

#[derive(Serialize)]
struct EmbeddingsResponse<'a> {
    object: &'static str,
    data: Vec<EmbeddingObject>,
    model: &'a str,
    /// The fingerprint of everything that shaped these vectors.
    model_version: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct EmbeddingObject {
    object: &'static str,
    index: usize,
    embedding: Numbers,
    /// Only there when the input was cut.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Numbers {
    Float(Vec<f32>),
    Base64(String),
    Int8(Vec<i8>),
    Ubinary(Vec<u8>),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// `POST /v1/embeddings`
pub(crate) async fn embeddings(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    body: Body,
) -> Response {
    match answer(&edge, &grant, body).await {
        Ok(response) => response,
        Err(error) => error.respond(Shape::OpenAi),
    }
}

async fn answer(edge: &Edge, grant: &Grant, body: Body) -> Result<Response, ApiError> {
    let request: EmbeddingsRequest = read_json(body, &edge.settings).await?;
    let model = find_model(edge, grant, &request.model)?;
    check_task(&model, Task::Embed)?;
    let format = check_format(request.encoding_format.as_deref())?;
    let dimensions = check_dimensions(&model, request.dimensions)?;
    let purpose = check_purpose("input_type", request.input_type.as_deref())?;
    let truncate = request.truncate.unwrap_or(false);
    let call = EmbedCall { inputs: request.input.0, purpose, truncate, pool: Pool::Query };
    let embedded = embed(edge, grant, &model, call, "input").await?;
    Ok(respond(model.card(), embedded, dimensions, format))
}

fn respond(
    card: &ModelCard,
    embedded: Embedded,
    dimensions: usize,
    format: OutputFormat,
) -> Response {
    let Embedded { vectors, tokens, truncated, served_by, cached: _ } = embedded;
    let total_tokens = tokens.iter().sum();
    let object = |(index, vector): (usize, Vec<f32>)| EmbeddingObject {
        object: "embedding",
        index,
        embedding: match render(vector, dimensions, format, card.normalise) {
            Quantised::Float(values) => Numbers::Float(values),
            Quantised::Bytes(bytes) => Numbers::Base64(STANDARD.encode(bytes)),
            Quantised::Int8(values) => Numbers::Int8(values),
            Quantised::Ubinary(bytes) => Numbers::Ubinary(bytes),
        },
        truncated: truncated.binary_search(&index).is_ok(),
    };
    let mut response = axum::Json(EmbeddingsResponse {
        object: "list",
        data: vectors.into_iter().enumerate().map(object).collect(),
        model: &card.name,
        model_version: &card.fingerprint,
        usage: Usage { prompt_tokens: total_tokens, total_tokens },
    })
    .into_response();
    if let Ok(version) = HeaderValue::from_str(&card.fingerprint) {
        response.headers_mut().insert(MODEL_VERSION, version);
    }
    name_server(&mut response, served_by.as_deref());
    response
}

/// `GET /v1/models`: the models that the caller may use.
pub(crate) async fn models(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
) -> Response {
    let cards = edge.embedding.cards();
    let allowed = cards.iter().filter(|card| grant.allows(&card.name));
    let data: Vec<Value> = allowed.map(|card| describe(card)).collect();
    axum::Json(json!({"object": "list", "data": data})).into_response()
}

/// `GET /v1/models/{model}`; the name may hold slashes.
pub(crate) async fn model(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    name: Result<Path<String>, PathRejection>,
) -> Response {
    let Ok(Path(name)) = name else {
        return ApiError::unreadable_path().respond(Shape::OpenAi);
    };
    match find_model(&edge, &grant, &name) {
        Ok(model) => axum::Json(describe(model.card())).into_response(),
        Err(error) => error.respond(Shape::OpenAi),
    }
}

fn describe(card: &ModelCard) -> Value {
    json!({
        "id": card.name,
        "object": "model",
        "created": 0,
        "owned_by": "headwater",
        "model_version": card.fingerprint,
        "task": card.task.name(),
        "images": card.images,
        "dimensions": card.dimensions,
        "matryoshka_dimensions": super::places(&card.matryoshka_dimensions),
        "max_tokens": card.max_tokens,
        "pooling": card.pooling.name(),
        "normalised": card.normalise,
    })
}
