//! Tools over HTTP: one request a call, and OpenAPI documents read as tools.

mod answer;
mod backend;
mod client;
mod error;
mod fetch;
pub mod openapi;
mod operation;
mod request;
mod status;
mod template;

pub use backend::HttpBackend;
pub use client::{HttpClient, HttpSettings};
pub use error::SettingsError;
pub use fetch::{FetchLimits, Fetcher};
pub use operation::{Body, DryRun, Method, Operation, Parameter, ParameterPlace};

#[cfg(test)]
mod tests;
