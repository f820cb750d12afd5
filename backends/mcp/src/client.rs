//! Servers of others as backends.

use std::collections::BTreeMap;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Streamable HTTP: `https://host/mcp`.
    Http { url: String },
    /// A program of this machine that speaks over its standard input and output.
    Command {
        program: String,
        arguments: Vec<String>,
        /// All that the program sees of the environment.
        environment: BTreeMap<String, String>,
    },
}

/// Settings of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSettings {
    pub place: Place,
    /// Longest time to connect and to agree on a revision, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Longest time for a list of all pages, in milliseconds.
    pub list_timeout_ms: u64,
    /// How long a list is believed, in milliseconds, when the server tells of no change.
    pub list_fresh_ms: u64,
    /// Most tools that are read; a server that tells more is refused.
    pub tools_max: usize,
    /// Longest message of the server, in bytes.
    pub message_bytes_max: usize,
    /// An HTTP proxy, such as `http://127.0.0.1:3128`; none without it.
    pub proxy: Option<String>,
}
