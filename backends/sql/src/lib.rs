//! Reads of PostgreSQL as a tool: one statement a call, in a transaction that only reads.
//!
//! What keeps a model from changing anything, from outside to inside:
//!
//! - Where a call goes is said by [`SqlSettings`] alone; arguments are a statement and its values.
//! - The operator gives a role that may only `SELECT`, and no superuser: functions that reach
//!   outside the transaction (`dblink`, `pg_read_file`, `lo_export`, `COPY ... TO PROGRAM`) or at
//!   other sessions of the role (`pg_terminate_backend`) are limited by its rights and nothing else.
//! - Every session begins its transactions read-only, and every call says so again. The call's own
//!   `SELECT 1` comes first, after which the server takes no `SET TRANSACTION READ WRITE` any more.
//! - A call is one statement by the extended protocol, which takes no second one; and one that
//!   begins with a word of reading, so that neither `SET`, `COMMIT` nor `COPY` are sent at all.
//! - It always ends with `ROLLBACK`, which undoes `set_config` too; a session whose call did not end
//!   well is closed, and what the server still does for it is cancelled.

mod ask;
mod backend;
mod connection;
mod error;
mod meter;
mod parameter;
mod pool;
mod session;
mod settings;
mod statement;
mod tls;
mod value;

pub use backend::{SqlBackend, SqlDatabase};
pub use settings::{SettingsError, SqlSettings, Tls};

#[cfg(test)]
mod tests;
