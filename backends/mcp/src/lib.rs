//! The Model Context Protocol: servers of others as backends, and our tools served to their clients.

mod client;
mod server;

pub use client::{ClientSettings, McpBackend, Place, SettingsError};
pub use server::{
    Answered, Caller, Confirmation, Failure, McpService, Page, Progress, Served, ServerSettings,
    ToolCall,
};

/// Where a call's id stands in `_meta`, to and from servers.
pub const CALL_KEY: &str = "headwater.dev/call-id";
/// Where `_meta` says that a call must change nothing.
pub const DRY_RUN_KEY: &str = "headwater.dev/dry-run";
/// Where a tool's digest stands in its `_meta`: another one means that the tool was changed.
pub const DIGEST_KEY: &str = "headwater.dev/digest";
/// Where a failed call that waits for somebody's word names the approval, in `_meta`.
pub const APPROVAL_KEY: &str = "headwater.dev/approval";
