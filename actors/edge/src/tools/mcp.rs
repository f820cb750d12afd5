//! `/mcp`: tools for clients of the Model Context Protocol.

use std::pin::Pin;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;

use super::asked;
use crate::error::respond;
use crate::identity::Grant;
use crate::router::Edge;

/// Speaks the protocol. Who asks stands in the request's extensions, as a
/// [`ToolCaller`](headwater_actors::tools::ToolCaller).
pub type McpAnswers =
    Arc<dyn Fn(Request) -> Pin<Box<dyn Future<Output = Response> + Send>> + Send + Sync>;

/// `POST /mcp`
pub(crate) async fn answer(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    mut request: Request,
) -> Response {
    let caller = match asked(&edge, &grant, request.headers()) {
        Ok(asked) => asked.caller,
        Err(error) => return respond(Err(error)),
    };
    request.extensions_mut().insert(caller);
    (edge.mcp)(request).await
}
