//! The tool against a PostgreSQL of its own.

mod errors;
mod limits;
mod server;
mod values;
mod writes;
