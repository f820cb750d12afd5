//! Failures of tries: what they mean for the next try, and what the client is told of them.

use headwater_gateway::Failure;
use headwater_models::chat::ChatError;
use headwater_storage::audit::Outcome;

use super::nouns::GatewayError;

/// What a client is told when no target says for how long it is busy, in ms.
pub(super) const RETRY_AFTER_MS: u64 = 1_000;

/// The code of a refusal by a target that lacks something which others may have.
const UNSUPPORTED: &str = "unsupported_parameter";

/// Whether this target has no equal of something that the request asks for: others may have it.
fn is_unsupported(error: &ChatError) -> bool {
    matches!(error, ChatError::Refused { code: Some(code), .. } if code == UNSUPPORTED)
}

pub(super) fn failure_of(error: &ChatError) -> Failure {
    match error {
        ChatError::Refused { .. } if is_unsupported(error) => Failure::Misconfigured,
        ChatError::Refused { .. } => Failure::Refused,
        ChatError::Misconfigured { .. } => Failure::Misconfigured,
        ChatError::Limited { retry_after_ms, .. } => {
            Failure::Limited { retry_after_ms: *retry_after_ms }
        }
        ChatError::Unavailable { .. } | ChatError::TimedOut { .. } | ChatError::Cut { .. } => {
            Failure::Broken
        }
    }
}

pub(super) fn kind_of(error: &ChatError) -> &'static str {
    match error {
        ChatError::Refused { .. } => "refused",
        ChatError::Misconfigured { .. } => "misconfigured",
        ChatError::Limited { .. } => "limited",
        ChatError::Unavailable { .. } => "unavailable",
        ChatError::TimedOut { .. } => "timed_out",
        ChatError::Cut { .. } => "cut",
    }
}

/// Which of two failures the client is told: what it can do something about comes first, and a
/// busy model before a broken one.
pub(super) fn worse(before: Option<ChatError>, now: ChatError) -> ChatError {
    let rank = |error: &ChatError| match error {
        ChatError::Refused { .. } if is_unsupported(error) => 4,
        ChatError::Refused { .. } => 0,
        ChatError::Limited { .. } => 1,
        ChatError::TimedOut { .. } => 2,
        ChatError::Unavailable { .. } | ChatError::Cut { .. } => 3,
        ChatError::Misconfigured { .. } => 5,
    };
    let wait = |error: &ChatError| match error {
        ChatError::Limited { retry_after_ms, .. } => retry_after_ms.unwrap_or(RETRY_AFTER_MS),
        _ => 0,
    };
    let rank = |error: &ChatError| (rank(error), wait(error));
    match before {
        Some(before) if rank(&before) < rank(&now) => before,
        _ => now,
    }
}

pub(super) fn surface(last: Option<ChatError>, soonest_ms: impl FnOnce() -> u64) -> GatewayError {
    match last {
        Some(ChatError::Refused { status, code, message }) => {
            GatewayError::Refused { status, code, message }
        }
        Some(ChatError::Limited { retry_after_ms, .. }) => {
            let retry_after_ms = retry_after_ms.unwrap_or(RETRY_AFTER_MS);
            GatewayError::Limited { retry_after_ms }
        }
        Some(ChatError::TimedOut { after_ms }) => GatewayError::TimedOut { after_ms },
        other => {
            let reason = match other {
                None => "each has failed often and is left alone for a while",
                Some(ChatError::Misconfigured { .. }) => {
                    "none is set up rightly; tell the operator"
                }
                Some(_) => "each has failed",
            };
            GatewayError::Unavailable { retry_after_ms: soonest_ms(), reason }
        }
    }
}

/// How a request without an answer is recorded.
pub(super) fn outcome_of(error: &GatewayError) -> Outcome {
    match error {
        GatewayError::UnknownModel { .. } => Outcome::UnknownModel,
        GatewayError::NotCached => Outcome::NotCached,
        GatewayError::OverQuota { .. } => Outcome::OverQuota,
        GatewayError::Refused { .. } => Outcome::Refused,
        GatewayError::Limited { .. } => Outcome::Limited,
        GatewayError::Unavailable { .. } => Outcome::Unavailable,
        GatewayError::TimedOut { .. } => Outcome::TimedOut,
        GatewayError::Cut { .. } => Outcome::Cut,
        GatewayError::PersonalData { .. } | GatewayError::NotRedacted { .. } => Outcome::Blocked,
    }
}

pub(super) fn name_of(error: &GatewayError) -> &'static str {
    match error {
        GatewayError::UnknownModel { .. } => "unknown_model",
        GatewayError::NotCached => "not_cached",
        GatewayError::OverQuota { .. } => "over_quota",
        GatewayError::Refused { .. } => "refused",
        GatewayError::Limited { .. } => "limited",
        GatewayError::Unavailable { .. } => "unavailable",
        GatewayError::TimedOut { .. } => "timed_out",
        GatewayError::PersonalData { .. } => "personal_data",
        GatewayError::NotRedacted { .. } => "not_redacted",
        GatewayError::Cut { .. } => "cut",
    }
}
