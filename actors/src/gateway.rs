//! The gateway: chats of all clients to all models, within quotas, along routes that heal, with
//! every answer charged for what it really was.

mod answer;
mod cache;
mod document;
mod failures;
mod handle;
mod health;
mod metrics;
mod nouns;
#[cfg(test)]
mod tests;
mod tries;
mod versions;

pub use answer::AnswerStream;
pub use document::{ChoiceDocument, ConfigDocument, ModelDocument, PriceDocument, TargetDocument};
pub use handle::{Backend, GatewayHandle};
pub use metrics::GatewayMetrics;
pub use nouns::{Answer, Ask, Cached, Caller, GatewayError, Served, ServedModel};

pub use versions::{Change, GatewayVersions, Version, VersionError};

/// The pure service's nouns that whoever sets up a gateway meets.
pub use headwater_gateway::{
    Alias, BreakerSettings, CacheWish, Choice, GatewayConfig, GatewayProblem, GatewaySettings,
    Price, RetrySettings, Target, what_if,
};
/// The models port's nouns that a client's protocol is read into and written from.
pub use headwater_models::chat::{
    Body, ChatError, ChatEvent, ChatModel, ChatRequest, ChatStream, Chunk, Finish, Image, Message,
    OutputFormat, Part, Protocol, Role, Said, Sampling, Tool, ToolChoice, Usage,
};
