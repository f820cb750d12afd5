//! Judges held against those before them, and against people.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use headwater_actors::prompts::{
    Action, Agreement, Drift, Interval, JudgeCheck, JudgeCheckAsk, LabelAsk, PromptError,
    PromptKey, Verdict,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::refused;
use super::evals::{check_allowed, judging_models};
use super::{Name, Pair, asked, check_name, number, pair};
use crate::body::read_json;
use crate::chat::caller;
use crate::error::{ApiError, respond};
use crate::identity::Grant;
use crate::router::Edge;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckRequest {
    /// Whose evals have the answers.
    prompt: String,
    #[serde(default)]
    evals: Vec<u64>,
    budget_micro_usd: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AcceptRequest {
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LabelRequest {
    case: String,
    verdict: Verdict,
    #[serde(default)]
    note: String,
}

pub(super) fn interval(of: Interval) -> Value {
    json!({"estimate": of.estimate, "lower": of.lower, "upper": of.upper})
}

fn agreement(of: &Agreement) -> Value {
    json!({"count": of.count, "plain": interval(of.plain), "kappa": of.kappa.map(interval)})
}

/// How far each judge agrees with people.
pub(super) fn told_agreement(judges: &BTreeMap<String, Agreement>) -> Value {
    let told = judges.iter().map(|(judge, of)| {
        let mut told = agreement(of);
        told["judge"] = judge.as_str().into();
        told
    });
    told.collect()
}

fn told_drift(drift: &Drift) -> Value {
    json!({
        "compared": drift.agreement.count,
        "old_mean": drift.old_mean,
        "new_mean": drift.new_mean,
        "difference": drift.difference,
        "flips": drift.flips,
        "flip_share": drift.flip_share(),
        "agreement": agreement(&drift.agreement),
    })
}

fn told(check: &JudgeCheck) -> Value {
    let state = match (&check.accepted, check.problems.is_empty()) {
        (Some(_), _) => "accepted",
        (None, true) => "passed",
        (None, false) => "refused",
    };
    json!({
        "id": check.id,
        "golden_set": check.golden_set,
        "golden_version": check.golden_version,
        "judges_of": check.baseline,
        "prompt": check.prompt,
        "state": state,
        "changes": check.changes,
        "drift": check.drift.as_ref().map(told_drift),
        "problems": check.problems,
        "answers": check.answers,
        "cost_micro_usd": check.micro_usd,
        "by": check.by,
        "created_ms": check.created_ms,
        "accepted": check.accepted,
    })
}

/// `GET /v1/golden/{name}/judge-checks`: the newest first.
pub(crate) async fn checks(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    name: Name,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &uri, name, Action::View)?;
        let PromptKey { team, name } = &asked.prompt;
        asked.prompts.golden_set(team, name).await.map_err(ApiError::from_prompt)?;
        let checks = asked.prompts.judge_checks(team, name).await;
        let data: Vec<Value> = checks.map_err(ApiError::from_prompt)?.iter().map(told).collect();
        Ok(axum::Json(json!({"object": "list", "data": data})).into_response())
    };
    respond(answer.await)
}

/// `POST /v1/golden/{name}/judge-checks`: has judges that changed judge what was judged before.
pub(crate) async fn check(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    name: Name,
    body: Body,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &uri, name, Action::Edit)?;
        let request: CheckRequest = read_json(body, &edge.settings).await?;
        let CheckRequest { prompt, evals, budget_micro_usd } = request;
        check_name("prompt", &prompt)?;
        let PromptKey { team, name } = &asked.prompt;
        let set = asked.prompts.golden_set(team, name).await.map_err(ApiError::from_prompt)?;
        check_allowed(&grant, judging_models(&set.cases))?;
        let ask = JudgeCheckAsk { prompt, evals, budget_micro_usd, caller: caller(&grant) };
        let checked = asked.prompts.check_judges(&asked.actor, team, name, ask).await;
        let checked = checked.map_err(ApiError::from_prompt)?;
        Ok((StatusCode::CREATED, axum::Json(told(&checked))).into_response())
    };
    respond(answer.await)
}

/// `POST /v1/golden/{name}/judge-checks/{id}/accept`: takes the judges as they are.
pub(crate) async fn accept(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    path: Pair,
    body: Body,
) -> Response {
    let answer = async {
        let (name, id) = pair(path);
        let asked = asked(&edge, &grant, &uri, name, Action::Promote)?;
        let AcceptRequest { reason } = read_json(body, &edge.settings).await?;
        let PromptKey { team, name } = &asked.prompt;
        let named = (team.as_str(), name.as_str(), number("id", &id)?);
        let accepted = asked.prompts.accept_judges(&asked.actor, named, &reason).await;
        Ok(axum::Json(told(&accepted.map_err(ApiError::from_prompt)?)).into_response())
    };
    respond(answer.await)
}

/// `GET /v1/prompts/{name}/evals/{id}/labels`
pub(crate) async fn labels(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    path: Pair,
) -> Response {
    let answer = async {
        let (name, id) = pair(path);
        let asked = asked(&edge, &grant, &uri, name, Action::View)?;
        let labels = asked.prompts.labels(&asked.prompt, Some(number("id", &id)?)).await;
        let data = labels.map_err(ApiError::from_prompt)?;
        Ok(axum::Json(json!({"object": "list", "data": data})).into_response())
    };
    respond(answer.await)
}

/// `POST /v1/prompts/{name}/evals/{id}/labels`: what somebody says of a case's answer.
pub(crate) async fn label(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    path: Pair,
    body: Body,
) -> Response {
    let answer = async {
        let (name, id) = pair(path);
        let asked = asked(&edge, &grant, &uri, name, Action::Edit)?;
        let LabelRequest { case, verdict, note } = read_json(body, &edge.settings).await?;
        let ask = LabelAsk { case, verdict, note };
        match asked.prompts.label(&asked.actor, &asked.prompt, number("id", &id)?, ask).await {
            Ok(label) => Ok((StatusCode::CREATED, axum::Json(json!(label))).into_response()),
            Err(error @ PromptError::SecretFound(_)) => refused(error),
            Err(error) => Err(ApiError::from_prompt(error)),
        }
    };
    respond(answer.await)
}
