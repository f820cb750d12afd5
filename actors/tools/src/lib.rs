//! Tools, purely: registry, schemas, grants, calls, session budgets. Time and drawn numbers come in
//! as arguments, effects go out.

pub mod agent;
pub mod call;
pub mod confirmation;
#[cfg(test)]
mod draws;
pub mod idempotency;
pub mod pool;
pub mod session;
pub mod steps;

mod date;
mod definition;
mod deprecation;
mod fields;
mod glob;
mod grant;
mod name;
mod problem;
mod registry;
mod render;
mod schema;
mod search;
#[cfg(test)]
mod tests;

pub use date::Date;
pub use definition::{
    ArgumentsIn, Backend, Breaker, Builtin, CACHE_SECONDS_MAX, Cache, Confirmation,
    DEFINITION_BYTES_MAX, Definition, Difference, Egress, Fallback, HttpArguments, HttpDryRun,
    HttpParameter, HttpPlace, HttpRest, Kind, OUTPUT_BYTES_MAX, Quotas, Room, SecretHeader,
    Severity, Sla, Tier, amend, compare, is_compatible,
};
pub use deprecation::{Deprecation, Notice};
pub use grant::{Allowed, Caller, Decision, Denial, Denied, Effect, Grant, Versions, decide};
pub use name::{DefinitionHash, HashPin, ToolName, ToolReference, ToolVersion};
pub use problem::Problem;
pub use registry::{Filter, Page, Registry, ResolveError, State, Tool};
pub use render::{anthropic_tool, mcp_tool, openai_chat_tool, openai_responses_tool, tool_called};
pub use schema::{MISFITS_MAX, Misfit, Misfits, SCHEMA_BYTES_MAX, Schema};
pub use search::{Hit, SearchIndex, Vectors, Why};
