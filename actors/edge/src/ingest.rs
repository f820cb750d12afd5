//! `/v1/ingest/jobs`: bulk work. A tenant sees its own jobs alone.

mod error;
mod request;
mod stream;

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use headwater_actors::collection::Collection;
use headwater_actors::ingest::{
    DeadLetter, IngestHandle, Job, JobKey, JobStatus, Lane, SourceSpec,
};
use serde_json::{Value, json};

use crate::body::read_json;
use crate::error::{ApiError, INVALID, UNAVAILABLE, respond};
use crate::identity::Grant;
use crate::query::Query;
use crate::router::Edge;

use request::{JobRequest, once, page_of, spec_of};

type Caller = Extension<Arc<Grant>>;
type IdPath = Result<Path<String>, PathRejection>;
type Answer = Result<Response, ApiError>;

/// The ingest of a node that has a vector sink.
fn ingest(edge: &Edge) -> Result<&IngestHandle, ApiError> {
    edge.ingest.as_ref().ok_or_else(|| {
        let message = "this node has no vector sink; ask the operator to set one up".to_owned();
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, "no_vector_sink", message)
    })
}

fn key_of(grant: &Grant, path: IdPath) -> Result<JobKey, ApiError> {
    let id = path.map(|Path(id)| id).map_err(|_| {
        let message = "the job's id in the path is not percent-encoded UTF-8".to_owned();
        ApiError::invalid("id", "invalid_path", message)
    })?;
    Ok(JobKey { tenant: grant.tenant.clone(), id })
}

/// The collection that a job writes to, if the caller may use all models that it is embedded
/// with.
async fn collection_of(edge: &Edge, grant: &Grant, name: &str) -> Result<Collection, ApiError> {
    let collections = ingest(edge)?.collections();
    let found = collections.get(&grant.tenant, name).await.map_err(ApiError::from_collection)?;
    match found.targets().into_iter().find(|target| !grant.allows(&target.model)) {
        Some(target) => Err(ApiError::model_not_allowed(&target.model)),
        None => Ok(found),
    }
}

/// `POST /v1/ingest/jobs`: the settings as JSON, and the documents follow in requests of their
/// own; or the documents as JSON lines, and the settings in the address.
pub(crate) async fn create(
    State(edge): State<Edge>,
    Extension(grant): Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answer = async {
        let handle = ingest(&edge)?;
        let once = once(&headers)?;
        let (request, body) = match stream::is_lines(&headers) {
            true => (JobRequest::from_query(&Query::of(&uri)?)?, Some(body)),
            false => (read_json::<JobRequest>(body, &edge.settings).await?, None),
        };
        let collection = collection_of(&edge, &grant, &request.collection).await?;
        let spec = spec_of(&edge, &grant, &request, &collection)?;
        let id = request.id.unwrap_or_else(|| handle.job_id(once));
        let key = JobKey { tenant: grant.tenant.clone(), id };
        let streams = spec.source == SourceSpec::Stream;
        // The operator's folders are shared by all tenants.
        if !streams {
            grant.check_operator()?;
        }
        let (_, is_new) = handle.create(&key, spec).await.map_err(ApiError::from_ingest)?;
        if let Some(body) = body.filter(|_| streams) {
            stream::receive(&edge, handle, &key, 0, body).await?;
            handle.seal(&key).await.map_err(ApiError::from_ingest)?;
        }
        let mut answer = status_of(handle, &key).await?;
        *answer.status_mut() = if is_new { StatusCode::CREATED } else { StatusCode::OK };
        Ok(answer)
    };
    respond(answer.await)
}

/// `POST /v1/ingest/jobs/{id}/documents?offset=&complete=`: more JSON lines, the first of them
/// the one behind `offset`.
pub(crate) async fn documents(
    State(edge): State<Edge>,
    Extension(grant): Caller,
    path: IdPath,
    uri: Uri,
    body: Body,
) -> Response {
    let answer = async {
        let (handle, key) = (ingest(&edge)?, key_of(&grant, path)?);
        let query = Query::of(&uri)?;
        query.only(&["offset", "complete"])?;
        let offset = query.number("offset", 0, u64::MAX)?;
        let complete = query.flag("complete")?.unwrap_or(true);
        let offset = match offset {
            Some(offset) => offset,
            None => {
                let status = handle.status(&key).await.map_err(ApiError::from_ingest)?;
                status.received.lines
            }
        };
        stream::receive(&edge, handle, &key, offset, body).await?;
        if complete {
            handle.seal(&key).await.map_err(ApiError::from_ingest)?;
        }
        status_of(handle, &key).await
    };
    respond(answer.await)
}

/// `GET /v1/ingest/jobs`
pub(crate) async fn list(State(edge): State<Edge>, Extension(grant): Caller, uri: Uri) -> Response {
    let answer = async {
        let query = Query::of(&uri)?;
        let (after, limit) = page_of(&query)?;
        let jobs = ingest(&edge)?.list(&grant.tenant, after, limit).await;
        let jobs = jobs.map_err(ApiError::from_ingest)?;
        let next = (jobs.len() == limit).then(|| jobs.last().map(|job| job.key.id.clone()));
        let data: Vec<Value> = jobs.iter().map(describe).collect();
        let answer = json!({"object": "list", "data": data, "next": next.flatten()});
        Ok(axum::Json(answer).into_response())
    };
    respond(answer.await)
}

