//! Chat models: a request and the stream of what comes back, told without any provider's format.
//!
//! Clients and providers speak several protocols, and each has fields that the others lack. What
//! all of them mean stands in nouns here; beside it a request keeps the client's own body, and a
//! chunk what the provider said word for word, so that nothing is lost between two ends that
//! speak the same protocol.

pub mod double;
mod error;
mod event;
mod request;

use std::pin::Pin;

use async_trait::async_trait;
use futures_core::Stream;

pub use error::ChatError;
pub use event::{ChatEvent, Chunk, Finish, Said, Usage};
pub use request::{
    Body, ChatRequest, Image, Message, OutputFormat, Part, Protocol, Role, Sampling, Tool,
    ToolChoice,
};

/// What a model says, part by part. It ends with none after a chunk that finished every choice,
/// and with an error otherwise: a stream that breaks off is never a clean end. To drop it is to
/// cancel the work.
pub type ChatStream = Pin<Box<dyn Stream<Item = Result<Chunk, ChatError>> + Send>>;

/// A model that answers chats: a provider over the network, or one on this node.
#[async_trait]
pub trait ChatModel: Send + Sync {
    /// Begins an answer; returns once the model has accepted the request. A request that is not
    /// streamed is one chunk.
    ///
    /// # Errors
    /// See [`ChatError`]; nothing was produced then.
    async fn chat(&self, request: &ChatRequest) -> Result<ChatStream, ChatError>;
}
