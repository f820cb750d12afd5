//! The ractor shells that feed the pure services, one folder per service.

pub mod caller;
pub mod cluster;
pub mod collection;
pub mod embedding;
pub mod environment;
pub mod gateway;
pub mod identity;
pub mod ingest;
pub mod mutants;
pub mod prompts;
pub mod runtime;
pub mod tenancy;
pub mod tools;
mod watched;
