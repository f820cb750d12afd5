//! Versions: look, check, try out, commit, compare, fork.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use headwater_actors::prompts::{
    Action, Commit, Preview, PromptDocument, PromptKey, ScanOverride, diff as compare,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::{finding, refused};
use super::{Asked, Name, Pair, asked, check_name, number, pair, told};
use crate::body::read_json;
use crate::error::{ApiError, respond};
use crate::identity::Grant;
use crate::router::Edge;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommitRequest {
    document: PromptDocument,
    #[serde(default)]
    message: String,
    #[serde(default)]
    tags: Vec<String>,
    parent: Option<u64>,
    expected_newest: Option<u64>,
    #[serde(default)]
    overrides: Vec<ScanOverride>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckRequest {
    document: PromptDocument,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PreviewRequest {
    document: PromptDocument,
    #[serde(default)]
    variables: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ForkRequest {
    from: ForkFrom,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ForkFrom {
    /// The caller's own without it.
    team: Option<String>,
    prompt: String,
    /// The one in production without it.
    version: Option<u64>,
}

/// `GET /v1/prompts/{name}/versions`: the newest first, without their documents.
pub(crate) async fn versions(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    name: Name,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &uri, name, Action::View)?;
        let head = asked.prompts.head(&asked.prompt).await.map_err(ApiError::from_prompt)?;
        let listed = asked.prompts.versions(&asked.prompt).await.map_err(ApiError::from_prompt)?;
        let data: Vec<Value> = listed.iter().map(|info| told::version(&head, info)).collect();
        Ok(axum::Json(json!({"object": "list", "data": data})).into_response())
    };
    respond(answer.await)
}

impl Asked<'_> {
    async fn told_version(&self, number: u64) -> Result<Value, ApiError> {
        let head = self.prompts.head(&self.prompt).await.map_err(ApiError::from_prompt)?;
        let version = self.prompts.version(&self.prompt, number).await;
        let (info, ready) = version.map_err(ApiError::from_prompt)?;
        Ok(told::whole_version(&head, &info, &ready))
    }
}

/// `GET /v1/prompts/{name}/versions/{version}`
pub(crate) async fn version(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    path: Pair,
) -> Response {
    let answer = async {
        let (name, version) = pair(path);
        let asked = asked(&edge, &grant, &uri, name, Action::View)?;
        let told = asked.told_version(number("version", &version)?).await?;
        Ok(axum::Json(told).into_response())
    };
    respond(answer.await)
}

/// `POST /v1/prompts/{name}/versions`: keeps a document for good; the first makes the prompt.
pub(crate) async fn commit(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    name: Name,
    body: Body,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &uri, name, Action::Edit)?;
        let CommitRequest { document, message, tags, parent, expected_newest, overrides } =
            read_json(body, &edge.settings).await?;
        let commit = Commit { document, message, tags, parent, expected_newest, overrides };
        let (info, checked) = match asked.prompts.commit(&asked.actor, &asked.prompt, commit).await
        {
            Ok(done) => done,
            Err(error) => return refused(error),
        };
        let mut told = asked.told_version(info.number).await?;
        told["warnings"] = checked.warnings.into();
        Ok((StatusCode::CREATED, axum::Json(told)).into_response())
    };
    respond(answer.await)
}

/// `POST /v1/prompts/{name}/check`: whether a document could be committed; keeps nothing.
pub(crate) async fn check(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    name: Name,
    body: Body,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &uri, name, Action::View)?;
        let CheckRequest { document } = read_json(body, &edge.settings).await?;
        let checked = asked.prompts.check(&asked.prompt.team, &document).await;
        let checked = checked.map_err(ApiError::from_prompt)?;
        let findings: Vec<Value> = checked.findings.iter().map(finding).collect();
        Ok(axum::Json(json!({
            "warnings": checked.warnings,
            "findings": findings,
            "variables": checked.variables,
            "secrets": checked.secrets,
            "sha256": document.sha256(),
        }))
        .into_response())
    };
    respond(answer.await)
}

/// `POST /v1/prompts/{name}/preview`: renders a document that nobody has committed.
pub(crate) async fn preview(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    name: Name,
    body: Body,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &uri, name, Action::View)?;
        let PreviewRequest { document, variables } = read_json(body, &edge.settings).await?;
        let preview = Preview { document, variables };
        let rendered = asked.prompts.preview(&asked.prompt.team, &preview).await;
        let rendered = rendered.map_err(ApiError::from_prompt)?;
        Ok(axum::Json(told::rendered(&rendered)).into_response())
    };
    respond(answer.await)
}

/// `GET /v1/prompts/{name}/diff?from=&to=`: what changed between two versions, line by line.
pub(crate) async fn diff(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    name: Name,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &uri, name, Action::View)?;
        asked.query.only(&["team", "from", "to"])?;
        let one = |field: &'static str| {
            let missing = || {
                let message = format!("{field} is missing; name a version by its number");
                ApiError::invalid(field, "invalid_query", message)
            };
            asked.query.number(field, 1, u64::MAX)?.ok_or_else(missing)
        };
        let (from, to) = (one("from")?, one("to")?);
        let (_, before) =
            asked.prompts.version(&asked.prompt, from).await.map_err(ApiError::from_prompt)?;
        let (_, after) =
            asked.prompts.version(&asked.prompt, to).await.map_err(ApiError::from_prompt)?;
        let fields = compare(&before.document, &after.document);
        let fields: Vec<Value> =
            fields.into_iter().map(|one| json!({"field": one.field, "lines": one.lines})).collect();
        Ok(axum::Json(json!({"from": from, "to": to, "fields": fields})).into_response())
    };
    respond(answer.await)
}

/// `POST /v1/prompts/{name}/fork`: copies another prompt's version into this new prompt.
pub(crate) async fn fork(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    name: Name,
    body: Body,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &uri, name, Action::Edit)?;
        let ForkRequest { from } = read_json(body, &edge.settings).await?;
        check_name("from.prompt", &from.prompt)?;
        let team = from.team.as_deref().unwrap_or(&asked.prompt.team);
        let source = PromptKey::new(team, &from.prompt);
        let forked = asked.prompts.fork(&asked.actor, &asked.prompt, &source, from.version).await;
        match forked {
            Ok(info) => {
                let told = asked.told_version(info.number).await?;
                Ok((StatusCode::CREATED, axum::Json(told)).into_response())
            }
            Err(error) => refused(error),
        }
    };
    respond(answer.await)
}
