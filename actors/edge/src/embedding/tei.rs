//! `/embed` and `/tokenize` in the shape of Text Embeddings Inference.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use headwater_actors::embedding::{EmbedCall, Inputs, Piece, Pool, Task};
use serde::{Deserialize, Serialize};

use super::input::InputField;
use super::{
    check_dimensions, check_direction, check_purpose, check_task, default_model, find_model,
    name_cached, name_server, name_truncated,
};
use crate::body::read_json;
use crate::error::{ApiError, Shape};
use crate::identity::Grant;
use crate::router::Edge;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmbedRequest {
    inputs: InputField,
    /// Not in TEI, which serves one model; without it the node's default model answers.
    model: Option<String>,
    normalize: Option<bool>,
    truncate: Option<bool>,
    truncation_direction: Option<String>,
    prompt_name: Option<String>,
    dimensions: Option<usize>,
}

/// `POST /embed`
pub(crate) async fn embed(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    body: Body,
) -> Response {
    match embed_answer(&edge, &grant, body).await {
        Ok(response) => response,
        Err(error) => error.respond(Shape::Tei),
    }
}

async fn embed_answer(edge: &Edge, grant: &Grant, body: Body) -> Result<Response, ApiError> {
    let request: EmbedRequest = read_json(body, &edge.settings).await?;
    let name = request.model.unwrap_or_else(|| default_model(edge, Task::Embed));
    let model = find_model(edge, grant, &name, None)?;
    check_task(&model, Task::Embed)?;
    let card = model.card();
    if request.normalize.is_some_and(|asked| asked != card.normalise) {
        let message = format!(
            "normalize is {} here: the model's vectors are always made that way",
            card.normalise
        );
        return Err(ApiError::invalid("normalize", "invalid_field", message));
    }
    check_direction(request.truncation_direction.as_deref())?;
    let dimensions = check_dimensions(&model, request.dimensions)?;
    let purpose = check_purpose("prompt_name", request.prompt_name.as_deref())?;
    let call = EmbedCall {
        inputs: request.inputs.0,
        purpose,
        truncate: request.truncate.unwrap_or(false),
        pool: Pool::Query,
    };
    let asked = super::Asked { route: "/embed", model: &name, param: "inputs", trace_parent: None };
    let embedded = super::embed(edge, grant, &model, call, asked).await?;
    let mut vectors = embedded.vectors;
    for vector in &mut vectors {
        headwater_actors::embedding::shorten(vector, dimensions, card.normalise);
    }
    let inputs = vectors.len();
    let mut response = axum::Json(vectors).into_response();
    name_cached(&mut response, embedded.cached, inputs);
    name_truncated(&mut response, &embedded.truncated);
    name_server(&mut response, embedded.served_by.as_deref());
    Ok(response)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenizeRequest {
    inputs: InputField,
    model: Option<String>,
    add_special_tokens: Option<bool>,
}

#[derive(Serialize)]
struct TokenObject {
    id: u32,
    text: String,
    special: bool,
    /// Byte offsets; null for special tokens.
    start: Option<usize>,
    stop: Option<usize>,
}

/// `POST /tokenize`
pub(crate) async fn tokenize(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    body: Body,
) -> Response {
    match tokenize_answer(&edge, &grant, body).await {
        Ok(tokens) => axum::Json(tokens).into_response(),
        Err(error) => error.respond(Shape::Tei),
    }
}

async fn tokenize_answer(
    edge: &Edge,
    grant: &Grant,
    body: Body,
) -> Result<Vec<Vec<TokenObject>>, ApiError> {
    let request: TokenizeRequest = read_json(body, &edge.settings).await?;
    let name = request.model.unwrap_or_else(|| default_model(edge, Task::Embed));
    let model = find_model(edge, grant, &name, None)?;
    let Inputs::Texts(texts) = request.inputs.0 else {
        let message = "inputs are token ids already, or images; send a string or a list of strings";
        return Err(ApiError::invalid("inputs", "invalid_field", message.to_owned()));
    };
    let special = request.add_special_tokens.unwrap_or(true);
    let read = model.pieces(texts, special, Pool::Query).await;
    let read = read.map_err(|error| ApiError::from_embed(error, "inputs"))?;
    Ok(read.into_iter().map(|pieces| pieces.into_iter().map(token_object).collect()).collect())
}

fn token_object(piece: Piece) -> TokenObject {
    let Piece { id, text, special, start, stop } = piece;
    let place = |offset| (!special).then_some(offset);
    TokenObject { id, text, special, start: place(start), stop: place(stop) }
}
