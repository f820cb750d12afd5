//! Where a provider is, and how patient to be with it.

use std::fmt;

use headwater_models::chat::Protocol;

/// A secret that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// An empty key stands for none: no header is sent then.
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

/// Settings of one provider.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteChatSettings {
    pub protocol: Protocol,
    /// What stands ahead of `/chat/completions`, `/messages` or `/models/…`, the version with it:
    /// `https://api.openai.com/v1`, `https://api.anthropic.com/v1`,
    /// `https://generativelanguage.googleapis.com/v1beta`.
    pub base_url: String,
    /// Sent as `authorization: Bearer`, `x-api-key` or `x-goog-api-key`, by the protocol.
    pub api_key: ApiKey,
    pub connect_timeout_ms: u64,
    /// From the request to the first byte of a streamed answer's body.
    pub first_byte_timeout_ms: u64,
    /// Between two reads of a streamed answer.
    pub idle_timeout_ms: u64,
    /// For a whole answer that is not streamed.
    pub answer_timeout_ms: u64,
    /// Further headers of every request; they stand in place of the adapter's own.
    pub headers: Vec<(String, String)>,
}

impl RemoteChatSettings {
    /// The protocol's own provider, with patience for models that think long.
    pub fn of(protocol: Protocol, api_key: ApiKey) -> RemoteChatSettings {
        let base_url = match protocol {
            Protocol::OpenAiChat | Protocol::OpenAiEmbeddings => "https://api.openai.com/v1",
            Protocol::AnthropicMessages => "https://api.anthropic.com/v1",
            Protocol::Gemini => "https://generativelanguage.googleapis.com/v1beta",
        };
        RemoteChatSettings {
            protocol,
            base_url: base_url.to_owned(),
            api_key,
            connect_timeout_ms: 2_000,
            first_byte_timeout_ms: 60_000,
            idle_timeout_ms: 60_000,
            answer_timeout_ms: 600_000,
            headers: Vec::new(),
        }
    }
}

impl fmt::Debug for RemoteChatSettings {
    /// Shows no secret: of the further headers the names only.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        formatter
            .debug_struct("RemoteChatSettings")
            .field("protocol", &self.protocol)
            .field("api_key", &self.api_key)
            .field("connect_timeout_ms", &self.connect_timeout_ms)
            .field("first_byte_timeout_ms", &self.first_byte_timeout_ms)
            .field("idle_timeout_ms", &self.idle_timeout_ms)
            .field("answer_timeout_ms", &self.answer_timeout_ms)
            .field("headers", &names)
            .finish_non_exhaustive()
    }
}

/// Why no client can be made of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError(pub(crate) String);

impl fmt::Display for SettingsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for SettingsError {}
