//! The embedding routes in OpenAI's shape and in TEI's.

mod input;
pub(crate) mod openai;
pub(crate) mod tei;

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use headwater_actors::embedding::{
    EmbedCall, Embedded, FleetModel, OutputFormat, Purpose, quantise, shorten,
};
use headwater_actors::tenancy::Amounts;
use serde_json::Value;

use crate::error::ApiError;
use crate::identity::Grant;
use crate::router::Edge;

/// The model of this name, if it is served and the caller may use it. A name that the
/// token does not allow is refused before it is looked up, so that a tenant cannot probe
/// for names. An alias is allowed by its own name or by its model's.
pub(crate) fn find_model(edge: &Edge, grant: &Grant, name: &str) -> Result<FleetModel, ApiError> {
    let found = edge.embedding.model(name);
    let allowed =
        grant.allows(name) || found.as_ref().is_some_and(|model| grant.allows(&model.card().name));
    if !allowed {
        return Err(ApiError::model_not_allowed(name));
    }
    found.ok_or_else(|| {
        let cards = edge.embedding.cards();
        let names = cards.iter().map(|card| card.name.as_str());
        let known: Vec<&str> = names.filter(|name| grant.allows(name)).collect();
        ApiError::unknown_model(name, &known)
    })
}

/// Embeds within the tenant's quota: reserves an upper bound, and charges what was read. A
/// request that fails costs nothing; one whose client leaves costs the bound, or else leaving
/// early would be a way around every limit.
pub(crate) async fn embed(
    edge: &Edge,
    grant: &Grant,
    model: &FleetModel,
    call: EmbedCall,
    param: &str,
) -> Result<Embedded, ApiError> {
    let estimate = Amounts { requests: 1, tokens: model.token_bound(&call), micro_usd: 0 };
    let name = &model.card().name;
    let share = edge.tenancy.reserve(&grant.tenant, name, estimate).await;
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

/// One vector cut to length and brought into its format.
fn render(
    mut vector: Vec<f32>,
    dimensions: usize,
    format: OutputFormat,
    normalise: bool,
) -> headwater_actors::embedding::Quantised {
    shorten(&mut vector, dimensions, normalise);
    quantise(vector, format)
}

/// A list of places as JSON, for answers that name the texts they cut.
fn places(places: &[usize]) -> Value {
    Value::from(places.iter().map(|place| Value::from(*place)).collect::<Vec<_>>())
}
