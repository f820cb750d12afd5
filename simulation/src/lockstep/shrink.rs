//! From a failing run to one with as few faults as still make it fail.

#[cfg(test)]
mod tests;

use std::path::Path;

use super::outcome::LockstepOutcome;
use super::process::LockstepError;
use super::scenario::Scenario;
use super::schedule::ScheduledFault;

/// What shrinking came to.
#[derive(Debug, Clone)]
pub struct Shrunk {
    /// The last failing run; its faults are all needed.
    pub outcome: LockstepOutcome,
    /// How many runs it took.
    pub runs: usize,
}

/// Drops one fault after the other as long as the run still breaks one of the same invariants,
/// and starts over until none can go. At most `runs_max` runs.
///
/// # Errors
/// Why a run could not be made.
pub fn shrink(
    scenario: &Scenario,
    failing: LockstepOutcome,
    runs_max: usize,
    binary: Option<&Path>,
) -> Result<Shrunk, LockstepError> {
    let seed = failing.seed;
    shrink_by(failing, runs_max, |faults| super::run_with(scenario, seed, faults, binary))
}

fn shrink_by<E>(
    failing: LockstepOutcome,
    runs_max: usize,
    mut run: impl FnMut(&[ScheduledFault]) -> Result<LockstepOutcome, E>,
) -> Result<Shrunk, E> {
    let broken = failing.broken();
    let mut shrunk = Shrunk { outcome: failing, runs: 0 };
    let mut place = 0;
    let mut kept_in_a_row = 0;
    // The latest faults go first: what follows a failure cannot have caused it.
    while kept_in_a_row < shrunk.outcome.faults.len() && shrunk.runs < runs_max {
        let faults = &shrunk.outcome.faults;
        let dropped = faults.len() - 1 - place % faults.len();
        let mut fewer = faults.clone();
        fewer.remove(dropped);
        let outcome = run(&fewer)?;
        shrunk.runs += 1;
        if outcome.broken().iter().any(|name| broken.contains(name)) {
            shrunk.outcome = outcome;
            kept_in_a_row = 0;
        } else {
            kept_in_a_row += 1;
            place += 1;
        }
    }
    Ok(shrunk)
}
