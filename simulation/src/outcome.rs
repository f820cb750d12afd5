//! What a run came to.

use std::collections::BTreeMap;

/// One run of one seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub seed: u64,
    /// What the seed drew, for people.
    pub options: String,
    /// How often what happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// Broken invariants, by name, each with what was seen.
    pub violations: Vec<String>,
    /// All that happened, in order, with the virtual time in ms.
    pub trace: Vec<String>,
}

/// An outcome, held against its second run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    /// The first place where the two traces differ, from 0.
    pub diverged_at: Option<usize>,
}

impl Verdict {
    pub(crate) fn of(first: Outcome, second: &Outcome) -> Self {
        let lines = first.trace.len().max(second.trace.len());
        let diverged_at = (0..lines).find(|at| first.trace.get(*at) != second.trace.get(*at));
        Verdict { outcome: first, diverged_at }
    }

    pub fn is_good(&self) -> bool {
        self.outcome.violations.is_empty() && self.diverged_at.is_none()
    }
}
