//! `/embed_sparse` in the shape of Text Embeddings Inference.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use headwater_actors::embedding::{EmbedCall, Pool, Task};
use serde::{Deserialize, Serialize};

use super::input::InputField;
use super::{
    Asked, check_direction, check_purpose, check_task, default_model, embed, find_model,
    name_server, name_truncated,
};
use crate::body::read_json;
use crate::error::{ApiError, Shape};
use crate::identity::Grant;
use crate::router::Edge;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SparseRequest {
    inputs: InputField,
    /// Not in TEI, which serves one model; without it the node's default model answers.
    model: Option<String>,
    truncate: Option<bool>,
    truncation_direction: Option<String>,
    prompt_name: Option<String>,
}

/// The weight of one word of the vocabulary.
#[derive(Serialize)]
struct Weight {
    /// The word's token id.
    index: usize,
    value: f32,
}

/// `POST /embed_sparse`
pub(crate) async fn embed_sparse(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    body: Body,
) -> Response {
    match answer(&edge, &grant, body).await {
        Ok(response) => response,
        Err(error) => error.respond(Shape::Tei),
    }
}

async fn answer(edge: &Edge, grant: &Grant, body: Body) -> Result<Response, ApiError> {
    let request: SparseRequest = read_json(body, &edge.settings).await?;
    check_direction(request.truncation_direction.as_deref())?;
    let name = request.model.unwrap_or_else(|| default_model(edge, Task::Sparse));
    let model = find_model(edge, grant, &name, None)?;
    check_task(&model, Task::Sparse)?;
    let purpose = check_purpose("prompt_name", request.prompt_name.as_deref())?;
    let truncate = request.truncate.unwrap_or(false);
    let call = EmbedCall { inputs: request.inputs.0, purpose, truncate, pool: Pool::Query };
    let asked = Asked { route: "/embed_sparse", model: &name, param: "inputs", trace_parent: None };
    let embedded = embed(edge, grant, &model, call, asked).await?;
    let weights = |vector: &Vec<f32>| -> Vec<Weight> {
        let all = vector.iter().enumerate();
        let weight = |(index, value): (usize, &f32)| Weight { index, value: *value };
        all.filter(|(_, value)| **value != 0.0).map(weight).collect()
    };
    let vectors: Vec<Vec<Weight>> = embedded.vectors.iter().map(weights).collect();
    let mut response = axum::Json(vectors).into_response();
    name_truncated(&mut response, &embedded.truncated);
    name_server(&mut response, embedded.served_by.as_deref());
    Ok(response)
}
