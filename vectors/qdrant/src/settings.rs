//! Where Qdrant is, and how patient to be with it.

use std::fmt;

/// A secret that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    pub fn new(key: impl Into<String>) -> Self {
        ApiKey(key.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ApiKey(hidden)")
    }
}

/// Settings of the adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QdrantSettings {
    /// `http://host:6333` or `https://…`, without a path's end slash.
    pub address: String,
    /// Sent as the header `api-key`.
    pub api_key: Option<ApiKey>,
    /// Ahead of the names of all collections, so that several platforms can share a server.
    pub collection_prefix: String,
    pub connect_timeout_ms: u64,
    /// For one try, its answer included.
    pub request_timeout_ms: u64,
    /// Most tries of a call, the first one counted; at least 1.
    pub tries: u32,
    /// The pause after the first failure; it doubles with each further one.
    pub first_pause_ms: u64,
    /// Longest pause, a server's own wish included.
    pub longest_pause_ms: u64,
}

impl Default for QdrantSettings {
    fn default() -> Self {
        QdrantSettings {
            address: "http://127.0.0.1:6333".to_owned(),
            api_key: None,
            collection_prefix: "headwater-".to_owned(),
            connect_timeout_ms: 2_000,
            request_timeout_ms: 10_000,
            tries: 4,
            first_pause_ms: 100,
            longest_pause_ms: 2_000,
        }
    }
}
