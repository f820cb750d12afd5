//! Sessions of agents: what they may use up, what they noted, what they did.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use headwater_actors::tools::{SessionBudget, SessionStep, SessionTold, Standing};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{One, Two, asked, one, two};
use crate::body::{read_json, read_optional_json};
use crate::error::{ApiError, respond};
use crate::identity::Grant;
use crate::query::Query;
use crate::router::Edge;

/// Steps of a trace in one answer.
const STEPS: usize = 500;

/// What a session may use up; what is left out is at its default.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct BeginRequest {
    calls_max: Option<u64>,
    iterations_max: Option<u64>,
    microdollars_max: Option<u64>,
    wall_ms_max: Option<u64>,
    scratchpad_bytes: Option<u64>,
    scratchpad_keys: Option<u64>,
    trace_steps: Option<u64>,
    idle_ttl_ms: Option<u64>,
    ttl_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoteRequest {
    value: String,
}

impl BeginRequest {
    fn budget(self) -> SessionBudget {
        let own = SessionBudget::default();
        SessionBudget {
            calls_max: self.calls_max.unwrap_or(own.calls_max),
            iterations_max: self.iterations_max.unwrap_or(own.iterations_max),
            microdollars_max: self.microdollars_max.unwrap_or(own.microdollars_max),
            wall_ms_max: self.wall_ms_max.unwrap_or(own.wall_ms_max),
            scratchpad_bytes: self.scratchpad_bytes.unwrap_or(own.scratchpad_bytes),
            scratchpad_keys: self.scratchpad_keys.unwrap_or(own.scratchpad_keys),
            trace_steps: self.trace_steps.unwrap_or(own.trace_steps),
            idle_ttl_ms: self.idle_ttl_ms.unwrap_or(own.idle_ttl_ms),
            ttl_ms: self.ttl_ms.unwrap_or(own.ttl_ms),
        }
    }
}

fn told(session: &SessionTold) -> Value {
    let (state, why) = match &session.standing {
        Standing::Active => ("active", None),
        Standing::Paused { .. } => ("paused", None),
        Standing::Ended { why, .. } => ("ended", Some(why)),
    };
    json!({
        "object": "tool.session",
        "id": session.id,
        "agent": session.agent,
        "state": state,
        "why": why,
        "loop": session.looped,
        "budget": {
            "calls_max": session.budget.calls_max,
            "iterations_max": session.budget.iterations_max,
            "microdollars_max": session.budget.microdollars_max,
            "wall_ms_max": session.budget.wall_ms_max,
            "scratchpad_bytes": session.budget.scratchpad_bytes,
            "scratchpad_keys": session.budget.scratchpad_keys,
            "trace_steps": session.budget.trace_steps,
            "idle_ttl_ms": session.budget.idle_ttl_ms,
            "ttl_ms": session.budget.ttl_ms,
        },
        "left": {
            "calls": session.left.calls,
            "iterations": session.left.iterations,
            "microdollars": session.left.microdollars,
            "wall_ms": session.left.wall_ms,
        },
    })
}

fn step(one: &SessionStep) -> Value {
    json!({
        "at_ms": one.at_ms,
        "kind": one.kind,
        "call": one.call,
        "tool": one.tool,
        "text": one.text,
        "duration_ms": one.duration_ms,
        "microdollars": one.microdollars,
    })
}

/// `POST /v1/agent-sessions`
pub(crate) async fn begin(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &headers)?;
        let request: Option<BeginRequest> = read_optional_json(body, &edge.settings).await?;
        let budget = request.unwrap_or_default().budget();
        let begun = asked.tools.begin_session(&asked.caller, budget).await;
        let begun = begun.map_err(ApiError::from_tools)?;
        Ok((StatusCode::CREATED, axum::Json(told(&begun))).into_response())
    };
    respond(answer.await)
}

/// `GET /v1/agent-sessions?after=`
pub(crate) async fn list(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &headers)?;
        let query = Query::of(&uri)?;
        query.only(&["after"])?;
        let all = asked.tools.list_sessions(&asked.caller, query.text("after")).await;
        let data: Vec<Value> = all.map_err(ApiError::from_tools)?.iter().map(told).collect();
        Ok(axum::Json(json!({"object": "list", "data": data})).into_response())
    };
    respond(answer.await)
}

/// `GET /v1/agent-sessions/{id}`
pub(crate) async fn get(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    id: One,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &headers)?;
        let found = asked.tools.session(&asked.caller, &one(id)?).await;
        Ok(axum::Json(told(&found.map_err(ApiError::from_tools)?)).into_response())
    };
    respond(answer.await)
}

/// `POST /v1/agent-sessions/{id}/{action}`: `pause`, `resume` or `end`.
pub(crate) async fn act(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    path: Two,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &headers)?;
        let (id, action) = two(path)?;
        let done = match action.as_str() {
            "pause" => asked.tools.pause_session(&asked.caller, &id, true).await,
            "resume" => asked.tools.pause_session(&asked.caller, &id, false).await,
            "end" => asked.tools.end_session(&asked.caller, &id).await,
            _ => {
                let message = "action: must be pause, resume or end".to_owned();
                return Err(ApiError::invalid("action", "invalid_path", message));
            }
        };
        done.map_err(ApiError::from_tools)?;
        let found = asked.tools.session(&asked.caller, &id).await;
        Ok(axum::Json(told(&found.map_err(ApiError::from_tools)?)).into_response())
    };
    respond(answer.await)
}

/// `GET /v1/agent-sessions/{id}/steps`: the newest first.
pub(crate) async fn steps(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    id: One,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &headers)?;
        let steps = asked.tools.session_steps(&asked.caller, &one(id)?, STEPS).await;
        let data: Vec<Value> = steps.map_err(ApiError::from_tools)?.iter().map(step).collect();
        Ok(axum::Json(json!({"object": "list", "data": data})).into_response())
    };
    respond(answer.await)
}

/// `GET /v1/agent-sessions/{id}/notes`
pub(crate) async fn notes(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    id: One,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &headers)?;
        let notes = asked.tools.notes(&asked.caller, &one(id)?).await;
        let text = |bytes: Vec<u8>| Value::from(String::from_utf8_lossy(&bytes).into_owned());
        let notes = notes.map_err(ApiError::from_tools)?.into_iter();
        let notes: Map<String, Value> = notes.map(|(name, value)| (name, text(value))).collect();
        Ok(axum::Json(json!({"object": "tool.notes", "notes": notes})).into_response())
    };
    respond(answer.await)
}

/// `PUT /v1/agent-sessions/{id}/notes/{name}`
pub(crate) async fn put_note(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    path: Two,
    body: Body,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &headers)?;
        let (id, name) = two(path)?;
        let request: NoteRequest = read_json(body, &edge.settings).await?;
        let value = Some(request.value.into_bytes());
        let done = asked.tools.put_note(&asked.caller, &id, &name, value).await;
        done.map_err(ApiError::from_tools)?;
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    respond(answer.await)
}

/// `DELETE /v1/agent-sessions/{id}/notes/{name}`
pub(crate) async fn delete_note(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    path: Two,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &headers)?;
        let (id, name) = two(path)?;
        let done = asked.tools.put_note(&asked.caller, &id, &name, None).await;
        done.map_err(ApiError::from_tools)?;
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    respond(answer.await)
}
