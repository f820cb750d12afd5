//! What a caller of the prompt service meets.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_prompts::{Action, Compiled, Head, Problem, PromptDocument, Standing};
use headwater_secrets::SecretError;
use headwater_storage::StoreError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    pub team: String,
    /// None for a token that names none.
    pub user: Option<String>,
    /// Neither a user's nor a project's.
    pub is_whole_team: bool,
    pub is_operator: bool,
    /// As records have it.
    pub name: String,
}

/// What stands beside a version's document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VersionInfo {
    pub number: u64,
    pub author: String,
    pub message: String,
    pub tags: Vec<String>,
    pub parent: Option<u64>,
    /// Hex; of the document's canonical JSON.
    pub sha256: String,
    /// Since 1970.
    pub created_ms: u64,
    /// Findings of the secret scan that the author let pass, with the reasons.
    pub overrides: Vec<ScanOverride>,
}

/// A finding that is none, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanOverride {
    pub fingerprint: String,
    pub reason: String,
}

/// A version that somebody commits.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    pub document: PromptDocument,
    pub message: String,
    pub tags: Vec<String>,
    pub parent: Option<u64>,
    /// The newest version must be this one; 0 for a prompt that must be new.
    pub expected_newest: Option<u64>,
    pub overrides: Vec<ScanOverride>,
}

/// A version, ready to be rendered.
#[derive(Debug)]
pub struct Ready {
    pub number: u64,
    pub sha256: String,
    pub document: PromptDocument,
    pub compiled: Compiled,
}

/// Which version of a prompt is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wish {
    pub version: Option<u64>,
    /// Of staging instead of production.
    pub is_staging: bool,
    /// Who it is for: the same user keeps to the same variant.
    pub user: Option<String>,
    /// Differs for every request.
    pub request: String,
    /// What segments of experiments look at.
    pub attributes: BTreeMap<String, String>,
}

/// Where a resolved version comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// This node hears from the store.
    Live,
    /// What this node heard last.
    LastGood,
    /// The node's own settings: nothing was ever heard.
    Fallback,
}

impl Source {
    pub fn name(self) -> &'static str {
        match self {
            Source::Live => "live",
            Source::LastGood => "last_good",
            Source::Fallback => "fallback",
        }
    }
}

/// Why a version was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chosen {
    Version,
    Staging,
    Production,
    Canary,
    Variant { experiment: String, variant: String },
    Fallback,
}

/// The version that serves a wish.
#[derive(Debug, Clone)]
pub struct Resolved {
    pub ready: Arc<Ready>,
    pub chosen: Chosen,
    pub source: Source,
    /// Moves of the prompt's pointers when it was chosen.
    pub moves: u64,
    /// The move since which users get this version for this reason; 0 without one.
    pub since: u64,
}

/// A prompt in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptInfo {
    pub team: String,
    pub name: String,
    pub head: Head,
}

/// What a check says of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    pub warnings: Vec<String>,
    pub findings: Vec<Found>,
    pub variables: BTreeMap<String, headwater_prompts::Variable>,
    pub secrets: Vec<String>,
}

/// What looks like a secret; its text is masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub field: String,
    pub rule: String,
    pub description: String,
    /// From 1.
    pub line: usize,
    pub column: usize,
    pub masked: String,
    /// Names it in an override.
    pub fingerprint: String,
}

/// What a preview is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    pub document: PromptDocument,
    pub variables: Map<String, Value>,
}

/// Why something was not done, by what the caller should do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PromptError {
    #[error(transparent)]
    Invalid(#[from] Problem),
    #[error("there is no prompt '{name}' in the team '{team}'; see the list of prompts")]
    UnknownPrompt { team: String, name: String },
    #[error("{what} is not there; see the list")]
    Unknown { what: String },
    #[error("the prompt '{name}' has no version in {pointer} yet; promote one")]
    NothingServed { name: String, pointer: &'static str },
    #[error("the newest version is {current}, not {expected}; look at it, then commit again")]
    Moved { expected: u64, current: u64 },
    /// It does not go together with what is under way.
    #[error(transparent)]
    Conflict(Problem),
    #[error("it takes a {} of the team '{team}' to do this, and you are a {}; ask an admin of the team", action.needs().name(), standing.name())]
    Forbidden { team: String, action: Action, standing: Standing },
    #[error("{} finding(s) of the secret scan; take the secret out and use {{{{ secret.NAME }}}}, or give each fingerprint in overrides with the reason why it is none", .0.len())]
    SecretFound(Vec<Found>),
    #[error(
        "no chat model is set up on this node, so nothing can be asked; ask the operator to name backends in the setting `gateway.backends`"
    )]
    NoModels,
    #[error("flag: {0}; nothing was kept, send it again")]
    NotRedacted(String),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Store(#[from] StoreError),
}
