//! What is wrong with settings, told to whoever wrote them.

/// The field that is wrong, and what to give instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct SettingsError {
    pub field: String,
    pub why: String,
}

impl SettingsError {
    pub(crate) fn new(field: impl Into<String>, why: impl Into<String>) -> SettingsError {
        SettingsError { field: field.into(), why: why.into() }
    }
}
