//! Why the gateway gave no answer, as clients see it.

use axum::http::StatusCode;
use headwater_actors::gateway::GatewayError;

use crate::error::{ApiError, INVALID, UNAVAILABLE};

impl ApiError {
    pub(crate) fn from_gateway(error: GatewayError) -> ApiError {
        let message = error.to_string();
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        match error {
            GatewayError::UnknownModel { model, known } => {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                ApiError::unknown_model(&model, &known)
            }
            GatewayError::NotCached => {
                let status = StatusCode::GATEWAY_TIMEOUT;
                ApiError::new(status, INVALID, "not_cached", message)
            }
            GatewayError::OverQuota { refusal, estimate } => {
                ApiError::from_refusal(refusal, estimate)
            }
            GatewayError::Refused { status, code, message } => {
                let status = StatusCode::from_u16(status).ok().filter(StatusCode::is_client_error);
                let status = status.unwrap_or(StatusCode::BAD_REQUEST);
                match code {
                    Some(code) => ApiError::new(status, INVALID, code, message),
                    None => ApiError::new(status, INVALID, "refused_by_model", message),
                }
            }
            GatewayError::Limited { retry_after_ms, .. } => {
                let status = StatusCode::TOO_MANY_REQUESTS;
                ApiError::new(status, "rate_limit_error", "backend_limited", message)
                    .retry(retry_after_ms)
            }
            GatewayError::Unavailable { retry_after_ms, .. } => {
                ApiError::new(unavailable, UNAVAILABLE, "backend_unavailable", message)
                    .retry(retry_after_ms)
            }
            GatewayError::TimedOut { .. } => {
                let status = StatusCode::GATEWAY_TIMEOUT;
                ApiError::new(status, UNAVAILABLE, "timeout", message).retry(1000)
            }
            GatewayError::PersonalData { .. } => {
                let status = StatusCode::BAD_REQUEST;
                ApiError::new(status, INVALID, "personal_data_blocked", message)
            }
            GatewayError::NotRedacted { .. } => {
                ApiError::new(unavailable, UNAVAILABLE, "not_redacted", message).retry(1000)
            }
            GatewayError::Cut { .. } => {
                ApiError::new(StatusCode::BAD_GATEWAY, UNAVAILABLE, "answer_cut", message)
            }
        }
    }
}
