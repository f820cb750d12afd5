//! The tries of one request: which target next, after which pause, and when to give up.

/// How often and how long a request is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySettings {
    /// No target is asked again later than this after the first try, in ms. One that has not been
    /// asked is asked once, whenever the others have failed.
    pub budget_ms: u64,
    /// Most tries.
    pub tries: u32,
    /// Longest pause before the second try at a target, in ms; twice as long each time.
    pub first_pause_ms: u64,
    pub longest_pause_ms: u64,
}

impl Default for RetrySettings {
    fn default() -> Self {
        RetrySettings { budget_ms: 5_000, tries: 8, first_pause_ms: 100, longest_pause_ms: 2_000 }
    }
}

/// Why a try failed before anything of the answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The request is at fault; no other target is asked.
    Refused,
    /// The target cannot serve anybody: it is not asked again.
    Misconfigured,
    /// It takes no more now, and perhaps says for how long.
    Limited { retry_after_ms: Option<u64> },
    /// It failed, was silent, or its breaker is open.
    Broken,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Try this target, by its place in the order, after a pause.
    Try {
        target: usize,
        after_ms: u64,
    },
    GiveUp,
}

#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    tries: u32,
    not_before_ms: u64,
    is_out: bool,
}

/// See the module. Targets are told by their place in the order of preference.
#[derive(Debug, Clone)]
pub struct Attempts {
    settings: RetrySettings,
    began_ms: u64,
    targets: Vec<Standing>,
    tries: u32,
}

impl Attempts {
    /// The tries of a request that may go to so many targets.
    pub fn new(settings: RetrySettings, targets: usize, now_ms: u64) -> Attempts {
        let targets = vec![Standing::default(); targets];
        Attempts { settings, began_ms: now_ms, targets, tries: 0 }
    }

    /// The first try.
    pub fn first(&self) -> Step {
        match self.targets.is_empty() {
            true => Step::GiveUp,
            false => Step::Try { target: 0, after_ms: 0 },
        }
    }

    /// A target is left alone for so long and was not asked. Another one is; when all have been
    /// asked or are left alone, the one that may be asked soonest.
    pub fn skipped(&mut self, target: usize, wait_ms: u64, now_ms: u64) -> Step {
        let Some(standing) = self.targets.get_mut(target) else { return Step::GiveUp };
        standing.tries += 1;
        standing.not_before_ms = now_ms + wait_ms.max(1);
        self.next(now_ms)
    }

    /// Tries so far that failed.
    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// A try failed. Another target is asked at once; when all have been asked, the one that may
    /// be asked soonest, after a pause with full jitter (M. Brooker, "Exponential backoff and
    /// jitter"), or after the time that it said itself.
    pub fn failed(&mut self, target: usize, failure: Failure, now_ms: u64, draw: u64) -> Step {
        self.tries += 1;
        let RetrySettings { tries, first_pause_ms, longest_pause_ms, .. } = self.settings;
        let Some(standing) = self.targets.get_mut(target) else { return Step::GiveUp };
        standing.tries += 1;
        let times = 1u64.checked_shl(standing.tries - 1).unwrap_or(u64::MAX);
        let pause_ms = first_pause_ms.saturating_mul(times).min(longest_pause_ms);
        let pause_ms = draw % (pause_ms + 1);
        match failure {
            Failure::Refused => return Step::GiveUp,
            Failure::Misconfigured => standing.is_out = true,
            Failure::Limited { retry_after_ms } => {
                standing.not_before_ms = now_ms + retry_after_ms.unwrap_or(0).max(pause_ms);
            }
            Failure::Broken => standing.not_before_ms = now_ms + pause_ms,
        }
        if self.tries >= tries {
            return Step::GiveUp;
        }
        self.next(now_ms)
    }

    fn next(&self, now_ms: u64) -> Step {
        let asked = |place: &usize| self.targets.get(*place).is_some_and(|one| one.tries > 0);
        let open = || (0..self.targets.len()).filter(|place| !self.targets[*place].is_out);
        if let Some(fresh) = open().find(|place| !asked(place)) {
            return Step::Try { target: fresh, after_ms: 0 };
        }
        let soonest = open().min_by_key(|place| self.targets[*place].not_before_ms.max(now_ms));
        match soonest {
            Some(place) => {
                let at_ms = self.targets[place].not_before_ms.max(now_ms);
                match at_ms <= self.began_ms + self.settings.budget_ms {
                    true => Step::Try { target: place, after_ms: at_ms - now_ms },
                    false => Step::GiveUp,
                }
            }
            None => Step::GiveUp,
        }
    }
}
