//! Our tools, served to MCP clients over streamable HTTP.

mod served;

pub use served::{Answered, Caller, Confirmation, Failure, Page, Progress, Served, ToolCall};

/// Settings of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Name and version that clients are told.
    pub name: String,
    pub version: String,
    /// What clients are told to do with the tools; `None` tells nothing.
    pub instructions: Option<String>,
    /// Longest body of a request, in bytes.
    pub body_bytes_max: usize,
    /// `Host` headers that are answered, against DNS rebinding; empty where the edge has checked.
    pub hosts: Vec<String>,
    /// Longest time for a call, in milliseconds.
    pub call_timeout_ms: u64,
}
