//! The Model Context Protocol: servers of others as backends, and our tools served to their clients.

mod client;
mod server;

pub use client::{ClientSettings, Place};
pub use server::{
    Answered, Caller, Confirmation, Failure, Page, Progress, Served, ServerSettings, ToolCall,
};

/// Where a call's id stands in `_meta`, to and from servers.
pub const CALL_KEY: &str = "headwater.dev/call-id";
/// Where `_meta` says that a call must change nothing.
pub const DRY_RUN_KEY: &str = "headwater.dev/dry-run";
