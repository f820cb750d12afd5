//! `POST /v1/messages` and its count of tokens in Anthropic's shape.

mod answer;
mod message;
mod request;
mod stream;

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use headwater_actors::gateway::Protocol;
use serde_json::{Map, Value, json};

use super::{Naming, ask_with, check_allowed, gateway, prompt, served, sse, whole};
use crate::body::read_json;
use crate::error::{ApiError, Shape};
use crate::identity::Grant;
use crate::router::Edge;
use request::Route;

const ROUTE: &str = "/v1/messages";

/// `POST /v1/messages`
pub(crate) async fn messages(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answer = answered(&edge, &grant, &headers, body).await;
    answer.unwrap_or_else(|error| error.respond(Shape::Anthropic))
}

async fn answered(
    edge: &Edge,
    grant: &Grant,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let gateway = gateway(edge)?;
    let mut body: Map<String, Value> = read_json(body, &edge.settings).await?;
    let made = prompt::write_out(edge, grant, prompt::Form::Messages, &mut body).await?;
    let request = request::read(body, Route::Messages)?;
    let used = match &made {
        Some(made) => Some(made.used(edge, grant, &request).await?),
        None => None,
    };
    let stream = request.stream;
    let begun = ask_with(gateway, grant, ROUTE, headers, request, used).await?;
    let naming = Naming::new("msg_", &begun.served);
    let mut response = match stream {
        true => sse::respond(begun, stream::AnthropicWriter::new(naming)),
        false => {
            whole(begun, Protocol::AnthropicMessages, |folded| answer::body(folded, naming)).await?
        }
    };
    made.iter().for_each(|made| made.name(&mut response));
    Ok(response)
}

/// `POST /v1/messages/count_tokens`: an upper estimate, which no model is asked for.
pub(crate) async fn count_tokens(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    body: Body,
) -> Response {
    let answer = async {
        let gateway = gateway(&edge)?;
        let request = request::read(read_json(body, &edge.settings).await?, Route::CountTokens)?;
        check_allowed(&grant, &request.model)?;
        let known = served(&edge, &grant);
        if !known.iter().any(|model| model.name == request.model) {
            let known: Vec<&str> = known.iter().map(|model| model.name.as_str()).collect();
            return Err(ApiError::unknown_model(&request.model, &known));
        }
        let tokens = gateway.estimate_input(&request);
        Ok(axum::Json(json!({"input_tokens": tokens})).into_response())
    };
    answer.await.unwrap_or_else(|error: ApiError| error.respond(Shape::Anthropic))
}
