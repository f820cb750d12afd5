//! Limits, windows, grants, and both machines together.

mod accounts;
mod edge;
mod hand;
mod histories;
mod ledger;
mod limits;
mod notices;
mod outages;
mod owner;
#[cfg(feature = "mutants")]
mod planted;
mod reports;
mod rows;
mod steps;
mod subjects;
mod watched;
mod world;

use crate::{Amounts, Limit, Unit, Window};

fn amounts(requests: u64, tokens: u64, micro_usd: u64) -> Amounts {
    Amounts { requests, tokens, micro_usd }
}

fn limit(model: Option<&str>, unit: Unit, window: Window, amount: u64) -> Limit {
    Limit { model: model.map(str::to_owned), unit, window, amount }
}
