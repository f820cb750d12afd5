//! Code in sandboxes: once, or in a session that keeps its files; streamed or not.

mod request;

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use headwater_actors::tools::sandbox::{
    Channel, GuestFile, SandboxAsk, SandboxDone, SandboxHandle, SandboxSession, ended_text,
    ended_word,
};
use headwater_actors::tools::{CodeCaller, Tier, ToolsHandle};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use request::{FileRequest, PlaceRequest, RunRequest, WITHIN_MS, file_of, path_of};

use super::{Asked, One, Two, asked, one, two};
use crate::body::{read_json, read_optional_json};
use crate::error::{ApiError, Shape, respond};
use crate::identity::Grant;
use crate::router::Edge;

const RUN_ROUTE: &str = "/v1/sandbox/run";
const SESSION_ROUTE: &str = "/v1/sandbox/sessions/{id}/run";
/// Most bytes of a file that is read.
const FILE_BYTES: u64 = 16 << 20;
/// Most files and folders that are listed.
const ENTRIES: usize = 1_000;

fn handle(edge: &Edge) -> Result<&SandboxHandle, ApiError> {
    edge.tools.sandbox().ok_or_else(|| {
        let message = "this node runs no code: set [sandbox] in its settings, and see what \
                       `headwater sandbox check` says";
        let status = StatusCode::NOT_IMPLEMENTED;
        ApiError::new(status, crate::error::UNAVAILABLE, "no_sandbox", message.to_owned())
    })
}

fn told_file(file: &GuestFile) -> Value {
    match std::str::from_utf8(&file.bytes) {
        Ok(text) => json!({"path": file.path.as_str(), "text": text}),
        Err(_) => json!({"path": file.path.as_str(), "base64": STANDARD.encode(&file.bytes)}),
    }
}

fn told(done: &SandboxDone, tier: Tier) -> Value {
    let outcome = &done.outcome;
    json!({
        "object": "sandbox.result",
        "engine": done.engine,
        "isolation": done.isolation.word(),
        "ended": ended_word(outcome.ended),
        "reason": ended_text(outcome.ended, &tier.limits()),
        "wall_ms": outcome.wall_us as f64 / 1e3,
        "cpu_ms": outcome.cpu_us as f64 / 1e3,
        "memory_peak_bytes": outcome.memory_peak_bytes,
        "files": outcome.files.iter().map(told_file).collect::<Vec<_>>(),
    })
}

fn name_of(channel: Channel) -> &'static str {
    match channel {
        Channel::Output => "output",
        Channel::Error => "error",
    }
}

fn event(name: &str, data: &Value) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}

/// What the program writes, as it comes, and its end. A client that leaves ends the program.
fn streamed(tools: ToolsHandle, by: CodeCaller, ask: SandboxAsk) -> Response {
    let tier = ask.room.tier;
    // Bounded by the output limit of the run.
    let (events, incoming) = mpsc::unbounded_channel::<Bytes>();
    let run = async move {
        let heard = events.clone();
        let mut hear = move |channel: Channel, bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            let _ = heard.send(event(name_of(channel), &json!({"text": text})));
        };
        let done = tools.run_own_code(by, ask, &mut hear).await;
        let last = match done {
            Ok(done) => event("result", &told(&done, tier)),
            Err(refusal) => event("failed", &ApiError::of_call(&refusal).body(Shape::OpenAi)),
        };
        let _ = events.send(last);
    };
    super::streaming::streamed(run, incoming)
}

async fn answer(
    asked: Asked<'_>,
    session: Option<String>,
    request: RunRequest,
) -> Result<Response, ApiError> {
    let is_streamed = request.stream;
    let ask = request.ask(&asked.caller.team)?;
    let route = if session.is_some() { SESSION_ROUTE } else { RUN_ROUTE };
    let request = Uuid::now_v7().to_string();
    let by = CodeCaller { caller: asked.caller, session, route, request };
    if is_streamed {
        return Ok(streamed(asked.tools.clone(), by, ask));
    }
    let (tier, mut output, mut error) = (ask.room.tier, Vec::new(), Vec::new());
    let mut hear = |channel: Channel, bytes: &[u8]| match channel {
        Channel::Output => output.extend_from_slice(bytes),
        Channel::Error => error.extend_from_slice(bytes),
    };
    let done = asked.tools.run_own_code(by, ask, &mut hear).await;
    let done = done.map_err(|refusal| ApiError::of_call(&refusal))?;
    let mut body = told(&done, tier);
    body["output"] = String::from_utf8_lossy(&output).into();
    body["error"] = String::from_utf8_lossy(&error).into();
    Ok(axum::Json(body).into_response())
}

/// `POST /v1/sandbox/run`
pub(crate) async fn run(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answered = async {
        let request: RunRequest = read_json(body, &edge.settings).await?;
        handle(&edge)?;
        answer(asked(&edge, &grant, &headers)?, None, request).await
    };
    respond(answered.await)
}

