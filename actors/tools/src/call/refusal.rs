//! Every reason for which a call gets no answer from its tool.

/// What a caller should do about it, as HTTP tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    BadRequest,
    Unauthenticated,
    Forbidden,
    NotFound,
    Conflict,
    Gone,
    TooLarge,
    Unprocessable,
    PreconditionRequired,
    TooMany,
    Cancelled,
    NotImplemented,
    BadGateway,
    Unavailable,
    Deadline,
}

impl Class {
    pub fn status(self) -> u16 {
        match self {
            Class::BadRequest => 400,
            Class::Unauthenticated => 401,
            Class::Forbidden => 403,
            Class::NotFound => 404,
            Class::Conflict => 409,
            Class::Gone => 410,
            Class::TooLarge => 413,
            Class::Unprocessable => 422,
            Class::PreconditionRequired => 428,
            Class::TooMany => 429,
            Class::Cancelled => 499,
            Class::NotImplemented => 501,
            Class::BadGateway => 502,
            Class::Unavailable => 503,
            Class::Deadline => 504,
        }
    }
}

/// See the module. The text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("who calls is not known; send a key of a team")]
    Unauthenticated,
    #[error("{who} may not call {tool}; ask the team's owner for a grant")]
    NotPermitted { who: String, tool: String },
    #[error("there is no tool {tool}; look it up in the list of tools")]
    UnknownTool { tool: String },
    #[error("{tool} is retired: {instead}")]
    Retired { tool: String, instead: String },
    #[error("{tool} is switched off: {why}; call another tool, or ask its owner")]
    SwitchedOff { tool: String, why: String },
    #[error("there is no session {session}; begin one")]
    UnknownSession { session: String },
    #[error("session {session} has ended ({why}); begin another one")]
    SessionEnded { session: String, why: String },
    #[error("session {session} is paused; resume it first")]
    SessionPaused { session: String },
    /// `what` is the session's limit, such as `calls_max`.
    #[error(
        "session {session} has used up its {what} of {limit}: {left} left, {wanted} wanted; begin \
         another session, or ask for a greater one"
    )]
    SessionBudget { session: String, what: &'static str, limit: u64, left: u64, wanted: u64 },
    #[error("{tool} has had its calls of this minute; try again in {retry_after_ms} ms")]
    CallsPerMinute { tool: String, retry_after_ms: u64 },
    #[error("the money of this day for {tool} is spent; try again in {retry_after_ms} ms")]
    MoneyPerDay { tool: String, retry_after_ms: u64 },
    #[error("{field}: {problem}")]
    InvalidRequest { field: String, problem: String },
    /// Each problem with the JSON pointer of the argument.
    #[error("the arguments do not fit the schema of {tool}: {}; mend them", list(problems))]
    InvalidArguments { tool: String, problems: Vec<(String, String)> },
    #[error("the arguments have {bytes} bytes, {bytes_max} allowed; send less")]
    ArgumentsTooLarge { bytes: u64, bytes_max: u64 },
    /// `what` differs: the arguments, or the tool.
    #[error("call {id} was made before with {what}; send another id for another call")]
    IdConflict { id: String, what: &'static str },
    #[error("call {id} is in progress; ask again in {retry_after_ms} ms")]
    InProgress { id: String, retry_after_ms: u64 },
    #[error(
        "call {id} may or may not have been done ({why}), and the tool is not safe to repeat; look \
         at what it changed, then call with another id if it was not done"
    )]
    OutcomeUnknown { id: String, why: String },
    #[error("{tool} has no dry run; call it without dry_run")]
    NoDryRun { tool: String },
    #[error("{tool} waits for approval {approval}; call again with the same id once it is given")]
    ApprovalNeeded { tool: String, approval: String, expires_ms: u64 },
    #[error(
        "approval {approval} was refused by {by}: {reason}; do not call again with these arguments"
    )]
    ApprovalRefused { approval: String, by: String, reason: String },
    #[error("approval {approval} has expired; call with another id to ask for one again")]
    ApprovalExpired { approval: String },
    #[error("approval {approval} is for another call ({what} differs); ask for one of its own")]
    ApprovalMismatch { approval: String, what: &'static str },
    #[error("the call was stopped: {text}")]
    Loop { text: String },
    #[error("{tool} fails again and again and is left alone; try again in {retry_after_ms} ms")]
    BreakerOpen { tool: String, retry_after_ms: u64 },
    #[error("too many calls wait for {what}; try again in {retry_after_ms} ms")]
    Overloaded { what: String, retry_after_ms: u64 },
    #[error("no sandbox here holds what {tool} asks for: {why}; ask an operator")]
    NoSandbox { tool: String, why: String },
    /// The tool was not reached, so nothing was done.
    #[error("{tool} cannot be reached: {why}; try again in {retry_after_ms} ms")]
    Unreachable { tool: String, why: String, retry_after_ms: u64 },
    /// The tool said that it did not do it.
    #[error("{tool} failed: {why}")]
    BackendFailed { tool: String, why: String },
    /// The time was over before the tool was reached, or the tool is safe to repeat.
    #[error("the call took longer than {timeout_ms} ms; call with a greater timeout_ms, or async")]
    Deadline { timeout_ms: u64 },
    #[error("the answer of {tool} does not fit its output schema: {problem}; tell its owner")]
    OutputInvalid { tool: String, problem: String },
    #[error("the answer of {tool} has {bytes} bytes, {bytes_max} allowed; ask for less")]
    OutputTooLarge { tool: String, bytes: u64, bytes_max: u64 },
    #[error("the answer of {tool} holds what may not leave it: {what}; ask for something else")]
    OutputBlocked { tool: String, what: String },
    /// Before the tool was reached, or the tool is safe to repeat.
    #[error("the call was cancelled by {by}")]
    Cancelled { by: String },
    #[error("this node cannot reach what it stores; try again in {retry_after_ms} ms")]
    StorageDown { retry_after_ms: u64 },
}

