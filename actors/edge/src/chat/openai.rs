//! `POST /v1/chat/completions` in OpenAI's shape.

mod answer;
pub(crate) mod legacy;
pub(super) mod message;
mod request;
mod stream;

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use headwater_actors::gateway::Protocol;
use serde_json::{Map, Value};

use super::{Naming, ask_with, gateway, prompt, sse, whole};
use crate::body::read_json;
use crate::error::{ApiError, respond};
use crate::identity::Grant;
use crate::router::Edge;

const ROUTE: &str = "/v1/chat/completions";

/// `POST /v1/chat/completions`
pub(crate) async fn completions(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    respond(answered(&edge, &grant, &headers, body).await)
}

async fn answered(
    edge: &Edge,
    grant: &Grant,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let gateway = gateway(edge)?;
    let mut body: Map<String, Value> = read_json(body, &edge.settings).await?;
    let made = prompt::write_out(edge, grant, prompt::Form::Chat, &mut body).await?;
    let read = request::read(body)?;
    let used = match &made {
        Some(made) => Some(made.used(edge, grant, &read.request).await?),
        None => None,
    };
    let (stream, include_usage) = (read.request.stream, read.include_usage);
    let begun = ask_with(gateway, grant, ROUTE, headers, read.request, used).await?;
    let naming = Naming::new("chatcmpl-", &begun.served);
    let mut response = match stream {
        true => sse::respond(begun, stream::OpenAiWriter::new(naming, include_usage)),
        false => whole(begun, Protocol::OpenAiChat, |folded| answer::body(folded, &naming)).await?,
    };
    made.iter().for_each(|made| made.name(&mut response));
    Ok(response)
}
