//! Golden sets, and evals by them.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use headwater_actors::prompts::{
    Action, Case, Eval, EvalAsk, GoldenAsk, GoldenInfo, Pairs, PromptKey, agreements,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::judging::{interval, told_agreement};
use super::{Asked, Name, Pair, actor, asked, check_name, number, pair};
use crate::body::read_json;
use crate::chat::caller;
use crate::error::{ApiError, respond};
use crate::identity::Grant;
use crate::query::Query;
use crate::router::Edge;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetRequest {
    cases: Vec<Case>,
    expected_version: Option<u64>,
    /// A time of the day in UTC, or `off`.
    nightly: Option<String>,
    nightly_budget_micro_usd: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EvalRequest {
    version: u64,
    golden_set: String,
    baseline: Option<u64>,
    limit: Option<usize>,
    #[serde(default)]
    dry_run: bool,
    budget_micro_usd: Option<u64>,
}

/// `GET /v1/golden`
pub(crate) async fn sets(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
) -> Response {
    let answer = async {
        let query = Query::of(&uri)?;
        query.only(&["team"])?;
        let team = query.text("team").unwrap_or(&grant.tenant);
        let all = PromptKey::new(team, "");
        edge.prompts.allow(&actor(&grant), &all, Action::View).map_err(ApiError::from_prompt)?;
        let sets = edge.prompts.golden_sets(team).await;
        let data: Vec<Value> = sets.map_err(ApiError::from_prompt)?.iter().map(told_info).collect();
        Ok(axum::Json(json!({"object": "list", "data": data})).into_response())
    };
    respond(answer.await)
}

fn told_info(set: &GoldenInfo) -> Value {
    json!({
        "name": set.name,
        "version": set.version,
        "cases": set.cases,
        "by": set.by,
        "updated_ms": set.updated_ms,
        "judges_of": set.baseline(),
        "nightly": set.nightly.map(|nightly| nightly.to_string()),
    })
}

impl Asked<'_> {
    /// The set that the address names, in its newest version.
    async fn told_set(&self) -> Result<Value, ApiError> {
        let PromptKey { team, name } = &self.prompt;
        let set = self.prompts.golden_set(team, name).await.map_err(ApiError::from_prompt)?;
        Ok(json!({
            "name": name,
            "version": set.version,
            "cases": set.cases,
            "by": set.by,
            "updated_ms": set.updated_ms,
            // The version whose judges may decide.
            "judges_of": set.baseline,
            "judges_may_gate": set.may_gate(),
            "nightly": set.nightly.map(|nightly| nightly.to_string()),
            "nightly_budget_micro_usd": set.nightly.map(|nightly| nightly.budget_micro_usd),
        }))
    }
}

/// `GET /v1/golden/{name}`
pub(crate) async fn set(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    name: Name,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &uri, name, Action::View)?;
        let body = asked.told_set().await?;
        Ok(axum::Json(body).into_response())
    };
    respond(answer.await)
}

/// `PUT /v1/golden/{name}`: keeps the cases as the set's next version.
pub(crate) async fn put_set(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    name: Name,
    body: Body,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &uri, name, Action::Edit)?;
        let request: SetRequest = read_json(body, &edge.settings).await?;
        let SetRequest { cases, expected_version, nightly, nightly_budget_micro_usd } = request;
        let expected = expected_version;
        let ask = GoldenAsk { cases, expected, nightly, nightly_budget_micro_usd };
        let PromptKey { team, name } = &asked.prompt;
        let put = asked.prompts.put_golden_set(&asked.actor, team, name, ask);
        put.await.map_err(ApiError::from_prompt)?;
        let told = asked.told_set().await?;
        Ok((StatusCode::CREATED, axum::Json(told)).into_response())
    };
    respond(answer.await)
}

fn head(eval: &Eval) -> Value {
    json!({
        "id": eval.id,
        "version": eval.version,
        "golden_set": eval.golden_set,
        "golden_version": eval.golden_version,
        "state": if eval.stopped.is_some() { "stopped" } else { "done" },
        "stopped_reason": eval.stopped,
        "score": eval.score,
        "cases": eval.cases,
        "finished": eval.finished,
        "cost_micro_usd": eval.micro_usd,
        "by": eval.by,
        "created_ms": eval.created_ms,
        // Its judges changed, and are compared with nothing: the score passes no gate.
        "judges_unchecked": eval.is_unchecked,
        // The day that its night belongs to, counted from 1970.
        "nightly": eval.night,
        "pairwise": eval.pairs.as_ref().map(told_pairs),
    })
}

fn told_pairs(pairs: &Pairs) -> Value {
    json!({
        "baseline": pairs.baseline,
        "compared": pairs.compared(),
        "wins": pairs.wins,
        "ties": pairs.ties,
        "losses": pairs.losses,
        "win_rate": pairs.win_rate().map(interval),
        // Pairs that the judge saw differently in the other order.
        "orders_disagreed": pairs.orders_disagreed,
    })
}

fn told_pair(pair: &headwater_actors::prompts::Pair) -> Value {
    json!({
        "baseline": pair.baseline,
        "baseline_answer": pair.answer,
        "outcome": pair.outcome,
        "orders_agree": pair.orders_agree,
    })
}