fn list(problems: &[(String, String)]) -> String {
    let told: Vec<String> = problems
        .iter()
        .map(|(pointer, problem)| match pointer.as_str() {
            "" => problem.clone(),
            pointer => format!("{pointer} {problem}"),
        })
        .collect();
    told.join("; ")
}

impl Refusal {
    /// The word that programs compare.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Unauthenticated => "unauthenticated",
            Refusal::NotPermitted { .. } => "not_permitted",
            Refusal::UnknownTool { .. } => "unknown_tool",
            Refusal::Retired { .. } => "retired",
            Refusal::SwitchedOff { .. } => "switched_off",
            Refusal::UnknownSession { .. } => "unknown_session",
            Refusal::SessionEnded { .. } => "session_ended",
            Refusal::SessionPaused { .. } => "session_paused",
            Refusal::SessionBudget { .. } => "session_budget",
            Refusal::CallsPerMinute { .. } => "calls_per_minute",
            Refusal::MoneyPerDay { .. } => "money_per_day",
            Refusal::InvalidRequest { .. } => "invalid_request",
            Refusal::InvalidArguments { .. } => "invalid_arguments",
            Refusal::ArgumentsTooLarge { .. } => "arguments_too_large",
            Refusal::IdConflict { .. } => "id_conflict",
            Refusal::InProgress { .. } => "in_progress",
            Refusal::OutcomeUnknown { .. } => "outcome_unknown",
            Refusal::NoDryRun { .. } => "no_dry_run",
            Refusal::ApprovalNeeded { .. } => "approval_needed",
            Refusal::ApprovalRefused { .. } => "approval_refused",
            Refusal::ApprovalExpired { .. } => "approval_expired",
            Refusal::ApprovalMismatch { .. } => "approval_mismatch",
            Refusal::Loop { .. } => "loop",
            Refusal::BreakerOpen { .. } => "breaker_open",
            Refusal::Overloaded { .. } => "overloaded",
            Refusal::NoSandbox { .. } => "no_sandbox",
            Refusal::Unreachable { .. } => "unreachable",
            Refusal::BackendFailed { .. } => "backend_failed",
            Refusal::Deadline { .. } => "deadline",
            Refusal::OutputInvalid { .. } => "output_invalid",
            Refusal::OutputTooLarge { .. } => "output_too_large",
            Refusal::OutputBlocked { .. } => "output_blocked",
            Refusal::Cancelled { .. } => "cancelled",
            Refusal::StorageDown { .. } => "storage_down",
        }
    }

    pub fn class(&self) -> Class {
        match self {
            Refusal::InvalidRequest { .. } | Refusal::NoDryRun { .. } => Class::BadRequest,
            Refusal::Unauthenticated => Class::Unauthenticated,
            Refusal::NotPermitted { .. }
            | Refusal::SwitchedOff { .. }
            | Refusal::ApprovalRefused { .. }
            | Refusal::ApprovalMismatch { .. } => Class::Forbidden,
            Refusal::UnknownTool { .. } | Refusal::UnknownSession { .. } => Class::NotFound,
            Refusal::SessionPaused { .. }
            | Refusal::IdConflict { .. }
            | Refusal::InProgress { .. }
            | Refusal::Loop { .. } => Class::Conflict,
            Refusal::Retired { .. }
            | Refusal::SessionEnded { .. }
            | Refusal::ApprovalExpired { .. } => Class::Gone,
            Refusal::ArgumentsTooLarge { .. } => Class::TooLarge,
            Refusal::InvalidArguments { .. } => Class::Unprocessable,
            Refusal::ApprovalNeeded { .. } => Class::PreconditionRequired,
            Refusal::SessionBudget { .. }
            | Refusal::CallsPerMinute { .. }
            | Refusal::MoneyPerDay { .. }
            | Refusal::Overloaded { .. } => Class::TooMany,
            Refusal::Cancelled { .. } => Class::Cancelled,
            Refusal::NoSandbox { .. } => Class::NotImplemented,
            Refusal::OutcomeUnknown { .. }
            | Refusal::BackendFailed { .. }
            | Refusal::OutputInvalid { .. }
            | Refusal::OutputTooLarge { .. }
            | Refusal::OutputBlocked { .. } => Class::BadGateway,
            Refusal::BreakerOpen { .. }
            | Refusal::Unreachable { .. }
            | Refusal::StorageDown { .. } => Class::Unavailable,
            Refusal::Deadline { .. } => Class::Deadline,
        }
    }

    /// When it is worth to try again with the same id, in ms.
    pub fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Refusal::CallsPerMinute { retry_after_ms, .. }
            | Refusal::MoneyPerDay { retry_after_ms, .. }
            | Refusal::InProgress { retry_after_ms, .. }
            | Refusal::BreakerOpen { retry_after_ms, .. }
            | Refusal::Overloaded { retry_after_ms, .. }
            | Refusal::Unreachable { retry_after_ms, .. }
            | Refusal::StorageDown { retry_after_ms } => Some(*retry_after_ms),
            _ => None,
        }
    }

    /// Whether the tool may have done what was asked: such a call is charged, and its id is not
    /// free again.
    pub fn may_have_run(&self) -> bool {
        matches!(
            self,
            Refusal::OutcomeUnknown { .. }
                | Refusal::OutputInvalid { .. }
                | Refusal::OutputTooLarge { .. }
                | Refusal::OutputBlocked { .. }
        )
    }

    /// Whether it is the tool that is ill: what a breaker counts.
    pub fn is_illness(&self) -> bool {
        matches!(
            self,
            Refusal::OutcomeUnknown { .. }
                | Refusal::Unreachable { .. }
                | Refusal::BackendFailed { .. }
                | Refusal::Deadline { .. }
                | Refusal::OutputInvalid { .. }
        )
    }
}
