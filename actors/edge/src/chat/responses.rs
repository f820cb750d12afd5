//! `POST /v1/responses`: OpenAI's newer form, without any state: each request brings all its input.

mod answer;
mod request;
mod stream;

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Map, Value};

use super::{Naming, ask_with, folded, gateway, prompt, sse};
use crate::body::read_json;
use crate::error::respond;
use crate::identity::Grant;
use crate::router::Edge;

const ROUTE: &str = "/v1/responses";

/// `POST /v1/responses`
pub(crate) async fn responses(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answer = async {
        let gateway = gateway(&edge)?;
        let mut body: Map<String, Value> = read_json(body, &edge.settings).await?;
        let made = prompt::write_out(&edge, &grant, prompt::Form::Responses, &mut body).await?;
        let request = request::read(&body)?;
        let used = match &made {
            Some(made) => Some(made.used(&edge, &grant, &request).await?),
            None => None,
        };
        let stream = request.stream;
        let begun = ask_with(gateway, &grant, ROUTE, &headers, request, used).await?;
        let naming = Naming::new("resp_", &begun.served);
        let mut response = match stream {
            true => sse::respond(begun, stream::ResponsesWriter::new(naming)),
            false => folded(begun, |answer| answer::body(answer, &naming)).await?,
        };
        made.iter().for_each(|made| made.name(&mut response));
        Ok(response)
    };
    respond(answer.await)
}
