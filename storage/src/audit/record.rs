//! What is kept of one request.

use std::collections::BTreeMap;

use super::trace::{RequestTrace, TraceParent};

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The answer was whole.
    Whole,
    /// The backend broke off after it had begun.
    Cut,
    /// The client left before the end.
    Left,
    /// The model refused the request with its own words.
    Refused,
    /// A policy of this gateway did not let it through.
    Blocked,
    UnknownModel,
    /// The client wants what was answered before, and nothing was.
    NotCached,
    OverQuota,
    /// The model took no more requests.
    Limited,
    Unavailable,
    TimedOut,
}

impl Outcome {
    pub const ALL: [Outcome; 11] = [
        Outcome::Whole,
        Outcome::Cut,
        Outcome::Left,
        Outcome::Refused,
        Outcome::Blocked,
        Outcome::UnknownModel,
        Outcome::NotCached,
        Outcome::OverQuota,
        Outcome::Limited,
        Outcome::Unavailable,
        Outcome::TimedOut,
    ];

    /// As it stands in the column `outcome`.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Whole => "whole",
            Outcome::Cut => "cut",
            Outcome::Left => "left",
            Outcome::Refused => "refused",
            Outcome::Blocked => "blocked",
            Outcome::UnknownModel => "unknown_model",
            Outcome::NotCached => "not_cached",
            Outcome::OverQuota => "over_quota",
            Outcome::Limited => "limited",
            Outcome::Unavailable => "unavailable",
            Outcome::TimedOut => "timed_out",
        }
    }

    pub fn named(name: &str) -> Option<Outcome> {
        Outcome::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// What is kept of what was said.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    Full {
        request: String,
        response: String,
    },
    /// HMAC-SHA256 in hexadecimal: whoever has the key and a text can tell whether it was this one.
    Hash {
        request: String,
        response: String,
    },
}

// What was said stands in no log.
impl std::fmt::Debug for Content {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Content::Full { .. } => "Full(..)",
            Content::Hash { .. } => "Hash(..)",
        })
    }
}

/// What is kept of a tool's call beside the rest of its record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ToolUse {
    /// The call's own id, by which repetitions of it are found.
    pub call_id: String,
    pub session: Option<String>,
    pub agent: Option<String>,
    /// SHA-256 of the arguments as canonical JSON, in hexadecimal.
    pub input_sha256: String,
    /// Of what the caller was answered; none without an answer.
    pub output_sha256: Option<String>,
    /// How code of the sandbox ended, such as `exit 0` or `memory`.
    pub ended: Option<String>,
    pub memory_peak_bytes: Option<u64>,
    pub cpu_us: Option<u64>,
    /// Bytes that left the platform and came back.
    pub egress_bytes: Option<u64>,
    /// The word for why the call was refused.
    pub refusal: Option<String>,
}

/// One request, once it has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Made by this gateway; no two requests share it.
    pub id: String,
    /// When it ended, in ms since 1970.
    pub time_ms: u64,
    pub team: String,
    pub project: Option<String>,
    pub user: Option<String>,
    /// The virtual key or token, never the secret itself.
    pub key_id: Option<String>,
    /// The edge's path, such as `/v1/chat/completions`.
    pub route: String,
    /// What the client speaks.
    pub protocol: String,
    pub model_asked: String,
    /// Who answered; empty when nobody did.
    pub backend: String,
    /// The model's name at the backend.
    pub model_served: String,
    pub tokens_in: u64,
    pub tokens_out: u64,
    /// Of `tokens_in`, read from the provider's cache.
    pub tokens_cached: u64,
    /// Of `tokens_in`, written into the provider's cache.
    pub tokens_cache_written: u64,
    /// Whether the tokens are in part this gateway's estimate.
    pub is_estimated: bool,
    /// In millionths of a US dollar.
    pub cost_micro_usd: u64,
    /// From the request to its end.
    pub latency_ms: u64,
    /// From the request to the first part of its answer; none without an answer.
    pub ttft_ms: Option<u64>,
    /// Whether the answer came from the gateway's own cache.
    pub cache_hit: bool,
    /// How often each kind of personal data was taken out.
    pub redactions: BTreeMap<String, u64>,
    /// Tries that failed before.
    pub retries: u32,
    /// The client's trace, when it sent one.
    pub trace_parent: Option<TraceParent>,
    pub prompt_version: Option<String>,
    pub config_version: Option<u64>,
    pub outcome: Outcome,
    /// Words for what an auditor should look at; a flagged record is kept for good.
    pub flags: Vec<String>,
    pub content: Option<Content>,
    /// Of calls of tools only.
    pub tool: Option<ToolUse>,
}

impl AuditRecord {
    /// A request that has used nothing yet.
    pub fn new(id: impl Into<String>, team: impl Into<String>, outcome: Outcome) -> AuditRecord {
        AuditRecord {
            id: id.into(),
            time_ms: 0,
            team: team.into(),
            project: None,
            user: None,
            key_id: None,
            route: String::new(),
            protocol: String::new(),
            model_asked: String::new(),
            backend: String::new(),
            model_served: String::new(),
            tokens_in: 0,
            tokens_out: 0,
            tokens_cached: 0,
            tokens_cache_written: 0,
            is_estimated: false,
            cost_micro_usd: 0,
            latency_ms: 0,
            ttft_ms: None,
            cache_hit: false,
            redactions: BTreeMap::new(),
            retries: 0,
            trace_parent: None,
            prompt_version: None,
            config_version: None,
            outcome,
            flags: Vec::new(),
            content: None,
            tool: None,
        }
    }

    /// Its place in a trace; none when its id is no UUID.
    pub fn trace(&self) -> Option<RequestTrace> {
        RequestTrace::of(&self.id, self.trace_parent)
    }

    /// Bytes of the texts that it may hold on to.
    pub fn content_bytes(&self) -> usize {
        match &self.content {
            None => 0,
            Some(Content::Full { request, response } | Content::Hash { request, response }) => {
                request.len() + response.len()
            }
        }
    }
}