/// `GET /v1/sandbox`: the engines of this node, the first choice first.
pub(crate) async fn engines(State(edge): State<Edge>) -> Response {
    let answered = async {
        let engines = handle(&edge)?.engines();
        let engine = |one: &headwater_actors::tools::sandbox::Abilities| {
            json!({
                "name": one.name,
                "isolation": one.isolation.word(),
                "recycles": one.recycles,
                "sessions": one.sessions,
                "pauses": one.pauses,
                "egress": one.egress,
                "native_packages": one.native_packages,
            })
        };
        let data: Vec<Value> = engines.iter().map(engine).collect();
        Ok(axum::Json(json!({"object": "list", "data": data})).into_response())
    };
    respond(answered.await)
}

fn told_session(session: &SandboxSession) -> Value {
    json!({
        "object": "sandbox.session",
        "id": session.id,
        "engine": session.engine,
        "isolation": session.isolation.word(),
        "image": session.image.as_str(),
        "tier": session.tier.word(),
        "created_ms": session.created_ms,
        "state": if session.is_paused { "paused" } else { "open" },
        "idle_ms": session.idle_ms,
    })
}

/// `POST /v1/sandbox/sessions`
pub(crate) async fn open(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    body: Body,
) -> Response {
    let answered = async {
        let request: Option<PlaceRequest> = read_optional_json(body, &edge.settings).await?;
        let request = request.unwrap_or_default();
        let (image, room) = (request.image()?, request.room()?);
        let opened = handle(&edge)?.open(&grant.tenant, image.as_ref(), room, WITHIN_MS).await;
        let opened = opened.map_err(|refusal| ApiError::of_call(&refusal))?;
        Ok((StatusCode::CREATED, axum::Json(told_session(&opened))).into_response())
    };
    respond(answered.await)
}

/// `GET /v1/sandbox/sessions`
pub(crate) async fn sessions(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
) -> Response {
    let answered = async {
        let sessions = handle(&edge)?.sessions(&grant.tenant);
        let data: Vec<Value> = sessions.iter().map(told_session).collect();
        Ok(axum::Json(json!({"object": "list", "data": data})).into_response())
    };
    respond(answered.await)
}

/// `POST /v1/sandbox/sessions/{id}/{action}`: `run`, `pause`, `resume` or `close`.
pub(crate) async fn act(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    path: Two,
    body: Body,
) -> Response {
    let answered = async {
        let (id, action) = two(path)?;
        let (sandbox, team) = (handle(&edge)?, grant.tenant.as_str());
        let done = match action.as_str() {
            "run" => {
                let request: RunRequest = read_json(body, &edge.settings).await?;
                return answer(asked(&edge, &grant, &headers)?, Some(id), request).await;
            }
            "pause" => sandbox.set_paused(team, &id, true).await,
            "resume" => sandbox.set_paused(team, &id, false).await,
            "close" => sandbox.close(team, &id),
            _ => {
                let message = "action: must be run, pause, resume or close".to_owned();
                return Err(ApiError::invalid("action", "invalid_path", message));
            }
        };
        done.map_err(|refusal| ApiError::of_call(&refusal))?;
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    respond(answered.await)
}

/// `POST /v1/sandbox/sessions/{id}/files`
pub(crate) async fn put_file(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    id: One,
    body: Body,
) -> Response {
    let answered = async {
        let request: FileRequest = read_json(body, &edge.settings).await?;
        let file = file_of(0, request)?;
        let written = handle(&edge)?.write_file(&grant.tenant, &one(id)?, &file).await;
        written.map_err(|refusal| ApiError::of_call(&refusal))?;
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    respond(answered.await)
}

/// `GET /v1/sandbox/sessions/{id}/files`
pub(crate) async fn files(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    id: One,
) -> Response {
    let answered = async {
        let entries = handle(&edge)?.list_files(&grant.tenant, &one(id)?, ENTRIES).await;
        let entries = entries.map_err(|refusal| ApiError::of_call(&refusal))?;
        let data = entries.iter().map(|entry| {
            json!({
                "path": entry.path.as_str(),
                "bytes": entry.bytes,
                "kind": if entry.folder { "folder" } else { "file" },
            })
        });
        let data: Vec<Value> = data.collect();
        Ok(axum::Json(json!({"object": "list", "data": data})).into_response())
    };
    respond(answered.await)
}

/// `GET /v1/sandbox/sessions/{id}/files/{*document}`: the bytes.
pub(crate) async fn file(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    path: Two,
) -> Response {
    let answered = async {
        let (id, path) = two(path)?;
        let path = path_of("path", &path)?;
        let read = handle(&edge)?.read_file(&grant.tenant, &id, &path, FILE_BYTES).await;
        let read = read.map_err(|refusal| ApiError::of_call(&refusal))?;
        let mut response = Response::new(Body::from(read.bytes));
        let plain = HeaderValue::from_static("application/octet-stream");
        response.headers_mut().insert(header::CONTENT_TYPE, plain);
        Ok(response)
    };
    respond(answered.await)
}
