//! The way of a version to production.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use headwater_actors::prompts::{Action, Ask, Begin};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Name, Pair, asked, number, pair, told};
use crate::body::{read_json, read_optional_json};
use crate::error::{ApiError, respond};
use crate::identity::Grant;
use crate::router::Edge;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BeginRequest {
    version: u64,
    #[serde(default)]
    reason: String,
    canary_per_mille: Option<u32>,
    /// Promotes it as soon as all gates are passed.
    #[serde(default)]
    auto: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ActRequest {
    reason: String,
}

/// `GET /v1/prompts/{name}/promotions`: the newest first.
pub(crate) async fn promotions(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    name: Name,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &uri, name, Action::View)?;
        asked.prompts.head(&asked.prompt).await.map_err(ApiError::from_prompt)?;
        let all = asked.prompts.promotions(&asked.prompt).await.map_err(ApiError::from_prompt)?;
        let data: Vec<Value> = all.iter().map(told::promotion).collect();
        Ok(axum::Json(json!({"object": "list", "data": data})).into_response())
    };
    respond(answer.await)
}

/// `POST /v1/prompts/{name}/promotions`: begins the way of a version to production.
pub(crate) async fn begin(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    name: Name,
    body: Body,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &uri, name, Action::Edit)?;
        let BeginRequest { version, reason, canary_per_mille, auto } =
            read_json(body, &edge.settings).await?;
        // Both reach users without another word of a promoter.
        if auto || canary_per_mille.is_some() {
            let allowed = asked.prompts.allow(&asked.actor, &asked.prompt, Action::Promote);
            allowed.map_err(ApiError::from_prompt)?;
        }
        let begun = asked.prompts.begin_promotion(
            &asked.actor,
            &asked.prompt,
            Begin { version, reason, canary_per_mille, is_auto: auto },
        );
        let begun = begun.await.map_err(ApiError::from_prompt)?;
        Ok((StatusCode::CREATED, axum::Json(told::promotion(&begun))).into_response())
    };
    respond(answer.await)
}

/// `GET /v1/prompts/{name}/promotions/{id}`
pub(crate) async fn promotion(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    path: Pair,
) -> Response {
    let answer = async {
        let (name, id) = pair(path);
        let asked = asked(&edge, &grant, &uri, name, Action::View)?;
        let found = asked.prompts.promotion(&asked.prompt, number("id", &id)?).await;
        Ok(axum::Json(told::promotion(&found.map_err(ApiError::from_prompt)?)).into_response())
    };
    respond(answer.await)
}

/// `POST /v1/prompts/{name}/promotions/{id}/{action}`
pub(crate) async fn act(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    path: Result<Path<(String, String, String)>, PathRejection>,
    body: Body,
) -> Response {
    let answer = async {
        let (name, id, action) = match path {
            Ok(Path((name, id, action))) => (Ok(Path(name)), id, action),
            Err(rejection) => (Err(rejection), String::new(), String::new()),
        };
        let needs = if action == "withdraw" { Action::Edit } else { Action::Promote };
        let asked = asked(&edge, &grant, &uri, name, needs)?;
        let request: Option<ActRequest> = read_optional_json(body, &edge.settings).await?;
        let ActRequest { reason } = request.unwrap_or_default();
        let ask = match action.as_str() {
            "promote" => Ask::Promote,
            "withdraw" => Ask::Withdraw { reason },
            "override" => Ask::Override { reason },
            "approve" => Ask::Approve,
            _ => {
                let message = "action: must be promote, withdraw, override or approve".to_owned();
                return Err(ApiError::invalid("action", "invalid_path", message));
            }
        };
        let id = number("id", &id)?;
        let done = asked.prompts.ask_promotion(&asked.actor, &asked.prompt, id, ask).await;
        Ok(axum::Json(told::promotion(&done.map_err(ApiError::from_prompt)?)).into_response())
    };
    respond(answer.await)
}
