//! The headwater node: the one place that names adapters and joins them to the services.

pub mod bench;
mod cluster;
pub mod command;
pub mod config;
mod doctor;
pub mod failure;
mod gateway;
mod ingest;
mod logging;
mod models;
mod operator;
mod plan;
mod progress;
mod retrieval;
mod scenario;
mod secret_file;
pub mod server;
mod simulate;
mod store;
mod tenant;
mod token;
