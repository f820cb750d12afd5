//! Who goes first on hardware that both pools share: queries. Ingest waits between the steps of
//! a batch while a query is inside the node, whichever model it is for.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use headwater_models::Pace;

use super::metrics::Seconds;

/// After a pause of full length ingest runs for this part of it, in percent, though queries are
/// inside: most of their time they wait for something else than a core, and threads of the lowest
/// priority get only cores that nobody else wants.
const SLICE_PERCENT: u64 = 50;

/// The count of queries inside a node; cheap to clone.
#[derive(Clone)]
pub(super) struct Precedence(Arc<Shared>);

struct Shared {
    /// Queries that are read, wait or run.
    inside: AtomicUsize,
    /// Threads that wait for `inside` to be 0.
    waiting: AtomicUsize,
    lock: Mutex<()>,
    left: Condvar,
    /// A step of ingest waits no longer than this, so that it ends though queries never cease.
    longest_pause: Duration,
    began: Instant,
    /// Until when ingest runs beside queries after such a pause, in µs since `began`. Steps may
    /// be far shorter than a millisecond: one a pause would be next to nothing.
    slice_ends_us: AtomicU64,
    paused_seconds: Seconds,
}

impl Precedence {
    pub(super) fn new(longest_pause: Duration, paused_seconds: Seconds) -> Self {
        Precedence(Arc::new(Shared {
            inside: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            lock: Mutex::new(()),
            left: Condvar::new(),
            longest_pause,
            began: Instant::now(),
            slice_ends_us: AtomicU64::new(0),
            paused_seconds,
        }))
    }

    /// A query comes in; it is inside until the answer is dropped.
    pub(super) fn enter(&self) -> QueryInside {
        self.0.inside.fetch_add(1, Ordering::SeqCst);
        QueryInside(Arc::clone(&self.0))
    }

    /// For the encoders of ingest.
    pub(super) fn pace(&self) -> Pace {
        let shared = Arc::clone(&self.0);
        Arc::new(move || shared.wait())
    }
}

impl Shared {
    fn now_us(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    /// Returns when no query is inside, or after the longest pause.
    fn wait(&self) {
        if self.inside.load(Ordering::SeqCst) == 0 {
            return;
        }
        let started = Instant::now();
        if self.now_us() < self.slice_ends_us.load(Ordering::Relaxed) {
            return;
        }
        // Told before the count is looked at again, so that the last query that leaves either
        // sees the waiting thread or was seen by it.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = |_: &mut ()| self.inside.load(Ordering::SeqCst) > 0;
        let waited = self.left.wait_timeout_while(held, self.longest_pause, busy);
        if waited.is_ok_and(|(_, waited)| waited.timed_out()) {
            let slice_us = self.longest_pause.as_micros() as u64 * SLICE_PERCENT / 100;
            self.slice_ends_us.store(self.now_us() + slice_us, Ordering::Relaxed);
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        self.paused_seconds.inc_by(started.elapsed().as_secs_f64());
    }
}

/// A query that is inside.
pub(super) struct QueryInside(Arc<Shared>);

impl Drop for QueryInside {
    fn drop(&mut self) {
        let was_last = self.0.inside.fetch_sub(1, Ordering::SeqCst) == 1;
        if was_last && self.0.waiting.load(Ordering::SeqCst) > 0 {
            // A thread between its look at the count and its sleep holds this lock.
            drop(self.0.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.0.left.notify_all();
        }
    }
}

#[cfg(test)]
mod tests;
