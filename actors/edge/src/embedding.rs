//! The routes of encoders: vectors in OpenAI's shape and in TEI's, ranks, sparse vectors.

mod input;
pub(crate) mod manage;
pub(crate) mod openai;
pub(crate) mod record;
mod remote;
pub(crate) mod rerank;
pub(crate) mod sparse;
pub(crate) mod tei;

use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use headwater_actors::embedding::{
    EmbedCall, Embedded, FleetModel, ModelCard, NotOffered, OutputFormat, Purpose, Task,
};
use headwater_actors::gateway::TraceParent;
use headwater_actors::tenancy::Amounts;
use serde_json::Value;

use crate::error::ApiError;
use crate::identity::Grant;
use crate::router::Edge;

/// A caller's own key for the choice among an alias's targets, in place of the tenant's name.
pub(crate) const CANARY_KEY: HeaderName = HeaderName::from_static("x-headwater-canary-key");

/// The model of this name, if it is served and the caller may use it. A name that the
/// token does not allow is refused before it is looked up, so that a tenant cannot probe
/// for names. An alias is allowed by its own name or by its model's. Which of an alias's targets
/// it is hangs on the caller's key, and on the tenant without one.
pub(crate) fn find_model(
    edge: &Edge,
    grant: &Grant,
    name: &str,
    key: Option<&str>,
) -> Result<FleetModel, ApiError> {
    let found = edge.embedding.find(name, key.unwrap_or(&grant.tenant));
    let allowed =
        grant.allows(name) || found.as_ref().is_ok_and(|model| grant.allows(&model.card().name));
    if !allowed {
        return Err(ApiError::model_not_allowed(name));
    }
    found.map_err(|why| match why {
        NotOffered::Unknown(_) => {
            let cards = edge.embedding.cards();
            let names = cards.iter().map(|card| card.name.as_str());
            let known: Vec<&str> = names.filter(|name| grant.allows(name)).collect();
            ApiError::unknown_model(name, &known)
        }
        NotOffered::Loading(_) => ApiError::model_loading(&why.to_string()),
        NotOffered::Draining(_) => ApiError::model_unloading(&why.to_string()),
    })
}

/// What a client asked, for records and errors.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) route: &'static str,
    /// The model's name as it was sent.
    pub(crate) model: &'a str,
    /// The field that holds the texts.
    pub(crate) param: &'a str,
    /// The client's trace, where the route looks for it.
    pub(crate) trace_parent: Option<TraceParent>,
}

/// Embeds within the quotas of team, project and user, and leaves a record of it.
pub(crate) async fn embed(
    edge: &Edge,
    grant: &Grant,
    model: &FleetModel,
    call: EmbedCall,
    asked: Asked<'_>,
) -> Result<Embedded, ApiError> {
    let record = record::begin(edge, grant, asked, &model.card().name);
    let embedded = embed_within_quota(edge, grant, model, call, asked.param).await;
    if let Some(record) = record {
        record::end(record, embedded.as_ref().map(Some));
    }
    embedded
}

/// Reserves an upper bound, and charges what was read. A request that fails costs nothing; one
/// whose client leaves costs the bound, or else leaving early would be a way around every limit.
async fn embed_within_quota(
    edge: &Edge,
    grant: &Grant,
    model: &FleetModel,
    call: EmbedCall,
    param: &str,
) -> Result<Embedded, ApiError> {
    let estimate = Amounts { requests: 1, tokens: model.token_bound(&call), micro_usd: 0 };
    let name = &model.card().name;
    let share = edge.tenancy.reserve(grant.payer(), name, estimate).await;
    let mut share = share.map_err(|refusal| ApiError::from_refusal(refusal, estimate))?;
    share.begin();
    let embedded = match model.embed(call).await {
        Ok(embedded) => embedded,
        Err(error) => {
            share.give_back();
            return Err(ApiError::from_embed(error, param));
        }
    };
    let tokens = embedded.tokens.iter().sum::<usize>() as u64;
    share.settle(Amounts { requests: 1, tokens, micro_usd: 0 }).await;
    Ok(embedded)
}

/// The node that made the vectors, when it was another one.
const SERVED_BY: HeaderName = HeaderName::from_static("x-headwater-served-by");

pub(crate) fn name_server(response: &mut Response, node: Option<&str>) {
    if let Some(Ok(node)) = node.map(HeaderValue::from_str) {
        response.headers_mut().insert(SERVED_BY, node);
    }
}

