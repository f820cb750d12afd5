//! What went wrong with a tool, as clients see it.

use axum::http::StatusCode;
use headwater_actors::tools::{Refusal, ToolsError};

use crate::error::{ApiError, INVALID, UNAVAILABLE};

impl ApiError {
    /// A call's own reason: its code and its status stand with it.
    pub(crate) fn of_call(refusal: &Refusal) -> ApiError {
        let status = refusal.class().status();
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = if status.is_server_error() { UNAVAILABLE } else { INVALID };
        let mut error = ApiError::new(status, kind, refusal.code(), refusal.to_string());
        match refusal {
            Refusal::InvalidRequest { field, .. } => error = error.at(field.clone()),
            Refusal::InvalidArguments { problems, .. } => {
                let pointer = problems.first().map_or("", |(pointer, _)| pointer.as_str());
                error = error.at(format!("arguments{pointer}"));
            }
            _ => {}
        }
        match refusal.retry_after_ms() {
            Some(after_ms) => error.retry(after_ms),
            None => error,
        }
    }

    pub(crate) fn from_tools(error: ToolsError) -> ApiError {
        let message = error.to_string();
        match error {
            ToolsError::Invalid(problem) => {
                ApiError::invalid(&problem.field, "invalid_field", message)
            }
            ToolsError::Unknown { .. } => {
                ApiError::new(StatusCode::NOT_FOUND, INVALID, "not_found", message)
            }
            ToolsError::Forbidden(_) => {
                ApiError::new(StatusCode::FORBIDDEN, INVALID, "not_permitted", message)
            }
            ToolsError::Conflict(_) => {
                ApiError::new(StatusCode::CONFLICT, INVALID, "conflict", message)
            }
            ToolsError::Refused(refusal) => ApiError::of_call(&refusal),
            ToolsError::Store(error) if error.is_retryable() => ApiError::store_down(),
            ToolsError::Store(error) => {
                tracing::error!(%error, "what is stored of tools cannot be used");
                let message = "the store did not say whether it was done, or holds what cannot be \
                               read; look, then try again; the node's log says more";
                let status = StatusCode::SERVICE_UNAVAILABLE;
                ApiError::new(status, UNAVAILABLE, "outcome_unknown", message.to_owned())
            }
        }
    }
}
