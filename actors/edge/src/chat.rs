//! The routes of chats: what clients of all protocols have in common.

pub(crate) mod anthropic;
mod error;
mod fields;
mod fold;
pub(crate) mod openai;
mod prompt;
pub(crate) mod responses;
mod sse;

use std::future::poll_fn;
use std::pin::Pin;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use futures_core::Stream;
use headwater_actors::gateway::{
    Answer, AnswerStream, Ask, CacheWish, Cached, Caller, ChatRequest, Chunk, GatewayError,
    GatewayHandle, PromptUse, Protocol, Served, ServedModel, TraceParent,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::embedding::CANARY_KEY;
use crate::error::ApiError;
use crate::identity::Grant;
use crate::router::Edge;
use crate::standing::name_standing;
pub(crate) use fold::Folded;
pub(crate) use sse::event_stream;

/// The model that answered, as its backend calls it.
const MODEL: HeaderName = HeaderName::from_static("x-headwater-model");
const BACKEND: HeaderName = HeaderName::from_static("x-headwater-backend");
/// `hit` for an answer that was given before, `near` for one to a question in other words, `miss`
/// for one that might have been.
const CACHE: HeaderName = HeaderName::from_static("x-headwater-cache");
/// Cosine of both questions' vectors, with `near`.
const SIMILARITY: HeaderName = HeaderName::from_static("x-headwater-cache-similarity");
/// `true` takes such an answer even where the model would draw another.
const PREFER_CACHED: HeaderName = HeaderName::from_static("x-prefer-cached");
/// Tries before the one that answered.
const RETRIES: HeaderName = HeaderName::from_static("x-headwater-retries");

/// The gateway of a node that has backends.
pub(crate) fn gateway(edge: &Edge) -> Result<&GatewayHandle, ApiError> {
    edge.gateway.as_ref().ok_or_else(ApiError::no_gateway)
}

/// The chat models that the caller may use.
pub(crate) fn served(edge: &Edge, grant: &Grant) -> Vec<ServedModel> {
    let models = edge.gateway.as_ref().map(GatewayHandle::models).unwrap_or_default();
    models.into_iter().filter(|model| grant.allows(&model.name)).collect()
}

/// Whether the gateway has an alias of this name.
pub(crate) fn serves(edge: &Edge, name: &str) -> bool {
    edge.gateway.as_ref().is_some_and(|gateway| gateway.has(name))
}

/// A chat model in the list of models.
pub(crate) fn describe(model: &ServedModel) -> Value {
    json!({
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": model.backends.first(),
        "task": "chat",
    })
}

/// Asks, and waits until the answer begins, as the gateway does, so that whatever goes wrong
/// before is told with a status. A name that the token does not allow is refused before it is
/// looked up.
pub(crate) async fn ask(
    gateway: &GatewayHandle,
    grant: &Grant,
    route: &'static str,
    headers: &HeaderMap,
    request: ChatRequest,
) -> Result<Answer, ApiError> {
    ask_with(gateway, grant, route, headers, request, None).await
}

/// The same for a request that may be made of a prompt.
pub(crate) async fn ask_with(
    gateway: &GatewayHandle,
    grant: &Grant,
    route: &'static str,
    headers: &HeaderMap,
    mut request: ChatRequest,
    prompt: Option<PromptUse>,
) -> Result<Answer, ApiError> {
    let own = headers.get(CANARY_KEY).and_then(|key| key.to_str().ok());
    let key = own.or(request.user.as_deref()).unwrap_or(&grant.tenant).to_owned();
    if let Some(body) = &mut request.body {
        body.headers = provider_headers(headers);
    }
    let id = Uuid::now_v7().to_string();
    let (caller, cache) = (caller(grant), cache_wish(headers));
    let trace_parent = trace_parent(headers);
    let ask = Ask { id, caller, route, key, cache, trace_parent, prompt, request };
    if let Err(refusal) = check_allowed(grant, &ask.request.model) {
        gateway.record_refusal(&ask);
        return Err(refusal);
    }
    gateway.chat(ask).await.map_err(|error| told(grant, error))
}

/// Who asks, as records have it.
pub(crate) fn caller(grant: &Grant) -> Caller {
    let Grant { tenant, project, user, key_id, .. } = grant.clone();
    Caller { tenant, project, user, key_id }
}

/// The client's place in a trace (W3C Trace Context); one that is none counts as absent.
pub(crate) fn trace_parent(headers: &HeaderMap) -> Option<TraceParent> {
    TraceParent::read(headers.get("traceparent")?.to_str().ok()?)
}

/// Headers that change what a provider does, and no other's business.
const PROVIDER_HEADERS: &[&str] = &["anthropic-beta", "openai-beta"];

/// Those of them that an upstream of the client's own protocol gets.
fn provider_headers(headers: &HeaderMap) -> Vec<(&'static str, String)> {
    let values = |name: &&'static str| {
        let values = headers.get_all(*name).iter().filter_map(|value| value.to_str().ok());
        let joined = values.collect::<Vec<_>>().join(",");
        (!joined.is_empty()).then_some((*name, joined))
    };
    PROVIDER_HEADERS.iter().filter_map(values).collect()
}

