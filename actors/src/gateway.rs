//! The gateway: chats of all clients to all models, within quotas, along routes that heal, with
//! every answer charged for what it really was.

mod answer;
mod audit;
mod cache;
mod document;
mod estimate;
mod failures;
mod handle;
mod health;
mod metrics;
mod near;
mod nouns;
mod prompt;
mod redaction;
#[cfg(test)]
pub(crate) mod tests;
mod tries;
mod versions;

pub use answer::AnswerStream;
pub use audit::{
    AuditHandle, AuditMetrics, AuditSettings, ContentMode, ContentPolicy, CostBy, CostProblem,
    CostQuestion, HashKey, OpenRecord,
};
pub use document::{
    ChoiceDocument, ConfigDocument, ModelDocument, PolicyDocument, PriceDocument,
    RedactionDocument, RuleDocument, SemanticDocument, TargetDocument,
};
pub use handle::{Backend, GatewayHandle};
pub use metrics::GatewayMetrics;
pub use near::NearQuestions;
pub use nouns::{Answer, Ask, Cached, Caller, GatewayError, Served, ServedModel};
pub use prompt::{Observed, PromptUse, Watcher};
pub use redaction::{Offload, REDACTION_BUDGET_MS, Redaction, RedactionMetrics, RedactionReport};
pub use versions::{Change, GatewayVersions, Version, VersionError};

/// The pure service's nouns of redaction.
pub use headwater_gateway::redaction::{
    Action, Entity, HashKey as RedactionKey, RedactionPolicies, RedactionPolicy, Redactor, Rule,
    score,
};
/// The pure service's nouns that whoever sets up a gateway meets.
pub use headwater_gateway::{
    Alias, BreakerSettings, CacheWish, Choice, GatewayConfig, GatewayProblem, GatewaySettings,
    Price, RetrySettings, Semantic, Target, what_if,
};
/// The models port's nouns that a client's protocol is read into and written from.
pub use headwater_models::chat::{
    Body, ChatError, ChatEvent, ChatModel, ChatRequest, ChatStream, Chunk, Finish, Image, Message,
    OutputFormat, Part, Protocol, Role, Said, Sampling, Tool, ToolChoice, Usage,
};
/// The audit port's nouns that whoever keeps or asks the audit meets.
pub use headwater_storage::audit::{
    AuditError, AuditLake, AuditQuery, AuditRecord, Backlog, Cell as AuditCell, Content,
    MemoryAudit, Moment, Outcome as AuditOutcome, Pruned, QueryLimits as AuditLimits, RecordSink,
    RequestTrace, Scope as AuditScope, Table as AuditTable, TraceParent,
};
