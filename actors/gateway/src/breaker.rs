//! A circuit breaker: a target that fails again and again is left alone for a while, then asked
//! with one request (M. Nygard, "Release It!").

/// When a breaker opens and closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// So many failures in a row open it.
    pub failures: u32,
    /// So does this share of failures, in percent, among at least `requests` in `window_ms`.
    pub failure_percent: u32,
    pub requests: u32,
    pub window_ms: u64,
    /// How long it stays open at first; twice as long each time that the trial fails, up to
    /// `longest_open_ms`.
    pub open_ms: u64,
    pub longest_open_ms: u64,
    /// How long the one request of a trial may take before another is let through.
    pub trial_ms: u64,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        BreakerSettings {
            failures: 5,
            failure_percent: 50,
            requests: 20,
            window_ms: 10_000,
            open_ms: 1_000,
            longest_open_ms: 60_000,
            trial_ms: 30_000,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    /// Nothing passes before `until_ms`.
    Open {
        until_ms: u64,
    },
    /// One request is under way to see whether it is well again.
    Trial {
        since_ms: u64,
    },
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Breaker {
    settings: BreakerSettings,
    state: State,
    in_a_row: u32,
    window_start_ms: u64,
    succeeded: u32,
    failed: u32,
    /// Times that it has opened since it was last well.
    opened: u32,
}

impl Breaker {
    pub fn new(settings: BreakerSettings) -> Breaker {
        Breaker {
            settings,
            state: State::Closed,
            in_a_row: 0,
            window_start_ms: 0,
            succeeded: 0,
            failed: 0,
            opened: 0,
        }
    }

    /// How long until a request may pass, in ms; 0 when one may now.
    pub fn wait_ms(&self, now_ms: u64) -> u64 {
        match self.state {
            State::Closed => 0,
            State::Open { until_ms } => until_ms.saturating_sub(now_ms),
            State::Trial { since_ms } => (since_ms + self.settings.trial_ms).saturating_sub(now_ms),
        }
    }

    /// Whether requests pass freely.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Lets a request pass, or not. One that passes must be reported, or given back.
    pub fn admit(&mut self, now_ms: u64) -> bool {
        if self.wait_ms(now_ms) > 0 {
            return false;
        }
        if self.state != State::Closed {
            self.state = State::Trial { since_ms: now_ms };
        }
        true
    }

    /// A request that passed came to nothing that says how the target is: its client left, or
    /// the request itself was at fault.
    pub fn give_back(&mut self, now_ms: u64) {
        if let State::Trial { .. } = self.state {
            self.state = State::Open { until_ms: now_ms };
        }
    }

    /// How a request that passed ended.
    pub fn report(&mut self, now_ms: u64, succeeded: bool) {
        if now_ms.saturating_sub(self.window_start_ms) >= self.settings.window_ms {
            (self.window_start_ms, self.succeeded, self.failed) = (now_ms, 0, 0);
        }
        if succeeded {
            self.in_a_row = 0;
            self.succeeded += 1;
            if let State::Trial { .. } = self.state {
                (self.state, self.opened, self.failed) = (State::Closed, 0, 0);
            }
            return;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.failed += 1;
        match self.state {
            State::Trial { .. } => self.open(now_ms),
            State::Closed if self.is_too_bad() => self.open(now_ms),
            State::Closed | State::Open { .. } => {}
        }
    }

    fn is_too_bad(&self) -> bool {
        let BreakerSettings { failures, failure_percent, requests, .. } = self.settings;
        let seen = self.succeeded + self.failed;
        let share = u64::from(self.failed) * 100 >= u64::from(seen) * u64::from(failure_percent);
        self.in_a_row >= failures || (seen >= requests && share)
    }

    fn open(&mut self, now_ms: u64) {
        let BreakerSettings { open_ms, longest_open_ms, .. } = self.settings;
        let times = 1u64.checked_shl(self.opened).unwrap_or(u64::MAX);
        let lasts_ms = open_ms.saturating_mul(times).min(longest_open_ms);
        self.state = State::Open { until_ms: now_ms + lasts_ms };
        self.opened = self.opened.saturating_add(1);
        (self.succeeded, self.failed) = (0, 0);
    }
}
