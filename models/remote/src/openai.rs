//! OpenAI's chat completions.

mod answer;
mod request;

#[cfg(test)]
mod tests;

pub(crate) use answer::Answer;
pub(crate) use request::{LimitName, from_body, from_nouns};
