//! A call of a tool: what is asked, what comes back, what it costs.

mod fingerprint;
mod progress;
mod refusal;
#[cfg(test)]
mod tests;

use serde_json::Value;

pub use fingerprint::{canonical_text, sha256_of_text, sha256_of_value};
pub use progress::{CallEvent, CallState, Progress};
pub use refusal::{Class, Refusal};

/// How long a synchronous call may take when it does not say, in ms.
pub const SYNC_MS: u64 = 10_000;
/// How long any call may take at most, in ms.
pub const ASYNC_MS_MAX: u64 = 600_000;
/// Characters of a call's id.
pub const ID_CHARACTERS: usize = 128;

/// A field, and what is wrong with it: what is allowed, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Problem {
    pub field: String,
    pub problem: String,
}

impl Problem {
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Problem {
        Problem { field: field.into(), problem: problem.into() }
    }
}

/// The definition of a tool that a call is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ToolReference {
    pub name: String,
    pub version: String,
    /// SHA-256 of the definition, in hexadecimal.
    pub definition_sha256: String,
}

/// Whether the caller waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Sync,
    /// The call's id comes back at once; the answer is asked for later, or sent to a webhook.
    Async,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub team: String,
    /// The key or the person that authenticated.
    pub subject: String,
    pub agent: Option<String>,
}

/// What a caller sends, before anything of it is checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The caller's own id of the call, or one that the shell drew.
    pub id: String,
    pub caller: Caller,
    pub session: Option<String>,
    pub tool: ToolReference,
    pub arguments: Value,
    pub mode: Mode,
    pub is_dry_run: bool,
    /// How long the call may take; [`SYNC_MS`] or [`ASYNC_MS_MAX`] where it is absent.
    pub timeout_ms: Option<u64>,
    /// Where the answer of an asynchronous call is sent.
    pub webhook: Option<String>,
}

/// A call that may go through the dispatcher.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub id: String,
    pub caller: Caller,
    pub session: Option<String>,
    pub tool: ToolReference,
    pub arguments: Value,
    /// SHA-256 of the arguments in their canonical form, in hexadecimal.
    pub arguments_sha256: String,
    pub mode: Mode,
    pub is_dry_run: bool,
    pub created_ms: u64,
    /// Nothing is waited for beyond this time.
    pub deadline_ms: u64,
    pub webhook: Option<String>,
}

impl Call {
    /// # Errors
    /// When a field is out of its range.
    pub fn new(request: Request, now_ms: u64) -> Result<Call, Problem> {
        check_id("id", &request.id)?;
        if !request.arguments.is_object() {
            return Err(Problem::new("arguments", "must be a JSON object; send {} for none"));
        }
        let timeout_ms = match (request.timeout_ms, request.mode) {
            (Some(timeout_ms), _) => timeout_ms,
            (None, Mode::Sync) => SYNC_MS,
            (None, Mode::Async) => ASYNC_MS_MAX,
        };
        if !(1..=ASYNC_MS_MAX).contains(&timeout_ms) {
            let problem = format!("must be 1 to {ASYNC_MS_MAX}, in milliseconds");
            return Err(Problem::new("timeout_ms", problem));
        }
        if request.webhook.is_some() && request.mode == Mode::Sync {
            let problem = "is for asynchronous calls; leave it out, or send mode \"async\"";
            return Err(Problem::new("webhook", problem));
        }
        Ok(Call {
            arguments_sha256: sha256_of_value(&request.arguments),
            id: request.id,
            caller: request.caller,
            session: request.session,
            tool: request.tool,
            arguments: request.arguments,
            mode: request.mode,
            is_dry_run: request.is_dry_run,
            created_ms: now_ms,
            deadline_ms: now_ms.saturating_add(timeout_ms),
            webhook: request.webhook,
        })
    }

    /// What is left of its time, in ms.
    pub fn left_ms(&self, now_ms: u64) -> u64 {
        self.deadline_ms.saturating_sub(now_ms)
    }
}

/// # Errors
/// When the text is no id of a call, a session or an approval.
pub fn check_id(field: &str, id: &str) -> Result<(), Problem> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if (1..=ID_CHARACTERS).contains(&id.len()) && id.bytes().all(is_good) {
        return Ok(());
    }
    let problem = format!("must be 1 to {ID_CHARACTERS} letters, digits, `-`, `_`, `.` and `:`");
    Err(Problem::new(field, problem))
}

/// What a call came to, when a tool has answered.
#[derive(Debug, Clone, PartialEq)]
pub struct CallResult {
    /// As the tool answered, checked and redacted.
    pub content: Value,
    /// The tool says that it failed; the answer tells why.
    pub is_error: bool,
    pub is_cached: bool,
    /// The tool is ill: this is its last good answer.
    pub is_fallback: bool,
    pub is_dry_run: bool,
    pub duration_ms: u64,
    pub cost_microdollars: u64,
    /// What a caller of an old version should know.
    pub deprecation: Option<String>,
}

/// How a call ended: with an answer, or with the reason why there is none.
pub type Ending = Result<CallResult, Refusal>;

/// What a call costs its team.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Charge {
    pub microdollars: u64,
}

impl Charge {
    /// `price_microdollars` is the tool's price for one call, `cached_microdollars` that of an
    /// answer from the cache, 0 unless the tool says otherwise. A dry run is free, and so is
    /// whatever did not reach the tool; what reached it and may have been done is charged.
    pub fn of(ending: &Ending, price_microdollars: u64, cached_microdollars: u64) -> Charge {
        let microdollars = match ending {
            Ok(result) if result.is_dry_run => 0,
            Ok(result) if result.is_cached || result.is_fallback => cached_microdollars,
            Ok(_) => price_microdollars,
            Err(refusal) if refusal.may_have_run() => price_microdollars,
            Err(_) => 0,
        };
        Charge { microdollars }
    }
}