/// What the client says of answers that were given before.
fn cache_wish(headers: &HeaderMap) -> CacheWish {
    let values = headers.get_all(header::CACHE_CONTROL).iter();
    let said: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
    let prefers = headers.get(PREFER_CACHED).is_some_and(|value| {
        value.to_str().is_ok_and(|value| value.trim().eq_ignore_ascii_case("true"))
    });
    CacheWish::read(&said.join(","), prefers)
}

fn check_allowed(grant: &Grant, model: &str) -> Result<(), ApiError> {
    if grant.allows(model) { Ok(()) } else { Err(ApiError::model_not_allowed(model)) }
}

/// A caller learns the names that it may use alone.
fn told(grant: &Grant, mut error: GatewayError) -> ApiError {
    if let GatewayError::UnknownModel { known, .. } = &mut error {
        known.retain(|name| grant.allows(name));
    }
    ApiError::from_gateway(error)
}

async fn next(chunks: &mut AnswerStream) -> Result<Option<Chunk>, ApiError> {
    let next = poll_fn(|context| Pin::new(&mut *chunks).poll_next(context)).await;
    next.transpose().map_err(ApiError::from_gateway)
}

/// An answer that is told at once: in the backend's own words when they are the client's protocol,
/// else made of what they mean.
async fn whole(
    answer: Answer,
    protocol: Protocol,
    render: impl FnOnce(Folded) -> Value,
) -> Result<Response, ApiError> {
    let Answer { served, mut chunks, .. } = answer;
    let (mut folded, mut own, mut count) = (Folded::default(), None, 0u32);
    while let Some(Chunk { said, events }) = next(&mut chunks).await? {
        count = count.saturating_add(1);
        own = said.filter(|said| said.protocol == protocol && said.event.is_none());
        for event in events {
            folded.add(event);
        }
    }
    let body = match own {
        Some(said) if count == 1 => said.data,
        _ => render(folded).to_string(),
    };
    Ok(whole_body(body, &served))
}

/// An answer that is told at once in a protocol that no backend speaks.
pub(crate) async fn folded(
    answer: Answer,
    render: impl FnOnce(Folded) -> Value,
) -> Result<Response, ApiError> {
    let Answer { served, mut chunks, .. } = answer;
    let mut folded = Folded::default();
    while let Some(chunk) = next(&mut chunks).await? {
        chunk.events.into_iter().for_each(|event| folded.add(event));
    }
    Ok(whole_body(render(folded).to_string(), &served))
}

fn whole_body(body: String, served: &Served) -> Response {
    let mut response = Response::new(Body::from(body));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    name_served(response.headers_mut(), served);
    response
}

/// Tells who answered.
fn name_served(headers: &mut HeaderMap, served: &Served) {
    let mut name = |header: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(header, value);
        }
    };
    name(MODEL, &served.model);
    name(BACKEND, &served.backend);
    name(RETRIES, &served.retries.to_string());
    match served.cache {
        Cached::Off => {}
        Cached::Miss => name(CACHE, "miss"),
        Cached::Hit { age_ms } => {
            name(CACHE, "hit");
            name(header::AGE, &(age_ms / 1_000).to_string());
        }
        Cached::Near { age_ms, per_mille } => {
            name(CACHE, "near");
            name(SIMILARITY, &format!("{:.3}", f64::from(per_mille) / 1_000.0));
            name(header::AGE, &(age_ms / 1_000).to_string());
        }
    }
    name_standing(headers, &served.standing);
}

/// What an answer is called when its backend does not name it.
struct Naming {
    id: String,
    model: String,
}

impl Naming {
    fn new(prefix: &str, served: &Served) -> Naming {
        let id = format!("{prefix}{}", Uuid::now_v7().simple());
        Naming { id, model: served.model.clone() }
    }

    fn take(&mut self, id: Option<String>, model: Option<String>) {
        if let Some(id) = id {
            self.id = id;
        }
        if let Some(model) = model {
            self.model = model;
        }
    }
}

/// Seconds since 1970.
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
}
