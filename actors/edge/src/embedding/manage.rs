//! `/v1/models` and `/v1/aliases` for operators: load, unload, and where aliases point.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use headwater_actors::embedding::{Alias, Target};
use serde::Deserialize;
use serde_json::{Value, json};

use super::openai::describe;
use crate::body::read_json;
use crate::error::{ApiError, respond};
use crate::router::Edge;

/// Longest name of an alias, in bytes.
const NAME_BYTES: usize = 128;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoadRequest {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AliasRequest {
    targets: Vec<TargetField>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetField {
    model: String,
    percent: u32,
}

type NamePath = Result<Path<String>, PathRejection>;

/// `POST /v1/models`: loads a model that the node's settings name, and answers when it serves.
pub(crate) async fn load(State(edge): State<Edge>, body: Body) -> Response {
    let answer = async {
        let LoadRequest { name } = read_json(body, &edge.settings).await?;
        let loaded = edge.embedding.load(&name).await;
        loaded.map_err(|error| ApiError::from_change(error, "name"))?;
        let card = edge.embedding.cards().into_iter().find(|card| card.name == name);
        let model = card.map_or(Value::Null, |card| describe(&edge, &card));
        Ok((StatusCode::CREATED, axum::Json(model)).into_response())
    };
    respond(answer.await)
}

/// `DELETE /v1/models/{model}`: answers when what the model had is finished and it is gone.
pub(crate) async fn unload(State(edge): State<Edge>, name: NamePath) -> Response {
    let answer = async {
        let name = named(name)?;
        let unloaded = edge.embedding.unload(&name).await;
        unloaded.map_err(|error| ApiError::from_change(error, "model"))?;
        Ok(axum::Json(json!({"id": name, "object": "model", "deleted": true})).into_response())
    };
    respond(answer.await)
}

/// `GET /v1/aliases`
pub(crate) async fn aliases(State(edge): State<Edge>) -> Response {
    let aliases = edge.embedding.aliases();
    let data: Vec<Value> =
        aliases.iter().map(|(name, alias)| describe_alias(name, alias)).collect();
    axum::Json(json!({"object": "list", "data": data})).into_response()
}

/// `PUT /v1/aliases/{alias}`: from now on the alias stands for these models. On this node, until
/// its next start.
pub(crate) async fn set_alias(State(edge): State<Edge>, name: NamePath, body: Body) -> Response {
    let answer = async {
        let name = named(name)?;
        let AliasRequest { targets } = read_json(body, &edge.settings).await?;
        let target = |field: TargetField| Target { model: field.model, percent: field.percent };
        let targets = targets.into_iter().map(target).collect();
        let set = edge.embedding.set_alias(&name, targets).await;
        set.map_err(|error| ApiError::from_change(error, "targets"))?;
        let aliases = edge.embedding.aliases();
        let set = aliases.iter().find(|(known, _)| *known == name);
        let shown = set.map_or(Value::Null, |(name, alias)| describe_alias(name, alias));
        Ok(axum::Json(shown).into_response())
    };
    respond(answer.await)
}

/// `DELETE /v1/aliases/{alias}`
pub(crate) async fn remove_alias(State(edge): State<Edge>, name: NamePath) -> Response {
    let answer = async {
        let name = named(name)?;
        let removed = edge.embedding.remove_alias(&name).await;
        removed.map_err(|error| ApiError::from_change(error, "alias"))?;
        Ok(axum::Json(json!({"id": name, "object": "alias", "deleted": true})).into_response())
    };
    respond(answer.await)
}

fn named(name: NamePath) -> Result<String, ApiError> {
    let Ok(Path(name)) = name else { return Err(ApiError::unreadable_path()) };
    let is_plain = |name: &str| !name.chars().any(|letter| letter.is_control() || letter == ' ');
    if name.is_empty() || name.len() > NAME_BYTES || !is_plain(&name) {
        let message =
            format!("a name has 1 to {NAME_BYTES} bytes without spaces and control codes");
        return Err(ApiError::invalid("alias", "invalid_name", message));
    }
    Ok(name)
}

fn describe_alias(name: &str, alias: &Alias) -> Value {
    let target = |target: &Target| json!({"model": target.model, "percent": target.percent});
    let targets: Vec<Value> = alias.targets().iter().map(target).collect();
    json!({"id": name, "object": "alias", "targets": targets})
}
