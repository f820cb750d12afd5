//! What a chat model says.

use serde_json::Value;

use super::request::Protocol;

/// Why a choice ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model had nothing more to say, or met a stop text.
    Stop,
    /// The limit of tokens was reached.
    Length,
    /// It calls tools.
    ToolCalls,
    /// The provider withheld the rest.
    Filtered,
}

/// What an answer cost in tokens. The input counts all of it, what was cached too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub input: u64,
    pub output: u64,
    /// Input tokens that the provider had cached.
    pub input_cached: u64,
    /// Input tokens that the provider wrote into its cache.
    pub input_written: u64,
    /// Output tokens that were thoughts.
    pub reasoning: u64,
}

/// One step of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum ChatEvent {
    /// The answer begins; the first event.
    Started {
        /// The provider's name of the answer.
        id: Option<String>,
        /// The model that answers, as the provider calls it.
        model: Option<String>,
    },
    Text {
        choice: u32,
        text: String,
    },
    Refusal {
        choice: u32,
        text: String,
    },
    Thinking {
        choice: u32,
        text: String,
        signature: Option<String>,
    },
    /// A part of a call. The first of each call has its id and name.
    ToolCall {
        choice: u32,
        /// Which call of the choice, from 0.
        index: u32,
        id: Option<String>,
        name: Option<String>,
        arguments: String,
    },
    /// Probabilities of the tokens of the text beside it, in OpenAI's form.
    Logprobs {
        choice: u32,
        content: Value,
    },
    /// The vectors of an embedding request, as its protocol has them.
    Vectors {
        data: Value,
    },
    Finished {
        choice: u32,
        reason: Finish,
        /// The stop text that was met, where it is told.
        stop: Option<String>,
    },
    /// What the answer has cost so far; the last one counts.
    Usage(Usage),
}

/// What the provider said, word for word.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    pub protocol: Protocol,
    /// The name of a server-sent event; none for a body that was not streamed, or without a name.
    pub event: Option<String>,
    /// JSON.
    pub data: String,
}

/// A part of a stream as it came: what it says, and what that means. Some mean nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Chunk {
    pub said: Option<Said>,
    pub events: Vec<ChatEvent>,
}

impl Chunk {
    /// A chunk of a model that speaks no protocol.
    pub fn of(events: Vec<ChatEvent>) -> Chunk {
        Chunk { said: None, events }
    }
}
