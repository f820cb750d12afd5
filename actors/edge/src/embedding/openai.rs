//! `/v1/embeddings` and `/v1/models` in OpenAI's shape.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use headwater_actors::embedding::{
    EmbedCall, Embedded, Learnt, ModelCard, OutputFormat, Phase, Pool, Quantised, Task,
    fixed_range, quantise, shorten,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::input::InputField;
use super::{
    Asked, CANARY_KEY, check_dimensions, check_format, check_purpose, check_task, embed,
    find_model, name_cached, name_server, remote,
};
use crate::body::read_json;
use crate::chat;
use crate::error::{ApiError, Shape};
use crate::identity::Grant;
use crate::router::Edge;

pub(super) const ROUTE: &str = "/v1/embeddings";
const MODEL_VERSION: HeaderName = HeaderName::from_static("x-headwater-model-version");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EmbeddingsRequest {
    pub(super) model: String,
    pub(super) input: InputField,
    pub(super) dimensions: Option<usize>,
    pub(super) encoding_format: Option<String>,
    /// OpenAI's name of an end user.
    pub(super) user: Option<String>,
    /// Cut long inputs and mark them, instead of refusing the request.
    pub(super) truncate: Option<bool>,
    /// `query` or `document`: puts the model's prefix before every text.
    pub(super) input_type: Option<String>,
    /// `flex` is bulk work, which makes way for everybody else's.
    pub(super) service_tier: Option<String>,
}

#[derive(Serialize)]
struct EmbeddingsResponse<'a> {
    object: &'static str,
    data: Vec<EmbeddingObject>,
    model: &'a str,
    /// The fingerprint of everything that shaped these vectors.
    model_version: &'a str,
    /// The tier that the request had.
    service_tier: &'static str,
    usage: Usage,
    /// What `int8` is scaled by: `fixed`, or the id of the version's calibration.
    #[serde(skip_serializing_if = "Option::is_none")]
    calibration: Option<String>,
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
    Signed(Vec<i8>),
    Unsigned(Vec<u8>),
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
    headers: HeaderMap,
    body: Body,
) -> Response {
    match answer(&edge, &grant, &headers, body).await {
        Ok(response) => response,
        Err(error) => error.respond(Shape::OpenAi),
    }
}

async fn answer(
    edge: &Edge,
    grant: &Grant,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let request: EmbeddingsRequest = read_json(body, &edge.settings).await?;
    let key = headers.get(CANARY_KEY).and_then(|key| key.to_str().ok());
    // Encoders go first; they are looked up twice only where the gateway has the name, too.
    if chat::serves(edge, &request.model)
        && edge.embedding.find(&request.model, key.unwrap_or(&grant.tenant)).is_err()
    {
        return remote::answer(edge, grant, headers, request).await;
    }
    let model = find_model(edge, grant, &request.model, key)?;
    check_task(&model, Task::Embed)?;
    let pool = check_tier(request.service_tier.as_deref())?;
    let format = check_format(request.encoding_format.as_deref())?;
    let dimensions = check_dimensions(&model, request.dimensions)?;
    let purpose = check_purpose("input_type", request.input_type.as_deref())?;
    let truncate = request.truncate.unwrap_or(false);
    let call = EmbedCall { inputs: request.input.0, purpose, truncate, pool };
    let trace_parent = chat::trace_parent(headers);
    let model_asked = &request.model;
    let asked = Asked { route: ROUTE, model: model_asked, param: "input", trace_parent };
    let embedded = embed(edge, grant, &model, call, asked).await?;
    Ok(respond(edge, model.card(), embedded, dimensions, format, pool).await)
}

/// OpenAI's names of service levels. There is one pool for those that wait for an answer, so
/// `priority` buys nothing that `default` has not.
fn check_tier(name: Option<&str>) -> Result<Pool, ApiError> {
    match name {
        None | Some("auto" | "default" | "priority") => Ok(Pool::Query),
        Some("flex") => Ok(Pool::Ingest),
        Some(other) => {
            let message = format!(
                "service_tier is '{other}'; allowed are auto, default, priority and flex (bulk \
                 work, which makes way for the others)"
            );
            Err(ApiError::invalid("service_tier", "invalid_field", message))
        }
    }
}

/// The tier that a pool is.
fn tier_of(pool: Pool) -> &'static str {
    match pool {
        Pool::Query => "default",
        Pool::Ingest => "flex",
    }
}

