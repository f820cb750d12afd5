//! `/v1/collections`: a tenant's collections, their model versions and their documents.

mod error;
mod render;

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use headwater_actors::collection::{
    Chunking, Collection, CollectionSettings, Collections, Metric, NumberFormat, Policy,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::read_json;
use crate::embedding::find_model;
use crate::error::{ApiError, INVALID, UNAVAILABLE, respond};
use crate::identity::Grant;
use crate::router::Edge;

pub(crate) use render::value;
use render::{describe, describe_document, describe_versions};

/// Most collections in one answer.
const PAGE: usize = 1_000;

type Caller = Extension<Arc<Grant>>;
type NamePath = Result<Path<String>, PathRejection>;
type Answer = Result<Response, ApiError>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateRequest {
    name: String,
    model: String,
    format: Option<String>,
    metric: Option<String>,
    chunking: Option<ChunkingField>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChunkingField {
    tokens: Option<u32>,
    overlap_percent: Option<u32>,
    boundary: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BuildRequest {
    model: String,
    policy: Option<String>,
    format: Option<String>,
}

/// The collections of a node that has a vector sink.
pub(crate) fn collections(edge: &Edge) -> Result<&Collections, ApiError> {
    edge.collections.as_ref().ok_or_else(|| {
        let message = "this node has no vector sink; ask the operator to set one up".to_owned();
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, "no_vector_sink", message)
    })
}

fn unreadable(field: &'static str) -> ApiError {
    let message = format!("the {field} in the path is not percent-encoded UTF-8");
    ApiError::invalid(field, "invalid_path", message)
}

fn name_of(path: NamePath) -> Result<String, ApiError> {
    path.map(|Path(name)| name).map_err(|_| unreadable("collection"))
}

fn format_of(name: Option<&str>) -> Result<Option<NumberFormat>, ApiError> {
    let Some(name) = name else { return Ok(None) };
    let format = NumberFormat::named(name).ok_or_else(|| {
        let allowed = NumberFormat::ALL.map(NumberFormat::name).join(", ");
        let message = format!("format is '{name}'; allowed are {allowed}");
        ApiError::invalid("format", "invalid_field", message)
    });
    format.map(Some)
}

fn metric_of(name: Option<&str>) -> Result<Metric, ApiError> {
    match name {
        None | Some("cosine") => Ok(Metric::Cosine),
        Some("dot") => Ok(Metric::Dot),
        Some(other) => {
            let message = format!("metric is '{other}'; allowed are cosine, dot");
            Err(ApiError::invalid("metric", "invalid_field", message))
        }
    }
}

fn chunking_of(field: Option<ChunkingField>) -> Chunking {
    let standard = Chunking::default();
    let Some(ChunkingField { tokens, overlap_percent, boundary }) = field else {
        return standard;
    };
    Chunking {
        tokens: tokens.unwrap_or(standard.tokens),
        overlap_percent: overlap_percent.unwrap_or(standard.overlap_percent),
        boundary: boundary.unwrap_or(standard.boundary),
    }
}

/// `POST /v1/collections`
pub(crate) async fn create(
    State(edge): State<Edge>,
    Extension(grant): Caller,
    body: Body,
) -> Response {
    let answer = async {
        let collections = collections(&edge)?;
        let request: CreateRequest = read_json(body, &edge.settings).await?;
        let model = find_model(&edge, &grant, &request.model, None)?;
        let settings = CollectionSettings {
            format: format_of(request.format.as_deref())?.unwrap_or_default(),
            metric: metric_of(request.metric.as_deref())?,
            chunking: chunking_of(request.chunking),
        };
        let (tenant, name) = (&grant.tenant, &request.name);
        let created = collections.create(tenant, name, &model.card().name, settings).await;
        let created = created.map_err(ApiError::from_collection)?;
        Ok((StatusCode::CREATED, axum::Json(describe(&created))).into_response())
    };
    respond(answer.await)
}

/// `after` and `limit` of a list's address. Names need no percent-encoding.
fn page_of(uri: &Uri) -> Result<(Option<String>, usize), ApiError> {
    let (mut after, mut limit) = (None, PAGE);
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    for pair in pairs {
        let (name, given) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "after" => after = Some(given.to_owned()),
            "limit" => {
                let number = given.parse().ok().filter(|limit| (1..=PAGE).contains(limit));
                limit = number.ok_or_else(|| {
                    let message = format!("limit must be a number, 1 to {PAGE}");
                    ApiError::invalid("limit", "invalid_query", message)
                })?;
            }
            _ => {
                let message = "the address takes 'after', a name, and 'limit'".to_owned();
                return Err(ApiError::invalid("query", "invalid_query", message));
            }
        }
    }
    Ok((after, limit))
}

/// `GET /v1/collections`
pub(crate) async fn list(State(edge): State<Edge>, Extension(grant): Caller, uri: Uri) -> Response {
    let answer = async {
        let (after, limit) = page_of(&uri)?;
        let found = collections(&edge)?.list(&grant.tenant, after.as_deref(), limit).await;
        let found = found.map_err(ApiError::from_collection)?;
        let data: Vec<Value> = found.iter().map(describe).collect();
        let next = (data.len() == limit).then(|| found.last().map(|last| last.name.clone()));
        let answer = json!({"object": "list", "data": data, "next": next.flatten()});
        Ok(axum::Json(answer).into_response())
    };
    respond(answer.await)
}

/// `GET /v1/collections/{name}`
pub(crate) async fn get(
    State(edge): State<Edge>,
    Extension(grant): Caller,
    path: NamePath,
) -> Response {
    let answer = async {
        let found = find(&edge, &grant, &name_of(path)?).await?;
        Ok(axum::Json(describe(&found)).into_response())
    };
    respond(answer.await)
}

/// `DELETE /v1/collections/{name}`
pub(crate) async fn delete(
    State(edge): State<Edge>,
    Extension(grant): Caller,
    path: NamePath,
) -> Response {
    let answer = async {
        let name = name_of(path)?;
        let deleted = collections(&edge)?.delete(&grant.tenant, &name).await;
        deleted.map_err(ApiError::from_collection)?;
        Ok(axum::Json(json!({"name": name, "deleted": true})).into_response())
    };
    respond(answer.await)
}

async fn find(edge: &Edge, grant: &Grant, name: &str) -> Result<Collection, ApiError> {
    let found = collections(edge)?.get(&grant.tenant, name).await;
    found.map_err(ApiError::from_collection)
}

/// `GET /v1/collections/{name}/versions`
pub(crate) async fn versions(
    State(edge): State<Edge>,
    Extension(grant): Caller,
    path: NamePath,
) -> Response {
    let answer = async {
        let found = find(&edge, &grant, &name_of(path)?).await?;
        with_versions(&edge, &found).await
    };
    respond(answer.await)
}

/// A collection's versions, and how far a build is.
async fn with_versions(edge: &Edge, found: &Collection) -> Answer {
    let collections = collections(edge)?;
    let progress = collections.progress(found).await.map_err(ApiError::from_collection)?;
    let served = |version: &str| edge.embedding.of_version(version).is_some();
    Ok(axum::Json(describe_versions(found, progress.as_ref(), served)).into_response())
}

/// `POST /v1/collections/{name}/versions`: begins to build a version.
pub(crate) async fn build(
    State(edge): State<Edge>,
    Extension(grant): Caller,
    path: NamePath,
    body: Body,
) -> Response {
    let answer = async {
        let name = name_of(path)?;
        let collections = collections(&edge)?;
        let request: BuildRequest = read_json(body, &edge.settings).await?;
        let model = find_model(&edge, &grant, &request.model, None)?;
        let format = format_of(request.format.as_deref())?;
        let policy = request.policy.as_deref().unwrap_or(Policy::Eager.name());
        let policy = Policy::named(policy).ok_or_else(|| {
            let message = format!("policy is '{policy}'; allowed are eager, lazy");
            ApiError::invalid("policy", "invalid_field", message)
        })?;
        let (tenant, model) = (&grant.tenant, &model.card().name);
        let started = collections.start_build(tenant, &name, model, policy, format).await;
        let mut answer = with_versions(&edge, &started.map_err(ApiError::from_collection)?).await?;
        *answer.status_mut() = StatusCode::ACCEPTED;
        Ok(answer)
    };
    respond(answer.await)
}

/// `POST /v1/collections/{name}/versions/{version}/{action}`
pub(crate) async fn change_build(
    State(edge): State<Edge>,
    Extension(grant): Caller,
    path: Result<Path<(String, String, String)>, PathRejection>,
) -> Response {
    let answer = async {
        let Path((name, version, action)) = path.map_err(|_| unreadable("collection"))?;
        let (collections, tenant) = (collections(&edge)?, &grant.tenant);
        let changed = match action.as_str() {
            "pause" => collections.pause_build(tenant, &name, &version).await,
            "resume" => collections.resume_build(tenant, &name, &version).await,
            "complete" => collections.complete_build(tenant, &name, &version).await,
            "cancel" => collections.cancel_build(tenant, &name, &version).await,
            _ => {
                let message =
                    format!("there is no action '{action}'; use pause, resume, complete or cancel");
                let status = StatusCode::NOT_FOUND;
                return Err(ApiError::new(status, INVALID, "unknown_route", message));
            }
        };
        with_versions(&edge, &changed.map_err(ApiError::from_collection)?).await
    };
    respond(answer.await)
}

/// `POST /v1/collections/{name}/rollback`
pub(crate) async fn roll_back(
    State(edge): State<Edge>,
    Extension(grant): Caller,
    path: NamePath,
) -> Response {
    let answer = async {
        let changed = collections(&edge)?.roll_back(&grant.tenant, &name_of(path)?).await;
        with_versions(&edge, &changed.map_err(ApiError::from_collection)?).await
    };
    respond(answer.await)
}

/// `POST /v1/collections/{name}/retire`
pub(crate) async fn retire(
    State(edge): State<Edge>,
    Extension(grant): Caller,
    path: NamePath,
) -> Response {
    let answer = async {
        let changed = collections(&edge)?.retire(&grant.tenant, &name_of(path)?).await;
        with_versions(&edge, &changed.map_err(ApiError::from_collection)?).await
    };
    respond(answer.await)
}

type DocumentPath = Result<Path<(String, String)>, PathRejection>;

/// Most places of chunks in one answer.
const PLACES: usize = 1_000;

/// `GET /v1/collections/{name}/documents/{document}`; the id may hold slashes. The places of its
/// chunks begin at the ordinal that `?from=` names.
pub(crate) async fn document(
    State(edge): State<Edge>,
    Extension(grant): Caller,
    path: DocumentPath,
    uri: Uri,
) -> Response {
    let answer = async {
        let Path((name, document)) = path.map_err(|_| unreadable("document"))?;
        let from = match uri.query().filter(|query| !query.is_empty()) {
            None => Some(0),
            Some(query) => query.strip_prefix("from=").and_then(|from| from.parse().ok()),
        };
        let from = from.ok_or_else(|| {
            let message = "the address takes 'from', the ordinal of a chunk".to_owned();
            ApiError::invalid("from", "invalid_query", message)
        })?;
        let (collections, tenant) = (collections(&edge)?, &grant.tenant);
        let found = collections.document(tenant, &name, &document).await;
        let found = found.map_err(ApiError::from_collection)?;
        let places = collections.chunk_places(tenant, &name, &document, from, PLACES).await;
        let places = places.map_err(ApiError::from_collection)?;
        Ok(axum::Json(describe_document(&found, &places)).into_response())
    };
    respond(answer.await)
}

/// `DELETE /v1/collections/{name}/documents/{document}`
pub(crate) async fn delete_document(
    State(edge): State<Edge>,
    Extension(grant): Caller,
    path: DocumentPath,
) -> Response {
    let answer = async {
        let Path((name, document)) = path.map_err(|_| unreadable("document"))?;
        let (collections, tenant) = (collections(&edge)?, &grant.tenant);
        let removed = collections.delete_document(tenant, &name, &document).await;
        let removed = removed.map_err(ApiError::from_collection)?;
        // The chunks are gone, so no search finds them; what fails here is mended later.
        let _ = collections.remove_vectors(tenant, &name, &removed).await;
        let answer = json!({"id": document, "deleted": true, "removed_chunks": removed.len()});
        Ok(axum::Json(answer).into_response())
    };
    respond(answer.await)
}
