//! The end of an experiment that nobody ended: tell the owner and go back to the control, once.

use super::{Ending, Experiment, State};

/// What follows from an expiry.
#[derive(Debug, Clone, PartialEq)]
pub struct Expiry {
    /// The experiment, now ended; storing it is what makes the expiry happen only once.
    pub experiment: Experiment,
    /// Version of the prompt to serve from now on: the control's.
    pub version: Option<u32>,
    /// Who to tell.
    pub owner: String,
    /// What to tell them.
    pub message: String,
}

/// Ends a running experiment whose end is at or before `now_ms`, in milliseconds since 1970.
/// Nothing for any other, so that calling it again with what it returned does nothing.
#[must_use]
pub fn expire(experiment: &Experiment, now_ms: u64) -> Option<Expiry> {
    if experiment.state != State::Running || now_ms < experiment.ends_ms {
        return None;
    }
    let version = experiment.control_variant().map(|variant| variant.version);
    let mut ended = experiment.clone();
    ended.state = State::Ended { reason: Ending::Expired, at_ms: now_ms };
    let message = format!(
        "Experiment {:?} on prompt {:?} reached its end without a decision; everyone gets what is \
         in production again. Promote a variant or start a new experiment.",
        experiment.name, experiment.prompt
    );
    Some(Expiry { experiment: ended, version, owner: experiment.owner.clone(), message })
}
