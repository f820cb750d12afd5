//! Traces of requests for an OpenTelemetry collector, over OTLP (HTTP, protobuf), after the
//! semantic conventions for generative AI: a span for each request, and one for the model's part.
//!
//! Spans are made of audit records, once a request has ended; what was said is in none of them.

mod export;
mod span;
#[cfg(test)]
mod tests;

pub use export::{OtlpError, OtlpSettings, OtlpTraces};