fn whole(eval: &Eval) -> Value {
    let mut told = head(eval);
    let result = |one: &headwater_actors::prompts::CaseResult| {
        json!({
            "case": one.case,
            "score": one.score,
            "passed": one.score >= 1.0,
            "weight": one.weight,
            "answer": one.answer,
            "reason": one.reason,
            "latency_ms": one.latency_ms,
            "cost_micro_usd": one.micro_usd,
            "kept": one.is_kept,
            "pairwise": one.pair.as_ref().map(told_pair),
        })
    };
    told["results"] = eval.results.iter().map(result).collect();
    told
}

/// What is asked for a caller the caller may ask itself; says what is compared with.
async fn check_models(asked: &Asked<'_>, grant: &Grant, ask: &mut EvalAsk) -> Result<(), ApiError> {
    let Asked { prompts, prompt, .. } = asked;
    let (_, ready) = prompts.version(prompt, ask.version).await.map_err(ApiError::from_prompt)?;
    let set = prompts.golden_set(&prompt.team, &ask.golden_set).await;
    let set = set.map_err(ApiError::from_prompt)?;
    let models = ready.document.model.model.iter().chain(judging_models(&set.cases));
    check_allowed(grant, models)?;
    let taken: Vec<Case> = set.cases.into_iter().take(ask.limit.unwrap_or(usize::MAX)).collect();
    ask.baseline = prompts.baseline_of(prompt, ask, &taken).await.map_err(ApiError::from_prompt)?;
    if let Some(baseline) = ask.baseline {
        let (_, ready) = prompts.version(prompt, baseline).await.map_err(ApiError::from_prompt)?;
        check_allowed(grant, ready.document.model.model.iter())?;
    }
    Ok(())
}

/// Models that judge.
pub(super) fn judging_models(cases: &[Case]) -> impl Iterator<Item = &String> {
    cases.iter().filter_map(|case| case.judge.model())
}

pub(super) fn check_allowed<'a>(
    grant: &Grant,
    mut models: impl Iterator<Item = &'a String>,
) -> Result<(), ApiError> {
    match models.find(|model| !grant.allows(model)) {
        Some(model) => Err(ApiError::model_not_allowed(model)),
        None => Ok(()),
    }
}

/// `POST /v1/prompts/{name}/evals`: asks a version the cases of a set, or says what it would ask.
pub(crate) async fn run(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    name: Name,
    body: Body,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &uri, name, Action::Edit)?;
        let request: EvalRequest = read_json(body, &edge.settings).await?;
        let EvalRequest { version, golden_set, baseline, limit, dry_run, budget_micro_usd } =
            request;
        check_name("golden_set", &golden_set)?;
        let mut ask = EvalAsk {
            version,
            golden_set,
            baseline,
            limit,
            budget_micro_usd,
            by: asked.actor.name.clone(),
            caller: caller(&grant),
            keeps_stopped: true,
            night: None,
        };
        check_models(&asked, &grant, &mut ask).await?;
        if dry_run {
            let estimate = asked.prompts.estimate_eval(&asked.prompt, &ask).await;
            let estimate = estimate.map_err(ApiError::from_prompt)?;
            let told = json!({"cases": estimate.cases, "tokens": estimate.tokens, "micro_usd": estimate.micro_usd});
            return Ok(axum::Json(json!({"estimate": told})).into_response());
        }
        let eval = asked.prompts.run_eval(&asked.prompt, ask).await;
        let eval = eval.map_err(ApiError::from_prompt)?;
        Ok((StatusCode::CREATED, axum::Json(whole(&eval))).into_response())
    };
    respond(answer.await)
}

/// `GET /v1/prompts/{name}/evals`: the newest first, without their results.
pub(crate) async fn list(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    name: Name,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &uri, name, Action::View)?;
        let evals = asked.prompts.evals(&asked.prompt).await.map_err(ApiError::from_prompt)?;
        let data: Vec<Value> = evals.iter().map(head).collect();
        let agreement = asked.prompts.agreement(&asked.prompt).await;
        let agreement = told_agreement(&agreement.map_err(ApiError::from_prompt)?);
        let told = json!({"object": "list", "data": data, "agreement": agreement});
        Ok(axum::Json(told).into_response())
    };
    respond(answer.await)
}

/// `GET /v1/prompts/{name}/evals/{id}`
pub(crate) async fn get(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    path: Pair,
) -> Response {
    let answer = async {
        let (name, id) = pair(path);
        let asked = asked(&edge, &grant, &uri, name, Action::View)?;
        let id = number("id", &id)?;
        let eval = asked.prompts.eval(&asked.prompt, id).await;
        let mut told = whole(&eval.map_err(ApiError::from_prompt)?);
        let labels = asked.prompts.labels(&asked.prompt, Some(id)).await;
        let labels = labels.map_err(ApiError::from_prompt)?;
        told["agreement"] = told_agreement(&agreements(&labels));
        told["labels"] = json!(labels);
        Ok(axum::Json(told).into_response())
    };
    respond(answer.await)
}
