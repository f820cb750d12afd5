//! `/v1/gateway/config`: what the gateway serves, for operators: look, check, change, step back.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use headwater_actors::gateway::{Change, ConfigDocument, GatewayVersions, Version, VersionError};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::read_json;
use crate::error::{ApiError, INVALID, respond};
use crate::identity::Grant;
use crate::router::Edge;

/// Bytes of a reason.
const REASON_BYTES: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PutRequest {
    document: ConfigDocument,
    #[serde(default)]
    reason: String,
    /// The version that must be served now.
    expected_version: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckRequest {
    document: ConfigDocument,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RollBackRequest {
    /// The one before the served one without it.
    to_version: Option<u64>,
    #[serde(default)]
    reason: String,
    expected_version: Option<u64>,
}

fn versions(edge: &Edge) -> Result<&GatewayVersions, ApiError> {
    edge.gateway_versions.as_ref().ok_or_else(ApiError::no_gateway)
}

fn change(grant: &Grant, reason: String, expected: Option<u64>) -> Result<Change, ApiError> {
    if reason.len() > REASON_BYTES {
        let message =
            format!("reason has {} bytes; at most {REASON_BYTES} are allowed", reason.len());
        return Err(ApiError::invalid("reason", "invalid_field", message));
    }
    Ok(Change { author: grant.tenant.clone(), reason, expected })
}

/// `GET /v1/gateway/config`
pub(crate) async fn current(State(edge): State<Edge>) -> Response {
    let answer = async {
        let version = versions(&edge)?.get(None).await.map_err(ApiError::from_version)?;
        Ok(axum::Json(whole(&edge, &version)).into_response())
    };
    respond(answer.await)
}

/// `GET /v1/gateway/config/versions/{version}`
pub(crate) async fn get(
    State(edge): State<Edge>,
    number: Result<Path<u64>, PathRejection>,
) -> Response {
    let answer = async {
        let Ok(Path(number)) = number else {
            let message = "version: must be a number, as the list of versions has it".to_owned();
            return Err(ApiError::invalid("version", "invalid_field", message));
        };
        let version = versions(&edge)?.get(Some(number)).await.map_err(ApiError::from_version)?;
        Ok(axum::Json(whole(&edge, &version)).into_response())
    };
    respond(answer.await)
}

/// `GET /v1/gateway/config/versions`: the newest first, without their documents.
pub(crate) async fn list(State(edge): State<Edge>) -> Response {
    let answer = async {
        let listed = versions(&edge)?.list().await.map_err(ApiError::from_version)?;
        let data: Vec<Value> = listed.iter().map(|version| head(&edge, version)).collect();
        Ok(axum::Json(json!({"object": "list", "data": data})).into_response())
    };
    respond(answer.await)
}

/// `PUT /v1/gateway/config`: serves the document on every node, or says what is wrong with it.
pub(crate) async fn put(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    body: Body,
) -> Response {
    let answer = async {
        let versions = versions(&edge)?;
        let PutRequest { document, reason, expected_version } =
            read_json(body, &edge.settings).await?;
        let change = change(&grant, reason, expected_version)?;
        let version = versions.put(document, change).await.map_err(ApiError::from_version)?;
        Ok((StatusCode::CREATED, axum::Json(whole(&edge, &version))).into_response())
    };
    respond(answer.await)
}

/// `POST /v1/gateway/config/check`: whether this node could serve the document; changes nothing.
pub(crate) async fn check(State(edge): State<Edge>, body: Body) -> Response {
    let answer = async {
        let versions = versions(&edge)?;
        let CheckRequest { document } = read_json(body, &edge.settings).await?;
        versions.check(&document).map_err(ApiError::from_version)?;
        Ok(axum::Json(json!({"valid": true})).into_response())
    };
    respond(answer.await)
}

/// `POST /v1/gateway/config/rollback`: serves an old document again, as a new version.
pub(crate) async fn roll_back(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    body: Body,
) -> Response {
    let answer = async {
        let versions = versions(&edge)?;
        let RollBackRequest { to_version, reason, expected_version } =
            read_json(body, &edge.settings).await?;
        let change = change(&grant, reason, expected_version)?;
        let version =
            versions.roll_back(to_version, change).await.map_err(ApiError::from_version)?;
        Ok((StatusCode::CREATED, axum::Json(whole(&edge, &version))).into_response())
    };
    respond(answer.await)
}

fn head(edge: &Edge, version: &Version) -> Value {
    let here = edge.gateway.as_ref().map(|gateway| gateway.version());
    json!({
        "version": version.number,
        "created_ms": version.made_ms,
        "author": version.author,
        "reason": version.reason,
        "restores": version.restores,
        "served_here": here == Some(version.number),
    })
}

fn whole(edge: &Edge, version: &Version) -> Value {
    let mut told = head(edge, version);
    told["document"] = serde_json::to_value(&version.document).unwrap_or_default();
    told
}

impl ApiError {
    pub(crate) fn no_gateway() -> ApiError {
        let message = "chat is not set up on this node; ask the operator to name backends in the \
                       setting `gateway.backends`";
        ApiError::new(StatusCode::NOT_FOUND, INVALID, "no_gateway", message.to_owned())
    }

    fn from_version(error: VersionError) -> ApiError {
        let message = error.to_string();
        match error {
            VersionError::Invalid(problem) => {
                ApiError::invalid(&problem.field, "invalid_config", message)
            }
            VersionError::TooLarge { .. } => {
                ApiError::invalid("document", "invalid_config", message)
            }
            VersionError::Moved { .. } => {
                ApiError::new(StatusCode::CONFLICT, INVALID, "version_moved", message)
                    .at("expected_version")
            }
            VersionError::Unknown(_) => {
                ApiError::new(StatusCode::NOT_FOUND, INVALID, "version_not_found", message)
                    .at("version")
            }
            VersionError::NothingBefore => {
                ApiError::new(StatusCode::CONFLICT, INVALID, "nothing_before", message)
                    .at("to_version")
            }
            error if error.is_damage() => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                let advice = "each node goes on with what it serves; apply another version, or \
                              roll back";
                let message = format!("{message}; {advice}");
                ApiError::new(status, "server_error", "version_damaged", message)
            }
            VersionError::Store(_) => ApiError::store_down(),
        }
    }
}
