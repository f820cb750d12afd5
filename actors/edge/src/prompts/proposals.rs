//! Flagged answers that wait for an editor.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use headwater_actors::prompts::{Acceptance, Action, Flagged, Proposal};
use serde_json::{Value, json};

use super::{Name, asked};
use crate::body::read_optional_json;
use crate::error::{ApiError, respond};
use crate::identity::Grant;
use crate::router::Edge;

pub(super) fn told_flag(flagged: &Flagged) -> Value {
    match flagged {
        Flagged::Waits(proposal) => {
            json!({"proposal": proposal.id, "state": "waits", "times": proposal.times})
        }
        Flagged::Taken { id } => json!({"proposal": id, "state": "taken"}),
    }
}

fn told(proposal: &Proposal) -> Value {
    json!({
        "id": proposal.id,
        "golden_set": proposal.golden_set,
        "flag": proposal.flag,
        "by": proposal.by,
        "created_ms": proposal.created_ms,
        "times": proposal.times,
    })
}

/// `GET /v1/prompts/{name}/proposals`
pub(crate) async fn list(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    name: Name,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &uri, name, Action::View)?;
        asked.prompts.head(&asked.prompt).await.map_err(ApiError::from_prompt)?;
        let waiting = asked.prompts.proposals(&asked.prompt).await;
        let data: Vec<Value> = waiting.map_err(ApiError::from_prompt)?.iter().map(told).collect();
        Ok(axum::Json(json!({"object": "list", "data": data})).into_response())
    };
    respond(answer.await)
}

/// `POST /v1/prompts/{name}/proposals/{id}/{action}`: `accept` or `drop`.
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
        let asked = asked(&edge, &grant, &uri, name, Action::Edit)?;
        let (prompts, prompt) = (asked.prompts, &asked.prompt);
        let told = match action.as_str() {
            "accept" => {
                let taken: Option<Acceptance> = read_optional_json(body, &edge.settings).await?;
                let taken = taken.unwrap_or_default();
                let set = prompts.accept_proposal(&asked.actor, prompt, &id, taken).await;
                let set = set.map_err(ApiError::from_prompt)?;
                json!({"golden_set": set.name, "version": set.version, "cases": set.cases})
            }
            "drop" => {
                let dropped = prompts.drop_proposal(prompt, &id).await;
                dropped.map_err(ApiError::from_prompt)?;
                json!({"proposal": id, "state": "dropped"})
            }
            _ => {
                let message = "action: must be accept or drop".to_owned();
                return Err(ApiError::invalid("action", "invalid_path", message));
            }
        };
        Ok(axum::Json(told).into_response())
    };
    respond(answer.await)
}
