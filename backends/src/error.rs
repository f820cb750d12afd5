//! What a backend fails with, told by what the caller should do.

/// A call that was not answered. No text here holds a secret or an argument.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The backend does not take these arguments: correct them. Nothing has happened.
    #[error("the tool does not take these arguments: {why}")]
    Arguments { why: String },
    /// The backend has no such tool or thing: correct the name. Nothing has happened.
    #[error("not found: {what}; correct the name, or publish the tool anew")]
    NotFound { what: String },
    /// The backend does not let us in, or a rule of ours forbids it. Nothing has happened.
    #[error("refused: {why}; ask whoever runs the backend for the right, or correct its secret")]
    Refused { why: String },
    /// The backend has too much to do. Nothing has happened: the same call may be sent again.
    #[error("the backend is busy: {why}; try again in {retry_after_ms} ms")]
    Busy { why: String, retry_after_ms: u64 },
    /// Failed before anything was sent: the same call may be sent again at once.
    #[error("the backend was not reached: {why}; try again later")]
    Unsent { why: String },
    /// Failed after it was sent: whether the tool has done its work is not known. Only a call that
    /// the tool knows by its id, or that changes nothing, may be sent again.
    #[error(
        "the backend's answer was lost: {why}; the tool may have done its work, look before you \
         call it again"
    )]
    Unknown { why: String },
    /// No answer within the deadline. `sent` says that the tool may have done its work.
    #[error("no answer within {after_ms} ms{}", if *.sent { UNKNOWN } else { UNSENT })]
    TimedOut { after_ms: u64, sent: bool },
    /// The answer is longer than the caller takes; the tool has done its work.
    #[error("the tool's answer is longer than {bytes_max} bytes; ask it for less")]
    TooLarge { bytes_max: u64 },
}

const UNKNOWN: &str = "; the tool may have done its work, look before you call it again";
const UNSENT: &str = "; nothing was sent, try again later";

impl BackendError {
    /// Whether the tool has certainly done nothing.
    pub fn is_without_effect(&self) -> bool {
        match self {
            BackendError::Arguments { .. }
            | BackendError::NotFound { .. }
            | BackendError::Refused { .. }
            | BackendError::Busy { .. }
            | BackendError::Unsent { .. }
            | BackendError::TimedOut { sent: false, .. } => true,
            BackendError::Unknown { .. }
            | BackendError::TimedOut { sent: true, .. }
            | BackendError::TooLarge { .. } => false,
        }
    }

    /// Whether the same call may succeed later without anybody's doing. Whether it may be sent
    /// again is for [`BackendError::is_without_effect`] and the tool's nature to say.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            BackendError::Busy { .. }
                | BackendError::Unsent { .. }
                | BackendError::Unknown { .. }
                | BackendError::TimedOut { .. }
        )
    }
}
