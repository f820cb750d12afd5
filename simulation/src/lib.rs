//! Deterministic simulation, tier 1: the pure services and the protocols around them in one
//! thread, under a seeded clock, scheduler, network and store.
//!
//! A seed decides everything: the options of the run, which kinds of faults strike, and the
//! order in which tasks run. The same seed gives the same trace on every machine, so that
//! a failure can be replayed; [`verify`] runs each seed twice to prove it.

mod faults;
mod metered;
mod network;
mod outcome;
#[cfg(test)]
mod tests;
mod world;

pub use metered::Defect;
pub use outcome::{Outcome, Verdict};

/// Runs one seed of the metered embedding workload.
pub fn run(seed: u64, defect: Option<Defect>) -> Outcome {
    metered::run(seed, defect)
}

/// Runs a seed twice and compares the traces.
pub fn verify(seed: u64) -> Verdict {
    Verdict::of(run(seed, None), &run(seed, None))
}

/// What must happen in some seed of a large run; otherwise the simulation tests less than
/// it claims.
pub const SOMETIMES: &[&str] = metered::SOMETIMES;
