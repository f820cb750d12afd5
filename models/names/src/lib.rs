//! Finds persons' names and postal addresses: a linear chain over hashed features of words, with
//! weights of about a megabyte that this crate's own training made of generated texts.
//!
//! An encoder's hidden states would tell more, but one layer of a small BERT costs more than the
//! 10 ms that a kilobyte may take altogether; this costs a fraction of one.

mod chain;
mod feature;
mod tagger;
#[cfg(test)]
mod tests;
mod token;
pub mod train;
mod weights;

pub use tagger::NameTagger;
pub use weights::{Weights, WeightsError};
