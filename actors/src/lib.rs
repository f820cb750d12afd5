//! The ractor shells that feed the pure services, one folder per service.

pub mod embedding;
pub mod environment;
