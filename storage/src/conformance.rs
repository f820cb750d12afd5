//! The suite that every engine must pass: named cases, and random interleaved transactions
//! against a serial model.
//!
//! An engine is checked through its [`Store`] alone and may hold other data: every part
//! works below a key prefix of its own.

mod cases;
mod draw;
mod histories;
mod model;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::{Environment, Store, StoreError};

pub use draw::Draw;
pub use histories::HistoryCounts;

/// What a run saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    pub cases: usize,
    pub histories: HistoryCounts,
}

/// How an engine broke the contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Violation {
    /// The case's name, or the seed of the history.
    pub place: String,
    pub what: String,
}

/// What a case ends with: a sentence about what was not as it must be.
pub(crate) type Outcome = Result<(), String>;

/// Runs every case, then `histories` random histories drawn from `seed`.
///
/// Takes 6 s of the environment's time for the case about old transactions.
///
/// # Errors
/// The first violation.
pub async fn run(
    store: Arc<dyn Store>,
    environment: &Environment,
    seed: u64,
    histories: usize,
) -> Result<Report, Violation> {
    let cases = cases::run(&store, environment, seed).await?;
    let histories = histories::run(&store, seed, histories).await?;
    Ok(Report { cases, histories })
}

/// Turns a store's error into a violation's text.
pub(crate) fn told(doing: &str) -> impl Fn(StoreError) -> String {
    move |error| format!("{doing} failed: {error}")
}

/// A violation unless `left` is `right`.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, left: T, right: T) -> Outcome {
    if left == right { Ok(()) } else { Err(format!("{what} is {left:?}, it must be {right:?}")) }
}