async fn respond(
    edge: &Edge,
    card: &ModelCard,
    embedded: Embedded,
    dimensions: usize,
    format: OutputFormat,
    pool: Pool,
) -> Response {
    let Embedded { mut vectors, tokens, truncated, served_by, cached } = embedded;
    let total_tokens = tokens.iter().sum();
    for vector in &mut vectors {
        shorten(vector, dimensions, card.normalise);
    }
    edge.embedding.observe(card, &vectors);
    let scaled = format == OutputFormat::Int8;
    let learnt = match scaled {
        true => edge.embedding.calibration(card, dimensions).await,
        false => None,
    };
    let ranges = learnt.as_deref().map(|learnt| &learnt.calibration);
    let object = |(index, vector): (usize, Vec<f32>)| EmbeddingObject {
        object: "embedding",
        index,
        embedding: match quantise(vector, format, ranges) {
            Quantised::Float(values) => Numbers::Float(values),
            Quantised::Bytes(bytes) => Numbers::Base64(STANDARD.encode(bytes)),
            Quantised::Signed(values) => Numbers::Signed(values),
            Quantised::Unsigned(bytes) => Numbers::Unsigned(bytes),
        },
        truncated: truncated.binary_search(&index).is_ok(),
    };
    let mut response = axum::Json(EmbeddingsResponse {
        object: "list",
        data: vectors.into_iter().enumerate().map(object).collect(),
        model: &card.name,
        model_version: &card.fingerprint,
        service_tier: tier_of(pool),
        usage: Usage { prompt_tokens: total_tokens, total_tokens },
        calibration: scaled.then(|| named(learnt.as_deref())),
    })
    .into_response();
    if let Ok(version) = HeaderValue::from_str(&card.fingerprint) {
        response.headers_mut().insert(MODEL_VERSION, version);
    }
    name_cached(&mut response, cached, tokens.len());
    name_server(&mut response, served_by.as_deref());
    response
}

fn named(learnt: Option<&Learnt>) -> String {
    learnt.map_or_else(|| "fixed".to_owned(), |learnt| learnt.id.clone())
}

/// `GET /v1/models`: the models that the caller may use.
pub(crate) async fn models(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
) -> Response {
    let cards = edge.embedding.cards();
    let allowed = cards.iter().filter(|card| grant.allows(&card.name));
    let mut data: Vec<Value> = allowed.map(|card| describe(&edge, card)).collect();
    let is_encoder = |name: &str| cards.iter().any(|card| card.name == name);
    let chats = chat::served(&edge, &grant);
    data.extend(chats.iter().filter(|chat| !is_encoder(&chat.name)).map(chat::describe));
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
    match (find_model(&edge, &grant, &name, None), name.strip_suffix(CALIBRATION)) {
        (Ok(model), _) => axum::Json(describe(&edge, model.card())).into_response(),
        (Err(error), None) => {
            match chat::served(&edge, &grant).iter().find(|model| model.name == name) {
                Some(model) => axum::Json(chat::describe(model)).into_response(),
                None => error.respond(Shape::OpenAi),
            }
        }
        (Err(_), Some(name)) => match find_model(&edge, &grant, name, None) {
            Ok(model) => calibration(&edge, model.card()).await,
            Err(error) => error.respond(Shape::OpenAi),
        },
    }
}

/// The end of `GET /v1/models/{model}/calibration`, which tells how `int8` is read: a component is
/// `low + (code + 128) * (high - low) / 255`.
const CALIBRATION: &str = "/calibration";

async fn calibration(edge: &Edge, card: &ModelCard) -> Response {
    let mut ranges = Vec::new();
    for dimensions in card.matryoshka_dimensions.iter().copied().chain([card.dimensions]) {
        let learnt = edge.embedding.calibration(card, dimensions).await;
        let (low, high) = fixed_range();
        ranges.push(match learnt.as_deref() {
            Some(learnt) => json!({
                "calibration": learnt.id,
                "dimensions": dimensions,
                "sampled": learnt.sampled,
                "low": learnt.calibration.low(),
                "high": learnt.calibration.high(),
            }),
            None => json!({
                "calibration": named(None),
                "dimensions": dimensions,
                "sampled": 0,
                "low": vec![low; dimensions],
                "high": vec![high; dimensions],
            }),
        });
    }
    let body = json!({
        "object": "list",
        "model": card.name,
        "model_version": card.fingerprint,
        "data": ranges,
    });
    axum::Json(body).into_response()
}

pub(super) fn describe(edge: &Edge, card: &ModelCard) -> Value {
    let status = edge.embedding.status(&card.name);
    // What only other nodes serve is served.
    let state = status.phase.unwrap_or(Phase::Serving).name();
    let replicas = |pool: Pool| {
        let (live, wanted) = status.replicas[pool.index()];
        json!({"live": live, "wanted": wanted})
    };
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
        "arithmetic": card.arithmetic,
        "state": state,
        "here": status.phase.is_some(),
        "replicas": {
            "query": replicas(Pool::Query),
            "ingest": replicas(Pool::Ingest),
        },
    })
}
