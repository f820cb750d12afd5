//! Experiments on a prompt, and what is said of its answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use headwater_actors::prompts::{
    Action, Analysed, Better, Experiment, ExperimentAsk, ExperimentState, Goal, GoalKind, Holdout,
    Range, Segment, Share, Unit, Variant,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Name, Pair, actor, asked, pair};
use crate::body::read_json;
use crate::error::{ApiError, respond};
use crate::identity::Grant;
use crate::router::Edge;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BeginRequest {
    name: String,
    variants: Vec<VariantRequest>,
    control: String,
    #[serde(default = "user")]
    unit: Unit,
    #[serde(default)]
    segments: Vec<SegmentRequest>,
    layer: Option<String>,
    /// The layer's buckets that take part, of 0 to 10000.
    share: Option<(u16, u16)>,
    /// Of all users, the same ones for every experiment of the team that keeps some out.
    #[serde(default)]
    holdout_per_mille: u16,
    days: Option<u64>,
    goals: Vec<GoalRequest>,
    owner: Option<String>,
}

fn user() -> Unit {
    Unit::User
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VariantRequest {
    name: String,
    version: u32,
    #[serde(default = "one")]
    weight: u32,
}

fn one() -> u32 {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SegmentRequest {
    attribute: String,
    values: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum GoalName {
    Binary,
    Number,
    /// An amount of 0 or more with a long tail, such as a time or a cost.
    Amount,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GoalRequest {
    name: String,
    kind: GoalName,
    /// Both or none: a range that makes the bounds exact.
    min: Option<f64>,
    max: Option<f64>,
    #[serde(default = "higher")]
    better: Better,
}

fn higher() -> Better {
    Better::Higher
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StopRequest {
    #[serde(default)]
    reason: String,
}

impl GoalRequest {
    fn goal(self, place: usize) -> Result<Goal, ApiError> {
        let kind = match (self.kind, self.min, self.max) {
            (GoalName::Binary, None, None) => GoalKind::Binary,
            (GoalName::Number, None, None) => GoalKind::Numeric,
            (GoalName::Amount, None, None) => GoalKind::Logarithm,
            (GoalName::Number, Some(min), Some(max)) if min < max => {
                GoalKind::Bounded(Range { min, max })
            }
            _ => {
                let at = format!("goals[{place}].min");
                let message =
                    format!("{at}: min and max are for numbers, both of them, and min is less");
                return Err(ApiError::invalid(&at, "invalid_field", message));
            }
        };
        Ok(Goal { name: self.name, kind, better: self.better })
    }
}

impl BeginRequest {
    fn ask(self, grant: &Grant) -> Result<ExperimentAsk, ApiError> {
        let goals = self.goals.into_iter().enumerate();
        let goals = goals.map(|(place, goal)| goal.goal(place)).collect::<Result<_, _>>()?;
        let variant = |VariantRequest { name, version, weight }| Variant { name, version, weight };
        let segment = |SegmentRequest { attribute, values }| Segment { field: attribute, values };
        let holdout = (self.holdout_per_mille > 0).then(|| Holdout {
            name: grant.tenant.clone(),
            buckets: self.holdout_per_mille.saturating_mul(10),
        });
        Ok(ExperimentAsk {
            name: self.name,
            owner: self.owner.unwrap_or_else(|| actor(grant).name),
            variants: self.variants.into_iter().map(variant).collect(),
            control: self.control,
            unit: self.unit,
            segments: self.segments.into_iter().map(segment).collect(),
            layer: self.layer,
            share: self.share.map(|(from, until)| Share { from, until }),
            holdout,
            duration_ms: self.days.map(|days| days.saturating_mul(DAY_MS)),
            goals,
        })
    }
}

fn told(experiment: &Experiment) -> Value {
    let goal = |goal: &Goal| {
        let (kind, range) = match goal.kind {
            GoalKind::Binary => ("binary", None),
            GoalKind::Numeric => ("number", None),
            GoalKind::Logarithm => ("amount", None),
            GoalKind::Bounded(range) => ("number", Some(range)),
        };
        json!({
            "name": goal.name,
            "kind": kind,
            "min": range.map(|range| range.min),
            "max": range.map(|range| range.max),
            "better": goal.better,
        })
    };
    let variant =
        |one: &Variant| json!({"name": one.name, "version": one.version, "weight": one.weight});
    let segment = |one: &Segment| json!({"attribute": one.field, "values": one.values});
    let (state, ended_ms, reason) = match &experiment.state {
        ExperimentState::Draft => ("draft", None, None),
        ExperimentState::Running => ("running", None, None),
        ExperimentState::Ended { reason, at_ms } => {
            ("ended", Some(at_ms), serde_json::to_value(reason).ok())
        }
    };
    json!({
        "name": experiment.name,
        "prompt": experiment.prompt,
        "owner": experiment.owner,
        "variants": experiment.variants.iter().map(variant).collect::<Vec<_>>(),
        "control": experiment.control,
        "unit": experiment.unit,
        "segments": experiment.segments.iter().map(segment).collect::<Vec<_>>(),
        "layer": experiment.layer,
        "share": [experiment.share.from, experiment.share.until],
        "holdout_per_mille": experiment.holdout.as_ref().map_or(0, |one| one.buckets / 10),
        "goals": experiment.goals.iter().map(goal).collect::<Vec<_>>(),
        "state": state,
        "started_ms": experiment.start_ms,
        "ends_ms": experiment.ends_ms,
        "ended_ms": ended_ms,
        "ended_reason": reason,
    })
}

fn told_analysis(analysed: &Analysed) -> Value {
    let mut body = told(&analysed.experiment);
    let finding = |one: &headwater_actors::prompts::Finding| {
        let decision = match one.better {
            Some(true) => "better",
            Some(false) => "worse",
            None => "undecided",
        };
        json!({
            "goal": one.goal,
            "variant": one.variant,
            "count": one.variant_count,
            "control_count": one.control_count,
            "difference": one.comparison.estimate,
            "lower": one.comparison.lower,
            "upper": one.comparison.upper,
            "p_value": one.comparison.p_value,
            "decision": decision,
            "verdict": one.verdict,
        })
    };
    body["analysis"] = analysed.analysis.findings.iter().map(finding).collect();
    body["units"] = json!(analysed.units);
    body["verdict"] = analysed.analysis.verdict.as_str().into();
    body
}

/// `GET /v1/prompts/{name}/experiments`
pub(crate) async fn list(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    name: Name,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &uri, name, Action::View)?;
        asked.prompts.head(&asked.prompt).await.map_err(ApiError::from_prompt)?;
        let all = asked.prompts.experiments(&asked.prompt).await.map_err(ApiError::from_prompt)?;
        let data: Vec<Value> = all.iter().map(told).collect();
        Ok(axum::Json(json!({"object": "list", "data": data})).into_response())
    };
    respond(answer.await)
}

/// `POST /v1/prompts/{name}/experiments`
pub(crate) async fn begin(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    name: Name,
    body: Body,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &uri, name, Action::Promote)?;
        let request: BeginRequest = read_json(body, &edge.settings).await?;
        let begun =
            asked.prompts.begin_experiment(&asked.actor, &asked.prompt, request.ask(&grant)?).await;
        let begun = begun.map_err(ApiError::from_prompt)?;
        Ok((StatusCode::CREATED, axum::Json(told(&begun))).into_response())
    };
    respond(answer.await)
}

/// `GET /v1/prompts/{name}/experiments/{experiment}`: with what came out so far.
pub(crate) async fn get(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    path: Pair,
) -> Response {
    let answer = async {
        let (name, experiment) = pair(path);
        let asked = asked(&edge, &grant, &uri, name, Action::View)?;
        let found = asked.prompts.experiment(&asked.prompt, &experiment).await;
        let found = found.map_err(ApiError::from_prompt)?;
        Ok(axum::Json(told_analysis(&found)).into_response())
    };
    respond(answer.await)
}

/// `POST /v1/prompts/{name}/experiments/{experiment}/stop`
pub(crate) async fn stop(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    path: Result<Path<(String, String)>, PathRejection>,
    body: Body,
) -> Response {
    let answer = async {
        let (name, experiment) = pair(path);
        let asked = asked(&edge, &grant, &uri, name, Action::Promote)?;
        let StopRequest { reason } = read_json(body, &edge.settings).await?;
        let ended =
            asked.prompts.stop_experiment(&asked.actor, &asked.prompt, &experiment, &reason).await;
        Ok(axum::Json(told(&ended.map_err(ApiError::from_prompt)?)).into_response())
    };
    respond(answer.await)
}
