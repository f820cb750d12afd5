//! Quotas end to end: edges, owners, ledger, and what becomes of them when something fails.

mod departures;
mod moves;
mod outages;
mod owners;
mod quotas;
mod strain;
mod wire;
pub(crate) mod world;
