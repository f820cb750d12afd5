//! The HTTP edge: parse, authenticate, call one handle, render. A router only; the
//! socket is the node's.

mod admin;
mod audit;
mod body;
mod chat;
mod cluster;
mod collection;
mod embedding;
mod error;
mod gate;
mod gateway;
mod gzip;
mod identity;
mod ingest;
mod keys;
mod metrics;
mod prompts;
mod query;
mod router;
mod routes;
mod search;
mod standing;
mod status;
mod tenancy;
mod tools;

pub use gate::Gate;
pub use identity::{
    Authority, ClaimNames, Grant, GrantProblem, Issuer, IssuerSettings, KeySet, KeySetProblem,
    OWN_ISSUER, SignatureAlgorithm, SigningKey,
};
pub use metrics::EdgeMetrics;
pub use router::{EdgeParts, EdgeSettings, router, starting};
pub use tools::mcp::McpAnswers;

#[cfg(test)]
mod tests;
