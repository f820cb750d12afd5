//! What is asked of the tool service, and what it says.

use headwater_storage::StoreError;
use headwater_storage::audit::TraceParent;
use headwater_tools::call::{Ending, Mode, Refusal};
use headwater_tools::{Problem, ToolReference};
use serde_json::Value;

/// Who calls, as the edge knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCaller {
    pub team: String,
    pub project: Option<String>,
    pub user: Option<String>,
    /// The agent that acts with the caller's key, as the caller names it.
    pub agent: Option<String>,
    pub key_id: Option<String>,
    /// The key or the person, as records have it.
    pub subject: String,
    pub is_operator: bool,
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolAsk {
    /// The caller's own id; one is drawn where it is absent. A call that comes again with the same
    /// id is the same call.
    pub id: Option<String>,
    pub tool: ToolReference,
    pub arguments: Value,
    pub session: Option<String>,
    pub mode: Mode,
    pub is_dry_run: bool,
    pub timeout_ms: Option<u64>,
    /// Webhooks hear of an asynchronous call's end.
    pub tells: bool,
    /// The request's own id, for the audit.
    pub request: String,
    pub route: &'static str,
    pub trace_parent: Option<TraceParent>,
}

/// A call that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Called {
    pub id: String,
    /// The version that ran, such as `web-search@2`; as it was asked for when none did.
    pub tool: String,
    pub definition_sha256: Option<String>,
    pub ending: Ending,
    /// What the caller should know: it repeats itself.
    pub warning: Option<String>,
}

/// What changes and questions fail with; a call's own reasons are a [`Refusal`].
#[derive(Debug, thiserror::Error)]
pub enum ToolsError {
    #[error(transparent)]
    Invalid(#[from] Problem),
    #[error("there is no {what}; look at the list")]
    Unknown { what: String },
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    Conflict(String),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the store: {0}")]
    Store(#[from] StoreError),
}

impl From<headwater_tools::call::Problem> for ToolsError {
    fn from(problem: headwater_tools::call::Problem) -> ToolsError {
        ToolsError::Invalid(Problem::new(problem.field, problem.problem))
    }
}