/// `GET /v1/ingest/jobs/{id}`
pub(crate) async fn get(
    State(edge): State<Edge>,
    Extension(grant): Caller,
    path: IdPath,
) -> Response {
    let answer = async {
        let (handle, key) = (ingest(&edge)?, key_of(&grant, path)?);
        status_of(handle, &key).await
    };
    respond(answer.await)
}

/// `GET /v1/ingest/jobs/{id}/dead-letters`
pub(crate) async fn dead_letters(
    State(edge): State<Edge>,
    Extension(grant): Caller,
    path: IdPath,
    uri: Uri,
) -> Response {
    let answer = async {
        let (handle, key) = (ingest(&edge)?, key_of(&grant, path)?);
        let query = Query::of(&uri)?;
        query.only(&["after", "limit"])?;
        let after = query.number("after", 0, u64::MAX)?;
        let limit = query.limit()?;
        let letters = handle.dead_letters(&key, after, limit).await;
        let letters = letters.map_err(ApiError::from_ingest)?;
        let next = (letters.len() == limit).then(|| letters.last().map(|letter| letter.line));
        let data: Vec<Value> = letters.iter().map(letter).collect();
        let answer = json!({"object": "list", "data": data, "next": next.flatten()});
        Ok(axum::Json(answer).into_response())
    };
    respond(answer.await)
}

/// `POST /v1/ingest/jobs/{id}/{pause,resume,cancel,retry-dead}`
pub(crate) async fn act(
    State(edge): State<Edge>,
    Extension(grant): Caller,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Response {
    let answer = async {
        let (id, action) = path.map(|Path(parts)| parts).unwrap_or_default();
        let (handle, key) = (ingest(&edge)?, key_of(&grant, Ok(Path(id)))?);
        let done = match action.as_str() {
            "pause" => handle.pause(&key).await,
            "resume" => handle.resume(&key).await,
            "cancel" => handle.cancel(&key).await,
            "retry-dead" => handle.retry_dead(&key).await,
            _ => {
                let message = format!(
                    "there is no action '{action}'; use pause, resume, cancel or retry-dead"
                );
                let status = StatusCode::NOT_FOUND;
                return Err(ApiError::new(status, INVALID, "unknown_route", message));
            }
        };
        done.map_err(ApiError::from_ingest)?;
        status_of(handle, &key).await
    };
    respond(answer.await)
}

async fn status_of(handle: &IngestHandle, key: &JobKey) -> Answer {
    let status = handle.status(key).await.map_err(ApiError::from_ingest)?;
    Ok(axum::Json(describe_status(&status)).into_response())
}

fn describe(job: &Job) -> Value {
    let spec = &job.spec;
    json!({
        "id": job.key.id,
        "object": "ingest.job",
        "state": job.state.standing().name(),
        "collection": spec.collection,
        "model": spec.model,
        "priority": spec.priority,
        "tokens_per_s": spec.tokens_per_s,
        "max_workers": spec.workers_max,
        "near_duplicates": spec.near_duplicates.name(),
        "chunks": {
            "window_tokens": spec.chunks.window_tokens,
            "overlap_percent": spec.chunks.overlap_percent,
            "split": spec.chunks.split.name(),
        },
        "created_ms": job.state.created_ms,
        "ended_ms": job.state.ended_ms,
    })
}

fn describe_status(status: &JobStatus) -> Value {
    let counts = &status.counts;
    let mut described = describe(&status.job);
    let ended = counts.get(Lane::Staged).saturating_sub(counts.waiting());
    described["progress"] = json!({
        "received_lines": status.received.lines,
        "received_bytes": status.received.bytes,
        "bad_lines": counts.get(Lane::BadLines),
        "documents_total": counts.get(Lane::Staged),
        "documents_ended": ended,
        "documents_done": counts.get(Lane::Documents),
        "documents_superseded": counts.get(Lane::Superseded),
        "documents_dropped": counts.get(Lane::Dropped),
        "dead_letters": counts.dead() + counts.get(Lane::BadLines),
        "waiting_documents": counts.waiting(),
        "waiting_bytes": counts.waiting_bytes(),
        "running_documents": counts.running(),
        "oldest_waiting_ms": status.oldest_waiting_ms,
        "chunks": counts.get(Lane::Chunks),
        "duplicates": counts.get(Lane::Duplicates),
        "near_duplicates": counts.get(Lane::NearDuplicates),
        "tokens": counts.get(Lane::Tokens),
        "vectors": counts.get(Lane::Vectors),
        "retries": counts.get(Lane::Retries),
        "workers": status.workers,
        "documents_per_s": status.progress.documents_per_s,
        "tokens_per_s": status.progress.tokens_per_s,
        "remaining_ms": status.progress.remaining_ms,
    });
    if status.job.state.cancelled {
        let note = "what was written before the job was cancelled stays in the collection";
        described["note"] = Value::from(note);
    }
    described
}

fn letter(letter: &DeadLetter) -> Value {
    json!({
        "line": letter.line,
        "document": letter.document,
        "field": letter.field,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "retryable": letter.is_retryable(),
        "at_ms": letter.at_ms,
    })
}
