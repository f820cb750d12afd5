//! `/v1/tools` and what belongs to them: the registry, calls, approvals, agents and their sessions,
//! and sandboxes.

pub(crate) mod agents;
pub(crate) mod approvals;
pub(crate) mod calls;
mod error;
pub(crate) mod mcp;
pub(crate) mod registry;
pub(crate) mod sandbox;
pub(crate) mod sessions;
mod streaming;

use std::sync::Arc;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::HeaderMap;
use headwater_actors::tools::{ToolCaller, ToolName, ToolVersion, ToolsHandle};

use crate::error::ApiError;
use crate::identity::Grant;
use crate::prompts::actor;
use crate::router::Edge;

/// The header that names the agent which acts with a caller's key.
const AGENT: &str = "x-headwater-agent";
/// The id of a call or a run, where the body has none.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Characters of an agent's name.
const AGENT_CHARACTERS: usize = 128;

/// A path of one name.
type One = Result<Path<String>, PathRejection>;
/// A path of two.
type Two = Result<Path<(String, String)>, PathRejection>;
/// A path of three.
type Three = Result<Path<(String, String, String)>, PathRejection>;

/// The tool service, and who asks it.
struct Asked<'a> {
    tools: &'a ToolsHandle,
    caller: ToolCaller,
}

fn asked<'a>(
    edge: &'a Edge,
    grant: &Arc<Grant>,
    headers: &HeaderMap,
) -> Result<Asked<'a>, ApiError> {
    let agent = match headers.get(AGENT) {
        None => None,
        Some(value) => {
            let named = value.to_str().ok().filter(|name| {
                (1..=AGENT_CHARACTERS).contains(&name.len())
                    && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@:/".contains(&b))
            });
            let named = named.ok_or_else(|| {
                let message = format!(
                    "{AGENT}: must be 1 to {AGENT_CHARACTERS} letters, digits, `.`, `_`, `-`, \
                     `@`, `:` and `/`"
                );
                ApiError::invalid(AGENT, "invalid_header", message)
            })?;
            Some(named.to_owned())
        }
    };
    let caller = ToolCaller {
        team: grant.tenant.clone(),
        project: grant.project.clone(),
        user: grant.user.clone(),
        agent,
        key_id: grant.key_id.clone(),
        subject: actor(grant).name,
        is_operator: grant.is_operator(),
    };
    Ok(Asked { tools: &edge.tools, caller })
}

fn unreadable() -> ApiError {
    let message = "the path is not percent-encoded UTF-8; encode each part of it".to_owned();
    ApiError::invalid("path", "invalid_path", message)
}

fn one(path: One) -> Result<String, ApiError> {
    path.map(|Path(name)| name).map_err(|_| unreadable())
}

fn two(path: Two) -> Result<(String, String), ApiError> {
    path.map(|Path(both)| both).map_err(|_| unreadable())
}

/// What a path ending in `/{id}/cancel` is about.
fn cancelled(path: Two) -> Result<String, ApiError> {
    let (id, action) = two(path)?;
    if action != "cancel" {
        let message = "action: must be cancel".to_owned();
        return Err(ApiError::invalid("action", "invalid_path", message));
    }
    Ok(id)
}

fn text_of<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, ApiError> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    value.to_str().map(Some).map_err(|_| {
        let message = format!("{name}: must be visible ASCII");
        ApiError::invalid(name, "invalid_header", message)
    })
}

fn tool_name(name: &str) -> Result<ToolName, ApiError> {
    ToolName::new(name).map_err(|problem| ApiError::from_tools(problem.into()))
}

fn tool_version(version: &str) -> Result<ToolVersion, ApiError> {
    version
        .parse()
        .map_err(|problem: headwater_actors::tools::Problem| ApiError::from_tools(problem.into()))
}
