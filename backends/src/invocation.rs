//! One call of a tool, as it leaves the platform.

use std::fmt;

use serde_json::Value;

/// One call of a tool. Its arguments were checked against the tool's schema already.
#[derive(Clone, PartialEq)]
pub struct Invocation {
    /// The tool's name, as the backend knows it.
    pub tool: String,
    /// The tool's version, as text; empty where the backend has no versions.
    pub version: String,
    /// The same for every try of one call; backends pass it on, so that a repeated call can be
    /// known (`Idempotency-Key` over HTTP, `_meta` over MCP). Visible ASCII, at most
    /// [`Invocation::CALL_BYTES_MAX`] bytes.
    pub call: String,
    pub tenant: String,
    /// The agent's session; `None` for a call outside any session.
    pub session: Option<String>,
    pub arguments: Value,
    /// Nothing may change outside: a backend that cannot promise it refuses the call.
    pub dry_run: bool,
    /// Longest time for the whole call, in milliseconds from when it is handed over.
    pub deadline_ms: u64,
    /// Longest answer that is read, in bytes.
    pub output_bytes_max: u64,
}

impl Invocation {
    /// Longest call id, in bytes.
    pub const CALL_BYTES_MAX: usize = 128;
}

/// Arguments are the tenant's; only their kind is shown.
impl fmt::Debug for Invocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Invocation")
            .field("tool", &self.tool)
            .field("version", &self.version)
            .field("call", &self.call)
            .field("tenant", &self.tenant)
            .field("session", &self.session)
            .field("dry_run", &self.dry_run)
            .field("deadline_ms", &self.deadline_ms)
            .field("output_bytes_max", &self.output_bytes_max)
            .finish_non_exhaustive()
    }
}
