//! The headwater node: the one place that names adapters and joins them to the services.

mod audit;
pub mod bench;
mod cluster;
pub mod command;
pub mod config;
mod doctor;
pub mod failure;
mod gateway;
mod identity;
mod ingest;
mod issuers;
mod key;
mod logging;
mod models;
mod notices;
mod operator;
mod plan;
mod process;
mod progress;
mod prompts;
mod redaction;
mod retrieval;
mod sandbox;
mod scenario;
mod secret_file;
pub mod server;
mod simulate;
mod sockets;
mod store;
mod tenant;
mod token;
mod tools;

pub use sandbox::launch;
