//! The audit port: one record for each request, a lake that keeps them, and questions to it.
//!
//! A record is appended once: whoever does not know whether an append came through repeats it with
//! the same ids. What was appended outlives the process before it reaches the lake, and every
//! question sees it at once.

mod columns;
mod lake;
mod memory;
mod record;
mod table;
#[cfg(test)]
mod tests;
mod trace;

pub use columns::{COLUMNS, Column, ColumnKind, DAY_MS, Moment, cells, day_of};
pub use lake::{AuditError, AuditLake, AuditQuery, Backlog, Pruned, QueryLimits, Scope};
pub use memory::MemoryAudit;
pub use record::{AuditRecord, Content, Outcome, ToolUse};
pub use table::{Cell, Table};
pub use trace::{RecordSink, RequestTrace, TraceParent};
