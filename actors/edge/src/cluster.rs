//! `/v1/cluster`: members, leases and load, for operators.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use headwater_actors::cluster::{MemberState, MemberView, RunningLease};
use serde_json::{Value, json};

use crate::error::{ApiError, Shape};
use crate::router::Edge;

/// `GET /v1/cluster`
pub(crate) async fn status(State(edge): State<Edge>) -> Response {
    let members: Vec<Value> = edge.cluster.members().iter().map(member).collect();
    match edge.cluster.leases().await {
        Ok(leases) => {
            let leases: Vec<Value> = leases.iter().map(lease).collect();
            axum::Json(json!({"members": members, "leases": leases})).into_response()
        }
        Err(_) => ApiError::store_down().respond(Shape::OpenAi),
    }
}

fn member(seen: &MemberView) -> Value {
    let member = &seen.member;
    let state = match member.state {
        MemberState::Alive if !seen.is_reachable() => "unreachable",
        MemberState::Alive => "alive",
        MemberState::Draining => "draining",
        MemberState::Left => "left",
    };
    json!({
        "node": member.node.as_str(),
        "here": seen.is_me,
        "state": state,
        "address": member.address,
        "incarnation": member.incarnation.0,
        "version": seen.version,
        "capacity": member.capacity,
        "load": member.load,
        "offers": member.offers.iter().map(|offer| Value::from(offer.as_str())).collect::<Value>(),
    })
}

fn lease(lease: &RunningLease) -> Value {
    json!({
        "key": String::from_utf8_lossy(&lease.row.key),
        "owner": lease.row.holder.node.as_str(),
        "epoch": lease.row.epoch,
        "remaining_ms": lease.remaining_ms,
    })
}
