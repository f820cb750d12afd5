//! What went wrong with a prompt, as clients see it.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use headwater_actors::prompts::{Found, PromptError, SecretError, StoreError};
use serde_json::{Value, json};

use crate::error::{ApiError, INVALID, Shape, UNAVAILABLE};

impl ApiError {
    pub(crate) fn from_prompt(error: PromptError) -> ApiError {
        let message = error.to_string();
        match error {
            PromptError::Invalid(problem) => {
                ApiError::invalid(&problem.field, "invalid_prompt", message)
            }
            PromptError::UnknownPrompt { .. } => {
                ApiError::new(StatusCode::NOT_FOUND, INVALID, "prompt_not_found", message)
            }
            PromptError::Unknown { .. } => {
                ApiError::new(StatusCode::NOT_FOUND, INVALID, "not_found", message)
            }
            PromptError::NothingServed { .. } => {
                ApiError::new(StatusCode::NOT_FOUND, INVALID, "nothing_promoted", message)
            }
            PromptError::Moved { .. } => {
                ApiError::new(StatusCode::CONFLICT, INVALID, "version_moved", message)
            }
            PromptError::Conflict(_) => {
                ApiError::new(StatusCode::CONFLICT, INVALID, "promotion_conflict", message)
            }
            PromptError::Forbidden { .. } => {
                ApiError::new(StatusCode::FORBIDDEN, INVALID, "role_missing", message)
            }
            PromptError::SecretFound(_) => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                ApiError::new(status, INVALID, "secret_found", message).at("document")
            }
            PromptError::NotRedacted(_) => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                ApiError::new(status, UNAVAILABLE, "not_redacted", message).retry(1_000)
            }
            PromptError::NoModels => ApiError::no_gateway(),
            PromptError::Secret(error) => {
                let (status, code) = match error {
                    SecretError::Unknown { .. } => (StatusCode::CONFLICT, "secret_unknown"),
                    SecretError::Denied { .. } => (StatusCode::FORBIDDEN, "secret_denied"),
                    SecretError::Unavailable { .. } => {
                        (StatusCode::SERVICE_UNAVAILABLE, "secrets_unavailable")
                    }
                    SecretError::Misconfigured(_) => {
                        (StatusCode::INTERNAL_SERVER_ERROR, "secrets_misconfigured")
                    }
                };
                let refused = ApiError::new(status, INVALID, code, message);
                if error.is_retryable() { refused.retry(1_000) } else { refused }
            }
            PromptError::Store(error) if error.is_retryable() => ApiError::store_down(),
            PromptError::Store(StoreError::CommitUnknown) => {
                let message = "the store did not say whether it was done; look, then try again";
                let status = StatusCode::SERVICE_UNAVAILABLE;
                ApiError::new(status, UNAVAILABLE, "outcome_unknown", message.to_owned())
            }
            PromptError::Store(StoreError::Limit { what, given, allowed }) => {
                let message = format!(
                    "a {what} of it has {given} bytes; the store takes {allowed}; make it smaller"
                );
                ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, INVALID, "too_large", message)
            }
            PromptError::Store(error) => {
                tracing::error!(%error, "what is stored of a prompt cannot be used");
                let message =
                    "what is stored of the prompt cannot be read; the node's log says why";
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                ApiError::new(status, UNAVAILABLE, "store_failed", message.to_owned())
            }
        }
    }
}

/// An error that tells its findings, too, or any other.
pub(super) fn refused(error: PromptError) -> Result<Response, ApiError> {
    let PromptError::SecretFound(found) = &error else { return Err(ApiError::from_prompt(error)) };
    let findings: Vec<Value> = found.iter().map(finding).collect();
    let error = ApiError::from_prompt(error);
    let mut body = error.body(Shape::OpenAi);
    body["error"]["findings"] = findings.into();
    Ok((error.status, axum::Json(body)).into_response())
}

pub(super) fn finding(found: &Found) -> Value {
    json!({
        "field": found.field,
        "rule": found.rule,
        "description": found.description,
        "line": found.line,
        "column": found.column,
        "masked": found.masked,
        "fingerprint": found.fingerprint,
    })
}
