//! Why a folder of weights does not become a model.

/// What is wrong with a folder or its settings, by what the operator should do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// A file is not there or cannot be opened: fetch the weights, or correct the path.
    #[error("{file} cannot be read: {reason}")]
    Missing { file: String, reason: String },
    /// A file says something that cannot be: fetch it again, or correct the field.
    #[error("{file}: {field}: {reason}")]
    Malformed { file: String, field: String, reason: String },
    /// The file is sound but asks for something that this adapter does not do.
    #[error("{file}: {field} is {found}, which is not supported; allowed: {allowed}")]
    Unsupported { file: String, field: String, found: String, allowed: String },
}

impl LoadError {
    pub(crate) fn malformed(file: &str, field: &str, reason: impl Into<String>) -> Self {
        LoadError::Malformed {
            file: file.to_owned(),
            field: field.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn unsupported(
        file: &str,
        field: &str,
        found: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Self {
        LoadError::Unsupported {
            file: file.to_owned(),
            field: field.to_owned(),
            found: found.into(),
            allowed: allowed.into(),
        }
    }
}
