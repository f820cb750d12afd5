//! Runs of agents: a model that calls tools until it answers. A run belongs to no connection: it goes
//! on when its client has left, and when its node has died.

mod render;
mod request;

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use headwater_actors::tools::{RunEvents, RunState, RunTold};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{IDEMPOTENCY_KEY, One, Two, asked, cancelled, one, text_of};
use crate::body::read_json;
use crate::chat::{gateway, served, trace_parent};
use crate::error::{ApiError, Shape, respond};
use crate::identity::Grant;
use crate::query::Query;
use crate::router::Edge;
use request::RunRequest;

/// Where a client goes on that was cut off.
const LAST_EVENT_ID: &str = "last-event-id";
/// The run that an answer is of.
const RUN: &str = "x-headwater-run";
/// A stream without events says this often that it lives.
const ALIVE: Duration = Duration::from_secs(15);
/// How much longer than the run has time its end is waited for, in ms.
const REST_MS: u64 = 30_000;

/// `POST /v1/agents/run`
pub(crate) async fn run(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answered = async {
        let asked = asked(&edge, &grant, &headers)?;
        let request: RunRequest = read_json(body, &edge.settings).await?;
        let is_streamed = request.stream;
        let mut ask = request.ask()?;
        if ask.id.is_none() {
            ask.id = text_of(&headers, IDEMPOTENCY_KEY)?.map(str::to_owned);
        }
        ask.trace_parent = trace_parent(&headers).map(|trace| trace.header());
        check_model(&edge, &grant, &ask.model)?;
        let begun = asked.tools.begin_run(&asked.caller, ask).await;
        let begun = begun.map_err(ApiError::from_tools)?;
        if is_streamed {
            let events = asked.tools.run_events(&asked.caller, &begun.id, None).await;
            return Ok(streamed(begun.id, events.map_err(ApiError::from_tools)?));
        }
        let left_ms = begun.deadline_ms.saturating_sub(asked.tools.now_ms());
        let within_ms = left_ms.saturating_add(REST_MS);
        let ended = asked.tools.ended_run(&asked.caller, &begun.id, within_ms).await;
        Ok(told(&ended.map_err(ApiError::from_tools)?))
    };
    respond(answered.await)
}

/// A model that the caller may not use is refused before it is looked up.
fn check_model(edge: &Edge, grant: &Grant, model: &str) -> Result<(), ApiError> {
    let gateway = gateway(edge)?;
    if !grant.allows(model) {
        return Err(ApiError::model_not_allowed(model));
    }
    if !gateway.has(model) {
        let known = served(edge, grant);
        let known: Vec<&str> = known.iter().map(|one| one.name.as_str()).collect();
        return Err(ApiError::unknown_model(model, &known));
    }
    Ok(())
}

/// A run as it is; 202 when it has not ended.
fn told(run: &RunTold) -> Response {
    let status = match run.state {
        RunState::Finished => StatusCode::OK,
        _ => StatusCode::ACCEPTED,
    };
    let mut response = (status, axum::Json(render::run(run))).into_response();
    name(&mut response, &run.id);
    response
}

fn name(response: &mut Response, run: &str) {
    if let Ok(run) = HeaderValue::from_str(run) {
        response.headers_mut().insert(RUN, run);
    }
}

/// The events as they come, until the run has ended. A client that leaves ends nothing but this.
fn streamed(run: String, mut events: RunEvents) -> Response {
    // Bounded by the run's journal.
    let (out, incoming) = mpsc::unbounded_channel::<Bytes>();
    let of = run.clone();
    let telling = async move {
        loop {
            let bytes = match timeout(ALIVE, events.next()).await {
                Err(_) => Bytes::from_static(b": keep-alive\n\n"),
                Ok(None) => return,
                Ok(Some(Ok(event))) => render::event(&of, &event),
                Ok(Some(Err(error))) => {
                    render::failed(&ApiError::from_tools(error).body(Shape::OpenAi))
                }
            };
            if out.send(bytes).is_err() {
                return;
            }
        }
    };
    let mut response = super::streaming::streamed(telling, incoming);
    name(&mut response, &run);
    response
}

/// `GET /v1/agents/runs?after=`
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
        let all = asked.tools.agent_runs(&asked.caller, query.text("after")).await;
        let all = all.map_err(ApiError::from_tools)?;
        let data: Vec<Value> = all.iter().map(render::run).collect();
        Ok(axum::Json(json!({"object": "list", "data": data})).into_response())
    };
    respond(answer.await)
}

/// `GET /v1/agents/runs/{id}?messages=`
pub(crate) async fn get(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    id: One,
    uri: Uri,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &headers)?;
        let query = Query::of(&uri)?;
        query.only(&["messages"])?;
        let with_messages = query.flag("messages")?.unwrap_or(false);
        let id = one(id)?;
        let found = asked.tools.agent_run(&asked.caller, &id).await;
        let mut body = render::run(&found.map_err(ApiError::from_tools)?);
        if with_messages {
            let messages = asked.tools.run_messages(&asked.caller, &id).await;
            let messages = messages.map_err(ApiError::from_tools)?;
            body["messages"] = messages.iter().map(render::message).collect();
        }
        Ok(axum::Json(body).into_response())
    };
    respond(answer.await)
}

/// `GET /v1/agents/runs/{id}/events?after=`: from the journal, then as they come.
pub(crate) async fn events(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    id: One,
    uri: Uri,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &headers)?;
        let query = Query::of(&uri)?;
        query.only(&["after"])?;
        let after = match query.number("after", 0, u64::MAX)? {
            Some(after) => Some(after),
            None => last_event(&headers)?,
        };
        let id = one(id)?;
        let events = asked.tools.run_events(&asked.caller, &id, after).await;
        Ok(streamed(id, events.map_err(ApiError::from_tools)?))
    };
    respond(answer.await)
}

fn last_event(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(text) = text_of(headers, LAST_EVENT_ID)? else { return Ok(None) };
    text.trim().parse().map(Some).map_err(|_| {
        let message = format!("{LAST_EVENT_ID}: must be the id of an event of this run");
        ApiError::invalid(LAST_EVENT_ID, "invalid_header", message)
    })
}

/// `POST /v1/agents/runs/{id}/{action}`: `cancel`.
pub(crate) async fn act(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    path: Two,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &headers)?;
        let run = asked.tools.cancel_run(&asked.caller, &cancelled(path)?).await;
        Ok(told(&run.map_err(ApiError::from_tools)?))
    };
    respond(answer.await)
}
