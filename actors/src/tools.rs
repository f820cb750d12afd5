//! Tools: a registry that every node follows, one path for every call, sessions of agents, approvals,
//! calls that are made later, and sandboxes for code.

mod agents;
mod approvals;
mod audit;
mod begin;
mod code;
mod dispatch;
mod finish;
mod follow;
mod handle;
mod keys;
mod meanings;
mod metrics;
mod nouns;
mod quotas;
mod ready;
mod records;
mod registry;
mod run;
pub mod sandbox;
mod sessions;
mod vector_search;
mod waiting;

pub use agents::{
    AgentFollower, OFFERED_MAX, RunAsk, RunEvent, RunEvents, RunState, RunTold, TOOLS_MAX,
};
pub use approvals::Decided;
pub use code::CodeCaller;
pub use handle::{AgentsSettings, Backends, ToolsHandle, ToolsSettings};
pub use metrics::ToolsMetrics;
pub use nouns::{Called, ToolAsk, ToolCaller, ToolsError};
pub use registry::Published;
pub use sessions::{SessionStep, SessionTold};
pub use vector_search::{VectorSearch, VectorSearches};
pub use waiting::{CallRunner, WaitingState, WaitingTold};

/// The backends port's nouns, for whoever makes backends.
pub use headwater_backends::{Answer, Backend, BackendError, Content, Invocation, Listed};
pub use headwater_tools::agent::{
    AgentSettings, Finish as RunFinish, Message as RunMessage, Notice as RunNotice, ToolRequest,
};
pub use headwater_tools::call::{CallResult, Class, Ending, Mode, Refusal};
pub use headwater_tools::confirmation::{Approval, ApprovalState};
pub use headwater_tools::pool::PoolSettings;
pub use headwater_tools::session::{Left, SessionBudget, Standing};
/// The pure service's nouns that whoever asks for tools meets.
pub use headwater_tools::{
    ArgumentsIn, Backend as Runs, Builtin, Definition, Difference, Egress as HostNeed, Filter,
    Grant, HttpArguments, HttpDryRun, HttpParameter, HttpPlace, HttpRest, Kind, Problem, Room,
    State, Tier, Tool, ToolName, ToolReference, ToolVersion, anthropic_tool, mcp_tool,
    openai_chat_tool, openai_responses_tool, tool_called,
};
