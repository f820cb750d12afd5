//! Google's Gemini API.

mod answer;
mod request;

#[cfg(test)]
mod tests;

pub(crate) use answer::Answer;
pub(crate) use request::from_nouns;
