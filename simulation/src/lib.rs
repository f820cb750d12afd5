//! Deterministic simulation, tier 1: the pure services and the protocols around them in one
//! thread, under a seeded clock, scheduler, network and store.
//!
//! A seed decides everything: the options of the run, which kinds of faults strike, and the
//! order in which tasks run. The same seed gives the same trace on every machine, so that
//! a failure can be replayed; [`verify`] runs each seed twice to prove it.

mod faults;
mod gateway;
mod gossip;
mod identity;
mod ingest;
pub mod lockstep;
mod metered;
mod network;
mod outcome;
mod prompts;
mod quota;
mod reembed;
mod register;
mod shared_store;
#[cfg(test)]
mod tests;
mod tools;
mod workload;
mod world;

pub use metered::Defect;
pub use outcome::{Outcome, Verdict};
pub use workload::Workload;

/// Runs one seed of a workload.
pub fn run(workload: Workload, seed: u64) -> Outcome {
    workload.run(seed)
}

/// Runs one seed of the metered workload or the registers with a bug planted in the
/// simulation's own parts; the others have no such parts.
pub fn run_with(workload: Workload, defect: Defect, seed: u64) -> Outcome {
    match workload {
        Workload::Metered => metered::run(seed, Some(defect)),
        Workload::Registers => register::run(seed, Some(defect)),
        other => other.run(seed),
    }
}

/// Runs a seed twice and compares the traces.
pub fn verify(workload: Workload, seed: u64) -> Verdict {
    Verdict::of(run(workload, seed), &run(workload, seed))
}
