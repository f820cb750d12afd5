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

use super::{Naming, ask, folded, gateway, sse};
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
        let request = request::read(&read_json(body, &edge.settings).await?)?;
        let stream = request.stream;
        let begun = ask(gateway, &grant, ROUTE, &headers, request).await?;
        let naming = Naming::new("resp_", &begun.served);
        if stream {
            return Ok(sse::respond(begun, stream::ResponsesWriter::new(naming)));
        }
        folded(begun, |answer| answer::body(answer, &naming)).await
    };
    respond(answer.await)
}
