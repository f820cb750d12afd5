//! Why a chat model gave no answer, or no more of it.

/// By what the caller should do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChatError {
    /// The request is at fault; another try at the same model gives the same. `message` is the
    /// provider's own text.
    #[error("the model refused the request (status {status}): {message}")]
    Refused { status: u16, code: Option<String>, message: String },
    /// The model's own access is at fault: its key or the name of its model. Another may answer.
    #[error("the model is not set up rightly (status {status})")]
    Misconfigured { status: u16 },
    /// Too many requests for this model now.
    #[error("the model takes no more requests now: {message}")]
    Limited { retry_after_ms: Option<u64>, message: String },
    /// It failed or is not reached; try again, or another one.
    #[error("the model is not available: {reason}")]
    Unavailable { status: Option<u16>, reason: String },
    /// It did not answer in time.
    #[error("the model did not answer within {after_ms} ms")]
    TimedOut { after_ms: u64 },
    /// The answer broke off.
    #[error("the answer broke off: {reason}")]
    Cut { reason: String },
}

impl ChatError {
    /// Whether the same request may succeed elsewhere, or here a moment later.
    pub fn is_passing(&self) -> bool {
        !matches!(self, ChatError::Refused { .. })
    }
}
