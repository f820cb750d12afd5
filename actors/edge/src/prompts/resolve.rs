//! What a prompt serves: as it stands, or rendered.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use headwater_actors::prompts::{Action, Chosen, Resolved, Wish};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Asked, Name, asked, told};
use crate::body::read_optional_json;
use crate::error::{ApiError, respond};
use crate::identity::Grant;
use crate::router::Edge;

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Label {
    #[default]
    Production,
    Staging,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ResolveRequest {
    version: Option<u64>,
    label: Label,
    user: Option<String>,
    /// What requests of one unit have in common when they have no user.
    request: Option<String>,
    attributes: BTreeMap<String, String>,
    variables: Map<String, Value>,
    /// Nothing older than what was promoted before this request, at the price of asking the store.
    fresh: bool,
}

impl Asked<'_> {
    async fn resolve(&self, request: ResolveRequest) -> Result<(Resolved, String), ApiError> {
        let ResolveRequest { version, label, user, request, attributes, fresh, .. } = request;
        if fresh {
            self.prompts.refresh().await.map_err(|error| ApiError::from_prompt(error.into()))?;
        }
        let is_staging = matches!(label, Label::Staging);
        let request = request.unwrap_or_else(|| Uuid::now_v7().to_string());
        let wish = Wish { version, is_staging, user, request, attributes };
        let resolved = self.prompts.resolve(&self.prompt, &wish).await;
        Ok((resolved.map_err(ApiError::from_prompt)?, wish.request))
    }

    fn told_choice(&self, resolved: &Resolved, request: &str) -> Value {
        let label = match &resolved.chosen {
            Chosen::Version => None,
            Chosen::Staging => Some("staging"),
            Chosen::Canary => Some("canary"),
            Chosen::Production | Chosen::Variant { .. } => Some("production"),
            Chosen::Fallback => Some("fallback"),
        };
        let mut told = json!({
            "name": self.prompt.name,
            "version": resolved.ready.number,
            "label": label,
            "sha256": resolved.ready.sha256,
            "source": resolved.source.name(),
            "moves": resolved.moves,
        });
        if let Chosen::Variant { experiment, variant } = &resolved.chosen {
            told["experiment"] = experiment.as_str().into();
            told["variant"] = variant.as_str().into();
            // The unit of feedback where the experiment's is the request.
            told["request"] = request.into();
        }
        told
    }
}

/// `POST /v1/prompts/{name}/resolve`: the version that serves, with its document.
pub(crate) async fn resolve(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    name: Name,
    body: Body,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &uri, name, Action::View)?;
        let request: Option<ResolveRequest> = read_optional_json(body, &edge.settings).await?;
        let (resolved, request) = asked.resolve(request.unwrap_or_default()).await?;
        let mut told = asked.told_choice(&resolved, &request);
        told["document"] = serde_json::to_value(&resolved.ready.document).unwrap_or_default();
        Ok(axum::Json(told).into_response())
    };
    respond(answer.await)
}

/// `POST /v1/prompts/{name}/render`: what it says for these variables. Secrets are put in on the
/// gateway's way to the model alone, and show here as the template wrote them.
pub(crate) async fn render(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
    name: Name,
    body: Body,
) -> Response {
    let answer = async {
        let asked = asked(&edge, &grant, &uri, name, Action::View)?;
        let request: Option<ResolveRequest> = read_optional_json(body, &edge.settings).await?;
        let mut request = request.unwrap_or_default();
        let variables = std::mem::take(&mut request.variables);
        let (resolved, request) = asked.resolve(request).await?;
        let rendered = resolved.ready.compiled.render(&variables);
        let rendered = rendered.map_err(|problem| ApiError::from_prompt(problem.into()))?;
        let mut told = asked.told_choice(&resolved, &request);
        if let (Value::Object(told), Value::Object(rendered)) =
            (&mut told, told::rendered(&rendered))
        {
            told.extend(rendered);
        }
        told["model"] = serde_json::to_value(&resolved.ready.document.model).unwrap_or_default();
        told["tools"] = serde_json::to_value(&resolved.ready.document.tools).unwrap_or_default();
        Ok(axum::Json(told).into_response())
    };
    respond(answer.await)
}
