//! Publishing, finding and granting tools.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use headwater_actors::tools::{
    Difference, Filter, Kind, State as Served, Tool, anthropic_tool, mcp_tool, openai_chat_tool,
    openai_responses_tool,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{One, Three, Two, asked, one, tool_name, tool_version, two, unreadable};
use crate::body::read_json;
use crate::error::{ApiError, respond};
use crate::identity::Grant;
use crate::query::Query;
use crate::router::Edge;

/// Shapes of a list, for whoever hands it to a model.
const FORMATS: [&str; 5] = ["headwater", "openai", "openai_responses", "anthropic", "mcp"];
/// Tools that a search finds when it names no number.
const FOUND: usize = 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SearchRequest {
    query: String,
    limit: Option<usize>,
    format: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WithdrawRequest {
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DefaultRequest {
    /// The newest without one.
    version: Option<u32>,
}

fn told(tool: &Tool, now_ms: u64) -> Value {
    let (state, reason) = match &tool.state {
        Served::Published => ("published", None),
        Served::Withdrawn { reason } => ("withdrawn", Some(reason)),
    };
    json!({
        "object": "tool",
        "name": tool.name().as_str(),
        "version": tool.version.get(),
        "reference": format!("{}@{}", tool.name(), tool.version),
        "sha256": tool.hash.as_str(),
        "state": state,
        "reason": reason,
        "published_ms": tool.published_ms,
        "deprecation": tool.notice(now_ms).map(|notice| notice.text),
        "definition": tool.definition.to_json(),
    })
}

fn rendered(tool: &Tool, format: &str, now_ms: u64) -> Value {
    match format {
        "openai" => openai_chat_tool(tool),
        "openai_responses" => openai_responses_tool(tool),
        "anthropic" => anthropic_tool(tool),
        "mcp" => mcp_tool(tool, now_ms),
        _ => told(tool, now_ms),
    }
}

fn check_format(format: Option<&str>) -> Result<&str, ApiError> {
    let format = format.unwrap_or("headwater");
    match FORMATS.contains(&format) {
        true => Ok(format),
        false => {
            let message = format!("format: must be one of {}", FORMATS.join(", "));
            Err(ApiError::invalid("format", "invalid_field", message))
        }
    }
}

/// `GET /v1/tools?text=&kind=&owner=&after=&limit=&format=`
pub(crate) async fn list(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &headers)?;
        let query = Query::of(&uri)?;
        query.only(&["text", "kind", "owner", "after", "limit", "format"])?;
        let format = check_format(query.text("format"))?;
        let kind = query.text("kind").map(|word| {
            Kind::of(word).ok_or_else(|| {
                let message = "kind: must be read_only, stateful or code".to_owned();
                ApiError::invalid("kind", "invalid_query", message)
            })
        });
        let filter = Filter {
            owner: query.text("owner").map(str::to_owned),
            kind: kind.transpose()?,
            text: query.text("text").map(str::to_owned),
        };
        let after = query.text("after").map(tool_name).transpose()?;
        let limit = query.limit()?.min(200);
        let (tools, next) = asked.tools.list(&asked.caller, &filter, after.as_ref(), limit);
        let now_ms = asked.tools.now_ms();
        let data: Vec<Value> = tools.iter().map(|tool| rendered(tool, format, now_ms)).collect();
        let next = next.map(|name| name.to_string());
        Ok(axum::Json(json!({"object": "list", "data": data, "next_after": next})).into_response())
    };
    respond(answer.await)
}

/// `POST /v1/tools/search`
pub(crate) async fn search(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &headers)?;
        let request: SearchRequest = read_json(body, &edge.settings).await?;
        let format = check_format(request.format.as_deref())?;
        let limit = request.limit.unwrap_or(FOUND);
        if !(1..=200).contains(&limit) {
            let message = "limit: must be 1 to 200".to_owned();
            return Err(ApiError::invalid("limit", "invalid_field", message));
        }
        let found = asked.tools.search(&asked.caller, &request.query, limit).await;
        let found = found.map_err(ApiError::from_tools)?;
        let now_ms = asked.tools.now_ms();
        let hit = |(tool, score): &(Tool, f64)| json!({"score": score, "tool": rendered(tool, format, now_ms)});
        let data: Vec<Value> = found.iter().map(hit).collect();
        Ok(axum::Json(json!({"object": "list", "data": data})).into_response())
    };
    respond(answer.await)
}

fn difference(one: &Difference) -> Value {
    json!({"path": one.path, "what": one.what, "severity": one.severity.word()})
}

