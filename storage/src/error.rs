//! What can go wrong, by what the caller should do.

/// An engine's refusal. [`crate::retry`] acts on the first four.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another transaction wrote what this one read. Nothing was written; start over.
    #[error("the transaction conflicts with another one; start it again")]
    Conflict,
    /// The transaction outlived its five seconds. Nothing was written; start over.
    #[error("the transaction is older than 5 s; start it again and do less in it")]
    TooOld,
    /// The commit may or may not have happened. Start over only if that is safe.
    #[error("it is not known whether the commit happened; look before you repeat it")]
    CommitUnknown,
    /// The engine does not answer. Nothing was written; try later.
    #[error("the store is not available: {0}; try again later")]
    Unavailable(String),
    /// A limit of the store was passed; the same call would always fail.
    #[error("{what} has {given} bytes; at most {allowed} are allowed; split it")]
    Limit { what: &'static str, given: usize, allowed: usize },
    /// The call makes no sense; the text says what to change.
    #[error("{0}")]
    Usage(String),
    /// What was read is not what was ever written.
    #[error("the stored data is damaged: {0}; restore it from a backup")]
    Corrupt(String),
}

impl StoreError {
    /// Whether a new try may succeed and nothing of this one was written.
    pub fn is_retryable(&self) -> bool {
        matches!(self, StoreError::Conflict | StoreError::TooOld | StoreError::Unavailable(_))
    }
}
