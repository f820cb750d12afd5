//! `POST /v1/feedback`: what somebody says of an answer, for experiments and for the golden set.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use headwater_actors::prompts::{Action, Feedback, Flag, PromptError, PromptKey};
use serde::Deserialize;
use serde_json::json;

use super::error::refused;
use super::proposals::told_flag;
use super::{actor, check_name};
use crate::body::read_json;
use crate::error::{ApiError, respond};
use crate::identity::Grant;
use crate::router::Edge;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FeedbackRequest {
    prompt: String,
    experiment: Option<String>,
    unit: Option<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    goal: Option<String>,
    value: Option<f64>,
    /// The answer was not good; an editor may make a golden case of it.
    flag: Option<Flag>,
}

impl FeedbackRequest {
    /// What is said of a goal; a flag alone says nothing of any.
    fn goal(&mut self) -> Result<Option<Feedback>, ApiError> {
        let is_alone = self.flag.is_some();
        let (unit, goal, value) = match (self.unit.take(), self.goal.take(), self.value) {
            (None, None, None) if is_alone => return Ok(None),
            (Some(unit), Some(goal), Some(value)) => (unit, goal, value),
            (unit, goal, _) => {
                let missing = match (unit, goal) {
                    (None, _) => "unit",
                    (_, None) => "goal",
                    _ => "value",
                };
                let message = format!(
                    "{missing}: is missing; unit, goal and value go together, and a flag may \
                     stand alone"
                );
                return Err(ApiError::invalid(missing, "invalid_field", message));
            }
        };
        let (experiment, attributes) =
            (self.experiment.take(), std::mem::take(&mut self.attributes));
        Ok(Some(Feedback { experiment, unit, attributes, goal, value }))
    }
}

/// `POST /v1/feedback`
pub(crate) async fn feedback(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    body: Body,
) -> Response {
    let answer = async {
        let mut request: FeedbackRequest = read_json(body, &edge.settings).await?;
        check_name("prompt", &request.prompt)?;
        let prompt = PromptKey::new(&grant.tenant, &request.prompt);
        let actor = actor(&grant);
        let allowed = edge.prompts.allow(&actor, &prompt, Action::View);
        allowed.map_err(ApiError::from_prompt)?;
        let goal = request.goal()?;
        let mut told = json!({"object": "feedback"});
        // What may be refused goes first; a goal that is told twice counts once.
        if let Some(flag) = request.flag {
            match edge.prompts.take_flag(&actor, &prompt, flag).await {
                Ok(flagged) => told["flag"] = told_flag(&flagged),
                Err(error @ PromptError::SecretFound(_)) => return refused(error),
                Err(error) => return Err(ApiError::from_prompt(error)),
            }
        }
        if let Some(goal) = goal {
            let counted = edge.prompts.take_feedback(&prompt, goal).await;
            told["experiments"] = counted.map_err(ApiError::from_prompt)?.into();
        }
        Ok(axum::Json(told).into_response())
    };
    respond(answer.await)
}
