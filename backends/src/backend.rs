//! The trait of all backends, and what they tell of their tools.

use async_trait::async_trait;
use serde_json::Value;

use crate::answer::Answer;
use crate::error::BackendError;
use crate::invocation::Invocation;

/// A tool that a backend tells of itself. Everything here is its own word, and nobody's proof.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    pub name: String,
    pub title: Option<String>,
    pub description: String,
    /// JSON Schema of the arguments; an object.
    pub input_schema: Value,
    /// JSON Schema of a structured answer.
    pub output_schema: Option<Value>,
    pub hints: Hints,
    /// SHA-256 over all of the above, in hexadecimal: another one means that the tool was changed.
    pub digest: String,
}

/// What a tool says of its effects; `None` where it says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hints {
    /// It changes nothing.
    pub read_only: Option<bool>,
    /// It may destroy what is there, rather than only add to it.
    pub destructive: Option<bool>,
    /// A second call with the same arguments changes nothing more.
    pub idempotent: Option<bool>,
    /// It speaks to the world outside.
    pub open_world: Option<bool>,
}

/// Answers calls of tools. Shared by all tasks; every call may be made at any time.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Sends the call once; no backend repeats a call by itself. It ends by the deadline. When the
    /// future is dropped the call is given up, and the backend is told where it can be.
    ///
    /// # Errors
    /// [`BackendError`], by what the caller should do.
    async fn call(&self, invocation: &Invocation) -> Result<Answer, BackendError>;

    /// The tools that the backend tells of itself, by their names; none where it tells nothing.
    /// It ends by the backend's own deadline.
    ///
    /// # Errors
    /// [`BackendError::Unsent`], [`BackendError::Refused`], [`BackendError::Busy`],
    /// [`BackendError::TimedOut`], [`BackendError::TooLarge`].
    async fn list(&self) -> Result<Vec<Listed>, BackendError>;
}
