//! What becomes of a task whose attempt failed.

/// How often a document is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptSettings {
    /// Attempts before the document becomes a dead letter, at least 1.
    pub attempts: u32,
    /// Pause after the first failed attempt, in ms; it doubles with each further one.
    pub first_pause_ms: u64,
    /// Longest pause, in ms.
    pub longest_pause_ms: u64,
}

impl Default for AttemptSettings {
    fn default() -> Self {
        AttemptSettings { attempts: 8, first_pause_ms: 1_000, longest_pause_ms: 60_000 }
    }
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Again { after_ms: u64 },
    DeadLetter,
}

/// `attempt` counts from 1; `permanent` says that another attempt would fail the same way;
/// `asked_ms` is the pause that the failing service asked for. `draw` spreads the pauses of
/// tasks that failed together.
pub fn after_failure(
    attempt: u32,
    permanent: bool,
    asked_ms: u64,
    settings: &AttemptSettings,
    draw: u64,
) -> Verdict {
    if permanent || attempt >= settings.attempts {
        return Verdict::DeadLetter;
    }
    let doublings = attempt.saturating_sub(1).min(20);
    let bound = settings.first_pause_ms.saturating_mul(1 << doublings);
    let bound = bound.clamp(1, settings.longest_pause_ms.max(1));
    Verdict::Again { after_ms: (bound - draw % (bound / 2 + 1)).max(asked_ms) }
}
