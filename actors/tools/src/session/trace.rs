//! The newest steps of a session.

use std::collections::VecDeque;

/// Bytes of a step's text.
const TEXT_BYTES: usize = 500;

/// One call, refusal or change of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceStep {
    pub at_ms: u64,
    /// A word, such as `call`, `refused`, `paused`.
    pub kind: String,
    pub call: Option<String>,
    pub tool: Option<String>,
    pub text: String,
    pub duration_ms: u64,
    pub microdollars: u64,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trace {
    steps: VecDeque<TraceStep>,
    dropped: u64,
}

impl Trace {
    pub(super) fn new(steps: Vec<TraceStep>, dropped: u64) -> Trace {
        Trace { steps: steps.into(), dropped }
    }

    pub(super) fn push(&mut self, mut step: TraceStep, steps_max: u64) {
        step.text.truncate(step.text.floor_char_boundary(TEXT_BYTES));
        self.steps.push_back(step);
        while self.steps.len() as u64 > steps_max {
            self.steps.pop_front();
            self.dropped += 1;
        }
    }

    /// The oldest first.
    pub fn steps(&self) -> impl Iterator<Item = &TraceStep> {
        self.steps.iter()
    }

    /// Steps that were older than these and are forgotten.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}
