//! OpenAI's chat completions.

mod answer;
mod embeddings;
mod request;

#[cfg(test)]
mod tests;

pub(crate) use answer::Answer;
pub(crate) use embeddings::{Vectors, embeddings};
pub(crate) use request::{LimitName, from_body, from_nouns};
