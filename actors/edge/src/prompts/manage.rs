//! Lists, settings, history, steps back and roles.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use headwater_actors::prompts::{Access, Action, Gates, Options, PromptInfo, PromptKey};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Asked, Name, actor, asked, told};
use crate::body::read_json;
use crate::error::{ApiError, respond};
use crate::identity::Grant;
use crate::query::Query;
use crate::router::Edge;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsRequest {
    gates: Option<Gates>,
    protected: Option<bool>,
    shared: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RollBackRequest {
    /// The one before without it.
    to_version: Option<u64>,
    #[serde(default)]
    reason: String,
}

/// `GET /v1/prompts?team=&after=&limit=`
pub(crate) async fn list(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
) -> Response {
    let answer = async {
        let query = Query::of(&uri)?;
        query.only(&["team", "after", "limit"])?;
        let (limit, actor) = (query.limit()?, actor(&grant));
        let team = query.text("team").unwrap_or(&grant.tenant);
        let all = PromptKey::new(team, "");
        edge.prompts.allow(&actor, &all, Action::View).map_err(ApiError::from_prompt)?;
        let listed = edge.prompts.list(team, query.text("after"), limit).await;
        let listed = listed.map_err(ApiError::from_prompt)?;
        let standing = edge.prompts.standing(&actor, team);
        let next = listed.last().filter(|_| listed.len() == limit).map(|last| last.name.clone());
        let data: Vec<Value> =
            listed.iter().map(|info| told::head(info, &actor, standing)).collect();
        let body = json!({"object": "list", "data": data, "next_after": next});
        Ok(axum::Json(body).into_response())
    };
    respond(answer.await)
}

impl Asked<'_> {
    /// The prompt's head as an answer.
    pub(super) async fn told(&self) -> Result<Response, ApiError> {
        let head = self.prompts.head(&self.prompt).await.map_err(ApiError::from_prompt)?;
        let PromptKey { team, name } = self.prompt.clone();
        let standing = self.prompts.standing(&self.actor, &team);
        Ok(axum::Json(told::head(&PromptInfo { team, name, head }, &self.actor, standing))
            .into_response())
    }
}

/// `GET /v1/prompts/{name}`
pub(crate) async fn get(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    name: Name,
) -> Response {
    let answer = async { asked(&edge, &grant, &uri, name, Action::View)?.told().await };
    respond(answer.await)
}

/// `PUT /v1/prompts/{name}/settings`
pub(crate) async fn set(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    name: Name,
    body: Body,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &uri, name, Action::Administer)?;
        let SettingsRequest { gates, protected, shared } = read_json(body, &edge.settings).await?;
        let options = Options { gates, is_protected: protected, is_shared: shared };
        asked
            .prompts
            .set(&asked.actor, &asked.prompt, options)
            .await
            .map_err(ApiError::from_prompt)?;
        asked.told().await
    };
    respond(answer.await)
}

/// `GET /v1/prompts/{name}/history`: moves of its pointers, the newest first.
pub(crate) async fn history(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    name: Name,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &uri, name, Action::View)?;
        asked.prompts.head(&asked.prompt).await.map_err(ApiError::from_prompt)?;
        let moves = asked.prompts.history(&asked.prompt).await.map_err(ApiError::from_prompt)?;
        let data: Vec<Value> = moves.iter().map(told::moved).collect();
        Ok(axum::Json(json!({"object": "list", "data": data})).into_response())
    };
    respond(answer.await)
}

/// `POST /v1/prompts/{name}/rollback`: a version that was in production serves again.
pub(crate) async fn roll_back(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    name: Name,
    body: Body,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &uri, name, Action::Promote)?;
        let RollBackRequest { to_version, reason } = read_json(body, &edge.settings).await?;
        let back = asked.prompts.roll_back(&asked.actor, &asked.prompt, to_version, reason).await;
        back.map_err(ApiError::from_prompt)?;
        asked.told().await
    };
    respond(answer.await)
}

/// The team whose roles are asked for.
fn team<'a>(
    edge: &Edge,
    grant: &Grant,
    query: &'a Query,
    action: Action,
) -> Result<std::borrow::Cow<'a, str>, ApiError> {
    query.only(&["team"])?;
    let own = || std::borrow::Cow::Owned(grant.tenant.clone());
    let team = query.text("team").map_or_else(own, std::borrow::Cow::Borrowed);
    let all = PromptKey::new(&team, "");
    edge.prompts.allow(&actor(grant), &all, action).map_err(ApiError::from_prompt)?;
    Ok(team)
}

/// `GET /v1/prompt-access`: a team's roles.
pub(crate) async fn access(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
) -> Response {
    let answer = async {
        let query = Query::of(&uri)?;
        let team = team(&edge, &grant, &query, Action::View)?;
        let access = edge.prompts.access(&team).await.map_err(ApiError::from_prompt)?;
        Ok(axum::Json(access).into_response())
    };
    respond(answer.await)
}

/// `PUT /v1/prompt-access`
pub(crate) async fn set_access(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    body: Body,
) -> Response {
    let answer = async {
        let query = Query::of(&uri)?;
        let team = team(&edge, &grant, &query, Action::Administer)?;
        let access: Access = read_json(body, &edge.settings).await?;
        edge.prompts
            .set_access(&actor(&grant), &team, access.clone())
            .await
            .map_err(ApiError::from_prompt)?;
        Ok(axum::Json(access).into_response())
    };
    respond(answer.await)
}
