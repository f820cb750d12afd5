//! What a product has to give so that its tools are served to MCP clients.

use std::fmt;

use async_trait::async_trait;
use headwater_backends::{Content, Listed};
use http::{Extensions, HeaderMap};
use serde_json::{Map, Value};

/// Who asks: what the edge has put into the request before it came here.
#[derive(Clone)]
pub struct Caller {
    /// The extensions of the HTTP request, such as an identity.
    pub extensions: Extensions,
    pub headers: HeaderMap,
    /// Name and version that the client tells of itself, such as `inspector 1.0`; nobody's proof.
    pub client: Option<String>,
    /// The protocol's revision that is spoken, such as `2026-07-28`.
    pub revision: String,
}

/// Headers hold keys, so they are not shown.
impl fmt::Debug for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Caller")
            .field("client", &self.client)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

/// A page of tools.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    pub tools: Vec<Listed>,
    /// Where the next page begins; `None` after the last one.
    pub next_cursor: Option<String>,
    /// How long a client may keep the page, in milliseconds; nobody but this caller's.
    pub fresh_ms: u64,
}

/// One call of a tool by a client.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    pub name: String,
    pub arguments: Map<String, Value>,
    /// The client's own id of the call, from `_meta` at [`crate::CALL_KEY`]; the same for every
    /// try of it. `None` for clients that give none.
    pub call: Option<String>,
    /// `_meta` at [`crate::DRY_RUN_KEY`] is `true`.
    pub dry_run: bool,
    /// The answer to a question that an earlier try was answered with.
    pub confirmation: Option<Confirmation>,
}

/// What the person in front of a client said to [`Failure::NeedsApproval`]. Both parts come from
/// the client: check that the approval is this caller's and this call's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    pub approval: String,
    pub approved: bool,
}

/// What a call was answered with. A tool that says that it failed has answered all the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    pub content: Content,
    pub is_error: bool,
}

/// Why a question was not answered, by what the client should do. Texts go to the client as they
/// are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No tool of this name, for this caller: a JSON-RPC error, for the client has to list anew.
    #[error("no tool is named `{name}`; list the tools anew")]
    UnknownTool { name: String },
    /// The cursor is none of ours.
    #[error("the cursor is not known; list from the beginning")]
    Cursor,
    /// Answered as a failed tool, so that the model can correct its call: wrong arguments, no
    /// right, a budget that is used up.
    #[error("{why}")]
    Refused { why: String },
    /// Answered as a failed tool, with the time to wait.
    #[error("{why}; try again in {retry_after_ms} ms")]
    Busy { why: String, retry_after_ms: u64 },
    /// The call waits for somebody's word. A client of the current revision that can ask its user
    /// is asked to, others get a failed tool with the approval's id.
    #[error("{question} Approval `{approval}` is needed; have it given and call again")]
    NeedsApproval { approval: String, question: String },
    /// Nothing that the client can help: a JSON-RPC error.
    #[error("the call failed inside the platform: {why}")]
    Internal { why: String },
}

/// Tells the client how far a call has come. Nothing is sent where it did not ask for it.
#[async_trait]
pub trait Progress: Send + Sync {
    /// `done` grows with every report; `total` where it is known.
    async fn report(&self, done: f64, total: Option<f64>, message: Option<&str>);
}

/// The tools of a product. When a future is dropped, the client has gone or cancelled the call.
#[async_trait]
pub trait Served: Send + Sync + 'static {
    /// The tools that this caller may see, from the cursor on.
    ///
    /// # Errors
    /// [`Failure::Cursor`], [`Failure::Refused`], [`Failure::Busy`], [`Failure::Internal`].
    async fn list(&self, caller: &Caller, cursor: Option<&str>) -> Result<Page, Failure>;

    /// # Errors
    /// All but [`Failure::Cursor`].
    async fn call(
        &self,
        caller: &Caller,
        call: ToolCall,
        progress: &dyn Progress,
    ) -> Result<Answered, Failure>;
}
