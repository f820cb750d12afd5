//! The HTTP edge: parse, authenticate, call one handle, render. A router only; the
//! socket is the node's.

mod body;
mod chat;
mod cluster;
mod collection;
mod embedding;
mod error;
mod gate;
mod gateway;
mod identity;
mod ingest;
mod metrics;
mod router;
mod search;
mod status;
mod tenancy;

pub use gate::Gate;
pub use identity::{Authority, Grant, GrantProblem, SigningKey, Verifier};
pub use metrics::EdgeMetrics;
pub use router::{Edge, EdgeSettings, router, starting};

#[cfg(test)]
mod tests;
