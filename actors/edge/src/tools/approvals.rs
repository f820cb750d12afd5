//! Calls that wait until somebody has allowed them.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use headwater_actors::tools::{Approval, ApprovalState, Decided};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Two, asked, two};
use crate::body::read_optional_json;
use crate::error::{ApiError, respond};
use crate::identity::Grant;
use crate::router::Edge;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct DecideRequest {
    #[serde(default)]
    reason: String,
}

fn told(approval: &Approval) -> Value {
    let (by, reason) = match &approval.state {
        ApprovalState::Given { by, .. } | ApprovalState::Used { by, .. } => (Some(by), None),
        ApprovalState::Refused { by, reason, .. } => (Some(by), Some(reason)),
        ApprovalState::Open | ApprovalState::Expired => (None, None),
    };
    let asked = &approval.asked;
    json!({
        "object": "tool.approval",
        "id": approval.id,
        "state": approval.state.name(),
        "by": by,
        "reason": reason,
        "call": asked.call,
        "tool": format!("{}@{}", asked.tool.name, asked.tool.version),
        "summary": asked.summary,
        "asked_by": asked.subject,
        "agent": asked.agent,
        "session": asked.session,
        "created_ms": approval.created_ms,
        "expires_ms": approval.expires_ms,
    })
}

/// `GET /v1/approvals`
pub(crate) async fn list(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &headers)?;
        let all = asked.tools.approvals(&asked.caller).await.map_err(ApiError::from_tools)?;
        let data: Vec<Value> = all.iter().map(told).collect();
        Ok(axum::Json(json!({"object": "list", "data": data})).into_response())
    };
    respond(answer.await)
}

/// `POST /v1/approvals/{id}/{action}`: `approve` or `refuse`.
pub(crate) async fn decide(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    path: Two,
    body: Body,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &headers)?;
        let (id, action) = two(path)?;
        let request: Option<DecideRequest> = read_optional_json(body, &edge.settings).await?;
        let reason = request.unwrap_or_default().reason;
        let decided = match action.as_str() {
            "approve" => Decided::Approve,
            "refuse" if !reason.trim().is_empty() => Decided::Refuse { reason },
            "refuse" => {
                let message = "reason: must say why, for whoever asked".to_owned();
                return Err(ApiError::invalid("reason", "invalid_field", message));
            }
            _ => {
                let message = "action: must be approve or refuse".to_owned();
                return Err(ApiError::invalid("action", "invalid_path", message));
            }
        };
        let approval = asked.tools.decide(&asked.caller, &id, decided).await;
        Ok(axum::Json(told(&approval.map_err(ApiError::from_tools)?)).into_response())
    };
    respond(answer.await)
}
