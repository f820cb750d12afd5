//! What a caller of the gateway meets.

use headwater_gateway::CacheWish;
use headwater_models::chat::{ChatRequest, Protocol};
use headwater_storage::audit::TraceParent;
use headwater_tenancy::{Amounts, Payer, Refusal, Standing};

use super::answer::AnswerStream;
use super::prompt::PromptUse;
use super::redaction::RedactionReport;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Caller {
    /// The team: whom it is charged to.
    pub tenant: String,
    pub project: Option<String>,
    pub user: Option<String>,
    /// Of the virtual key that let the request in.
    pub key_id: Option<String>,
}

impl Caller {
    pub(super) fn payer(&self) -> Payer<'_> {
        let (project, user) = (self.project.as_deref(), self.user.as_deref());
        Payer { team: &self.tenant, project, user }
    }
}

/// A chat, and who asks.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Differs for every request; no client chooses it.
    pub id: String,
    pub caller: Caller,
    /// The edge's path, such as `/v1/messages`.
    pub route: &'static str,
    /// What the choice among an alias's targets hangs on: the same key gets the same target as
    /// long as that is well.
    pub key: String,
    /// What the client says of answers that were given before.
    pub cache: CacheWish,
    /// The client's trace, when it sent one.
    pub trace_parent: Option<TraceParent>,
    /// None when the client wrote the request itself.
    pub prompt: Option<PromptUse>,
    /// The model is the name that the client asked for.
    pub request: ChatRequest,
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The name that the client asked for.
    pub asked: String,
    pub backend: String,
    /// The model's name at the backend.
    pub model: String,
    /// What the backend speaks; none for a model on this node.
    pub protocol: Option<Protocol>,
    /// Tries before this one, at all targets.
    pub retries: u32,
    /// How the tenant's limits stand, as far as this node knows.
    pub standing: Vec<Standing>,
    /// Of what the gateway served then.
    pub version: u64,
    pub cache: Cached,
}

/// Whether an answer was given before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cached {
    /// Nobody looked.
    Off,
    Miss,
    /// So long ago.
    Hit {
        age_ms: u64,
    },
    /// So long ago, to a question in other words.
    Near {
        age_ms: u64,
        /// Cosine of the questions' vectors, in thousandths.
        per_mille: u32,
    },
}

/// An answer that has begun.
pub struct Answer {
    pub served: Served,
    /// What was done with personal data in the request.
    pub redaction: RedactionReport,
    /// What is said; dropped before its end, the backend's work is cancelled, and what was
    /// produced until then is charged.
    pub chunks: AnswerStream,
}

/// A name that clients may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedModel {
    pub name: String,
    /// Backends that it may lead to, each once, in the order of the settings.
    pub backends: Vec<String>,
}

/// Why there is no answer, by what the client should do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    #[error("the model '{model}' is not served here; served are: {}", known.join(", "))]
    UnknownModel { model: String, known: Vec<String> },
    #[error("no answer to this is kept; ask without `only-if-cached`")]
    NotCached,
    #[error("the tenant's quota does not cover the request")]
    OverQuota { refusal: Refusal, estimate: Amounts },
    /// The model's own words about what is wrong with the request.
    #[error("{message}")]
    Refused { status: u16, code: Option<String>, message: String },
    /// No target takes more requests now.
    #[error("the model takes no more requests now; try again later")]
    Limited { retry_after_ms: u64 },
    /// No target can be reached, or each fails.
    #[error("no backend of the model answers now; try again later: {reason}")]
    Unavailable { retry_after_ms: u64, reason: &'static str },
    #[error("the model did not answer within {after_ms} ms; ask for less, or try again")]
    TimedOut { after_ms: u64 },
    /// The team's policy blocks what the text holds.
    #[error(
        "the text holds personal data of the kind '{entity}', which is blocked here; remove it"
    )]
    PersonalData { entity: &'static str },
    /// It was not looked through in time, and the team's policy lets nothing pass unseen.
    #[error(
        "the request was not searched for personal data within {budget_ms} ms, and may not go on \
         without; try again"
    )]
    NotRedacted { budget_ms: u64 },
    /// The answer broke off after it had begun.
    #[error("the answer broke off: {reason}; what came until then is not complete")]
    Cut { reason: String },
}
