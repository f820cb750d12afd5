//! When slots may be started again after starts that failed.

use super::PoolSettings;

#[derive(Debug, Clone, Default)]
pub(super) struct Backoff {
    /// Since a slot last proved good.
    failures: u32,
    until_ms: u64,
}

impl Backoff {
    pub(super) fn fail(&mut self, settings: &PoolSettings, now_ms: u64) {
        let times = 1u64.checked_shl(self.failures).unwrap_or(u64::MAX);
        let wait_ms = settings.backoff_base_ms.saturating_mul(times).min(settings.backoff_max_ms);
        self.until_ms = now_ms.saturating_add(wait_ms);
        self.failures = self.failures.saturating_add(1);
    }

    /// A slot has run a call to its end.
    pub(super) fn succeed(&mut self) {
        (self.failures, self.until_ms) = (0, 0);
    }

    /// The time before which nothing is started.
    pub(super) fn until_ms(&self) -> Option<u64> {
        (self.failures > 0).then_some(self.until_ms)
    }

    /// How many slots may be started beside those that start already. After a failure one at a
    /// time: it shows whether the others would do.
    pub(super) fn may_start(&self, now_ms: u64, starting: u32, starts_max: u32) -> u32 {
        if now_ms < self.until_ms {
            return 0;
        }
        let most = if self.failures > 0 { 1 } else { starts_max };
        most.saturating_sub(starting)
    }
}