/// `POST /v1/tools`
pub(crate) async fn publish(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &headers)?;
        let document: Value = read_json(body, &edge.settings).await?;
        let published = asked.tools.publish(&asked.caller, &document).await;
        let published = published.map_err(ApiError::from_tools)?;
        let version = published.reference.version.map(|version| version.get());
        let body = json!({
            "object": "tool.published",
            "name": published.reference.name.as_str(),
            "version": version,
            "reference": published.reference.to_string(),
            "is_new": published.is_new,
            "differences": published.differences.iter().map(difference).collect::<Vec<_>>(),
        });
        let status = if published.is_new { StatusCode::CREATED } else { StatusCode::OK };
        Ok((status, axum::Json(body)).into_response())
    };
    respond(answer.await)
}

/// `GET /v1/tools/{name}`: all its versions, the oldest first.
pub(crate) async fn versions(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    name: One,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &headers)?;
        let name = tool_name(&one(name)?)?;
        let versions = asked.tools.versions(&asked.caller, &name);
        if versions.is_empty() {
            let message = format!("there is no tool {name} that you may see; search the tools");
            let status = StatusCode::NOT_FOUND;
            return Err(ApiError::new(status, crate::error::INVALID, "not_found", message));
        }
        let now_ms = asked.tools.now_ms();
        let data: Vec<Value> = versions.iter().map(|tool| told(tool, now_ms)).collect();
        Ok(axum::Json(json!({"object": "list", "data": data})).into_response())
    };
    respond(answer.await)
}

/// `PUT /v1/tools/{name}/versions/{version}`: another description or deprecation.
pub(crate) async fn amend(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    path: Two,
    body: Body,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &headers)?;
        let (name, version) = two(path)?;
        let version = tool_version(&version)?;
        let document: Value = read_json(body, &edge.settings).await?;
        if document.get("name").and_then(Value::as_str) != Some(name.as_str()) {
            let message = format!("name: must be {name}, as in the path");
            return Err(ApiError::invalid("name", "invalid_field", message));
        }
        let done = asked.tools.amend(&asked.caller, version, &document).await;
        done.map_err(ApiError::from_tools)?;
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    respond(answer.await)
}

/// `POST /v1/tools/{name}/versions/{version}/{action}`: `withdraw` or `restore`.
pub(crate) async fn act(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    path: Three,
    body: Body,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &headers)?;
        let axum::extract::Path((name, version, action)) = path.map_err(|_| unreadable())?;
        let (name, version) = (tool_name(&name)?, tool_version(&version)?);
        let reason = match action.as_str() {
            "restore" => None,
            "withdraw" => {
                let request: WithdrawRequest = read_json(body, &edge.settings).await?;
                if request.reason.trim().is_empty() {
                    let message = "reason: must say why, for whoever calls it".to_owned();
                    return Err(ApiError::invalid("reason", "invalid_field", message));
                }
                Some(request.reason)
            }
            _ => {
                let message = "action: must be withdraw or restore".to_owned();
                return Err(ApiError::invalid("action", "invalid_path", message));
            }
        };
        let done = asked.tools.withdraw(&asked.caller, &name, version, reason).await;
        done.map_err(ApiError::from_tools)?;
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    respond(answer.await)
}

/// `PUT /v1/tools/{name}/default`
pub(crate) async fn point(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    name: One,
    body: Body,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &headers)?;
        let name = tool_name(&one(name)?)?;
        let request: DefaultRequest = read_json(body, &edge.settings).await?;
        let version = request.version.map(|version| tool_version(&version.to_string()));
        let done = asked.tools.point(&asked.caller, &name, version.transpose()?).await;
        done.map_err(ApiError::from_tools)?;
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    respond(answer.await)
}

/// `GET /v1/tool-grants`
pub(crate) async fn grants(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &headers)?;
        let grants = asked.tools.grants(&asked.caller);
        let data: Vec<Value> = grants.iter().map(|grant| grant.to_json()).collect();
        Ok(axum::Json(json!({"object": "list", "data": data})).into_response())
    };
    respond(answer.await)
}

/// `PUT /v1/tool-grants/{id}`
pub(crate) async fn put_grant(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    id: One,
    body: Body,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &headers)?;
        let id = one(id)?;
        let mut document: Value = read_json(body, &edge.settings).await?;
        if let Some(fields) = document.as_object_mut() {
            let own = fields.entry("id").or_insert_with(|| id.clone().into());
            if own.as_str() != Some(id.as_str()) {
                let message = format!("id: must be {id}, as in the path, or be left out");
                return Err(ApiError::invalid("id", "invalid_field", message));
            }
        }
        let done = asked.tools.grant(&asked.caller, &document).await;
        done.map_err(ApiError::from_tools)?;
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    respond(answer.await)
}

/// `DELETE /v1/tool-grants/{id}`
pub(crate) async fn delete_grant(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    id: One,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &headers)?;
        let done = asked.tools.revoke(&asked.caller, &one(id)?).await;
        done.map_err(ApiError::from_tools)?;
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    respond(answer.await)
}
