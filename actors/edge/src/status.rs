//! Whether the node lives, whether it can serve, and what it counted.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use serde_json::{Value, json};

use crate::error::{ApiError, Shape};
use crate::router::Edge;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The process answers.
pub(crate) async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// Every model has a loaded replica and the node does not drain.
pub(crate) async fn ready(State(edge): State<Edge>) -> Response {
    if edge.gate.draining() {
        return ApiError::draining().respond(Shape::OpenAi);
    }
    if !edge.embedding.ready() {
        return ApiError::not_ready().respond(Shape::OpenAi);
    }
    Json(json!({"status": "ready"})).into_response()
}

/// All metrics as OpenMetrics text.
pub(crate) async fn metrics(State(edge): State<Edge>) -> Response {
    let mut text = String::new();
    let registry = edge.registry.lock().unwrap_or_else(|held| held.into_inner());
    match encode(&mut text, &registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
