//! Jobs of which this node begins nothing for a while: their tenant's quota is used up, or their
//! model went.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::nouns::JobKey;

/// What one worker of a node meets, all of them heed: otherwise each would begin documents whose
/// old chunks go before the new vectors can be paid for.
#[derive(Debug, Default)]
pub(super) struct Rests {
    /// Until when, in ms of the monotonic clock.
    jobs: Mutex<BTreeMap<JobKey, u64>>,
}

impl Rests {
    /// Lets a job rest for so long from now; never shorter than before.
    pub(super) fn rest(&self, job: &JobKey, now_ms: u64, for_ms: u64) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.retain(|_, until_ms| *until_ms > now_ms);
        let until_ms = jobs.entry(job.clone()).or_default();
        *until_ms = now_ms.saturating_add(for_ms).max(*until_ms);
    }

    /// For how long nothing of the job begins, in ms; 0 when it does not rest.
    pub(super) fn left_ms(&self, job: &JobKey, now_ms: u64) -> u64 {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.get(job).map_or(0, |until_ms| until_ms.saturating_sub(now_ms))
    }
}