/// How many of the inputs had their vectors in the cache: `hits/inputs`.
const CACHE: HeaderName = HeaderName::from_static("x-headwater-cache");

fn name_cached(response: &mut Response, cached: usize, inputs: usize) {
    if let Ok(value) = HeaderValue::from_str(&format!("{cached}/{inputs}")) {
        response.headers_mut().insert(CACHE, value);
    }
}

/// Places of the inputs that were cut, as a JSON list, where the body has no room for it.
const TRUNCATED: HeaderName = HeaderName::from_static("x-headwater-truncated");

fn name_truncated(response: &mut Response, truncated: &[usize]) {
    if truncated.is_empty() {
        return;
    }
    if let Ok(value) = HeaderValue::from_str(&places(truncated).to_string()) {
        response.headers_mut().insert(TRUNCATED, value);
    }
}

/// The settings' first model when it is for this task, else the first by name that is; the
/// settings' first when there is none, so that the answer names it.
fn default_model(edge: &Edge, task: Task) -> String {
    let first = &edge.settings.default_model;
    let cards = edge.embedding.cards();
    let fits = |card: &&Arc<ModelCard>| card.task == task;
    let chosen = cards.iter().filter(fits).find(|card| card.name == *first);
    let chosen = chosen.or_else(|| cards.iter().find(fits));
    chosen.map_or_else(|| first.clone(), |card| card.name.clone())
}

/// Refuses a model whose answers are of another kind than the route's.
fn check_task(model: &FleetModel, wanted: Task) -> Result<(), ApiError> {
    let card = model.card();
    if card.task == wanted {
        return Ok(());
    }
    let route = |task| match task {
        Task::Embed => "/v1/embeddings or /embed",
        Task::Rerank => "/v1/rerank or /rerank",
        Task::Sparse => "/embed_sparse",
    };
    let message = format!(
        "the model '{}' is for {}; ask it at {}, or choose a model for {} here",
        card.name,
        card.task.name(),
        route(card.task),
        wanted.name(),
    );
    Err(ApiError::invalid("model", "wrong_task", message))
}

/// Long texts lose their end and never their beginning.
fn check_direction(direction: Option<&str>) -> Result<(), ApiError> {
    let Some(direction) = direction.filter(|side| !side.eq_ignore_ascii_case("right")) else {
        return Ok(());
    };
    let message = format!("truncation_direction is '{direction}'; only Right is offered");
    Err(ApiError::invalid("truncation_direction", "invalid_field", message))
}

/// The length of the vectors to return.
fn check_dimensions(model: &FleetModel, asked: Option<usize>) -> Result<usize, ApiError> {
    let card = model.card();
    let Some(asked) = asked else { return Ok(card.dimensions) };
    if card.offers_dimensions(asked) {
        return Ok(asked);
    }
    let mut offered: Vec<String> =
        card.matryoshka_dimensions.iter().map(ToString::to_string).collect();
    offered.push(card.dimensions.to_string());
    let message = format!(
        "the model '{}' offers vectors of {} dimensions, not {asked}",
        card.name,
        offered.join(", ")
    );
    Err(ApiError::invalid("dimensions", "invalid_dimensions", message))
}

/// What the texts are for, by the names that clients use.
fn check_purpose(field: &str, name: Option<&str>) -> Result<Purpose, ApiError> {
    match name {
        None => Ok(Purpose::Plain),
        Some("query" | "search_query") => Ok(Purpose::Query),
        Some("document" | "passage" | "search_document") => Ok(Purpose::Passage),
        Some(other) => {
            let message = format!("{field} is '{other}'; allowed are query, document and passage");
            Err(ApiError::invalid(field, "invalid_field", message))
        }
    }
}

fn check_format(name: Option<&str>) -> Result<OutputFormat, ApiError> {
    let name = name.unwrap_or("float");
    OutputFormat::named(name).ok_or_else(|| {
        let allowed = OutputFormat::NAMES.join(", ");
        let message = format!("encoding_format is '{name}'; allowed are {allowed}");
        ApiError::invalid("encoding_format", "invalid_field", message)
    })
}

/// A list of places as JSON, for answers that name the texts they cut.
fn places(places: &[usize]) -> Value {
    Value::from(places.iter().map(|place| Value::from(*place)).collect::<Vec<_>>())
}
