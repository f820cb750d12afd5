//! The embedding routes in OpenAI's shape and in TEI's.

mod input;
pub(crate) mod openai;
pub(crate) mod tei;

use headwater_actors::embedding::{ModelHandle, OutputFormat, Purpose, quantise, shorten};
use serde_json::Value;

use crate::error::ApiError;
use crate::identity::Grant;
use crate::router::Edge;

/// The model of this name, if it is served and the caller may use it. A name that the
/// token does not allow is refused before it is looked up, so that a tenant cannot probe
/// for names. An alias is allowed by its own name or by its model's.
fn find_model<'a>(edge: &'a Edge, grant: &Grant, name: &str) -> Result<&'a ModelHandle, ApiError> {
    let found = edge.embedding.model(name);
    let allowed = grant.allows(name) || found.is_some_and(|model| grant.allows(&model.card().name));
    if !allowed {
        return Err(ApiError::model_not_allowed(name));
    }
    found.ok_or_else(|| {
        let models = edge.embedding.models().map(|model| model.card().name.as_str());
        let known: Vec<&str> = models.filter(|name| grant.allows(name)).collect();
        ApiError::unknown_model(name, &known)
    })
}

/// The length of the vectors to return.
fn check_dimensions(model: &ModelHandle, asked: Option<usize>) -> Result<usize, ApiError> {
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
