//! Calling a tool, now or later.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use headwater_actors::tools::{
    CallResult, Called, Mode, Refusal, ToolAsk, ToolReference, WaitingTold, tool_called,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{IDEMPOTENCY_KEY, One, Two, asked, cancelled, one, text_of};
use crate::body::read_json;
use crate::chat::trace_parent;
use crate::error::{ApiError, Shape, respond};
use crate::identity::Grant;
use crate::router::Edge;

const ROUTE: &str = "/v1/tools/call";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallRequest {
    /// `web-search`, `web-search@2`, `web-search@2#<hash>`, or a function's name.
    tool: String,
    #[serde(default)]
    arguments: Map<String, Value>,
    id: Option<String>,
    session: Option<String>,
    #[serde(default)]
    mode: ModeName,
    #[serde(default)]
    dry_run: bool,
    timeout_ms: Option<u64>,
    /// Webhooks hear of the end of an asynchronous call.
    #[serde(default)]
    notify: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "snake_case")]
enum ModeName {
    #[default]
    Sync,
    Async,
}

fn reference(text: &str) -> Result<ToolReference, ApiError> {
    let wrong = |problem: headwater_actors::tools::Problem| {
        ApiError::invalid("tool", "invalid_field", problem.to_string())
    };
    match text.parse::<ToolReference>() {
        Ok(reference) => Ok(reference),
        // What models call.
        Err(problem) => tool_called(text).map_err(|_| wrong(problem)),
    }
}

fn result(result: &CallResult) -> Value {
    json!({
        "content": result.content,
        "is_error": result.is_error,
        "is_cached": result.is_cached,
        "is_fallback": result.is_fallback,
        "is_dry_run": result.is_dry_run,
        "duration_ms": result.duration_ms,
        "cost_microdollars": result.cost_microdollars,
        "deprecation": result.deprecation,
    })
}

/// Every part that does not fit, for whoever mends the arguments.
fn problems(refusal: &Refusal) -> Option<Value> {
    let Refusal::InvalidArguments { problems, .. } = refusal else { return None };
    let told = problems.iter().map(|(at, problem)| json!({"pointer": at, "problem": problem}));
    Some(told.collect())
}

fn answer(called: &Called) -> Response {
    let refusal = match &called.ending {
        Ok(done) => {
            let mut body = result(done);
            body["object"] = "tool.result".into();
            body["id"] = called.id.as_str().into();
            body["tool"] = called.tool.as_str().into();
            body["sha256"] = called.definition_sha256.as_deref().into();
            body["warning"] = called.warning.as_deref().into();
            return axum::Json(body).into_response();
        }
        Err(refusal) => refusal,
    };
    let error = ApiError::of_call(refusal);
    if let Refusal::ApprovalNeeded { approval, expires_ms, .. } = refusal {
        let body = json!({
            "object": "tool.input_required",
            "id": called.id,
            "tool": called.tool,
            "approval": approval,
            "expires_ms": expires_ms,
            "message": refusal.to_string(),
        });
        return (StatusCode::ACCEPTED, axum::Json(body)).into_response();
    }
    let Some(problems) = problems(refusal) else {
        let mut response = error.respond(Shape::OpenAi);
        if let Ok(id) = HeaderValue::from_str(&called.id) {
            response.headers_mut().insert("x-headwater-call", id);
        }
        return response;
    };
    let mut body = error.body(Shape::OpenAi);
    body["error"]["problems"] = problems;
    (error.status, axum::Json(body)).into_response()
}

/// `POST /v1/tools/call`
pub(crate) async fn call(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answered = async {
        let asked = asked(&edge, &grant, &headers)?;
        let request: CallRequest = read_json(body, &edge.settings).await?;
        let key = text_of(&headers, IDEMPOTENCY_KEY)?.map(str::to_owned);
        let mode = match request.mode {
            ModeName::Sync => Mode::Sync,
            ModeName::Async => Mode::Async,
        };
        let ask = ToolAsk {
            id: request.id.or(key),
            tool: reference(&request.tool)?,
            arguments: Value::Object(request.arguments),
            session: request.session,
            mode,
            is_dry_run: request.dry_run,
            timeout_ms: request.timeout_ms,
            tells: request.notify,
            request: Uuid::now_v7().to_string(),
            route: ROUTE,
            trace_parent: trace_parent(&headers),
        };
        if mode == Mode::Async {
            let begun = asked.tools.begin_call(&asked.caller, ask).await;
            let begun = begun.map_err(ApiError::from_tools)?;
            return Ok((StatusCode::ACCEPTED, axum::Json(waiting(&begun))).into_response());
        }
        Ok(answer(&asked.tools.call(asked.caller, ask).await))
    };
    respond(answered.await)
}

fn waiting(told: &WaitingTold) -> Value {
    let error = told.error.as_ref();
    json!({
        "object": "tool.call",
        "id": told.id,
        "tool": told.tool,
        "state": told.state.name(),
        "created_ms": told.created_ms,
        "ended_ms": told.ended_ms,
        "approval": told.approval,
        "result": told.result.as_ref().map(result),
        "error": error.map(|(code, message, status)| {
            json!({"code": code, "message": message, "status": status})
        }),
    })
}

/// `GET /v1/tool-calls/{id}`
pub(crate) async fn get(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    id: One,
) -> Response {
    let answered = async {
        let asked = asked(&edge, &grant, &headers)?;
        let told = asked.tools.waiting_call(&asked.caller, &one(id)?).await;
        Ok(axum::Json(waiting(&told.map_err(ApiError::from_tools)?)).into_response())
    };
    respond(answered.await)
}

/// `POST /v1/tool-calls/{id}/{action}`: `cancel`.
pub(crate) async fn act(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    path: Two,
) -> Response {
    let answered = async {
        let asked = asked(&edge, &grant, &headers)?;
        let told = asked.tools.cancel_call(&asked.caller, &cancelled(path)?).await;
        Ok(axum::Json(waiting(&told.map_err(ApiError::from_tools)?)).into_response())
    };
    respond(answered.await)
}
