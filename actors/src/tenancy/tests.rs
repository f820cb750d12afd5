//! Quotas end to end: edges, owners, ledger, and what becomes of them when something fails.

mod departures;
mod moves;
mod notices;
mod outages;
mod owners;
mod quotas;
mod strain;
mod subjects;
mod wire;
pub(crate) mod world;
