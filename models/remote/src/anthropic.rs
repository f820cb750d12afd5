//! Anthropic's messages.

mod answer;
mod request;

#[cfg(test)]
mod tests;

pub(crate) use answer::Answer;
pub(crate) use request::{from_nouns, schema_name};

/// The version of the API that this codec speaks: a header of every request.
pub(crate) const VERSION: &str = "2023-06-01";
