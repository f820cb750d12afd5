//! What can go wrong, by what the caller should do.

use crate::SecretName;

/// A source's refusal. None holds a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Nobody has stored it; the same call fails until somebody does.
    #[error("team `{team}` has no secret `{name}`; store it, or correct the name in the prompt")]
    Unknown { team: String, name: SecretName },
    /// The team was not granted it, or the source does not give it to this node.
    #[error("team `{team}` may not read the secret `{name}`; ask an operator to grant it")]
    Denied { team: String, name: SecretName },
    /// The source does not answer; the same call may succeed later.
    #[error("the source of secrets is not available; try again in {retry_after_ms} ms")]
    Unavailable { retry_after_ms: u64 },
    /// The settings, or what the source holds, make no sense; the text says what to change.
    #[error("the source of secrets is misconfigured: {0}")]
    Misconfigured(String),
}

impl SecretError {
    pub fn unknown(team: &str, name: &SecretName) -> SecretError {
        SecretError::Unknown { team: team.to_owned(), name: name.clone() }
    }

    pub fn denied(team: &str, name: &SecretName) -> SecretError {
        SecretError::Denied { team: team.to_owned(), name: name.clone() }
    }

    /// Whether the same call may succeed later without anybody's doing.
    pub fn is_retryable(&self) -> bool {
        matches!(self, SecretError::Unavailable { .. })
    }
}
