//! Who writes next: a bounded number of places to wait, and the threads that take from them.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use headwater_models::chat::ChatError;

use super::answer::Job;

pub(super) struct Queue {
    sequences: usize,
    places: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    writing: usize,
    closed: bool,
}

impl Queue {
    pub(super) fn new(sequences: usize, places: usize) -> Self {
        Queue { sequences, places, state: Mutex::default(), changed: Condvar::new() }
    }

    /// # Errors
    /// [`ChatError::Limited`] when all sequences write and all places are taken.
    pub(super) fn push(&self, job: Job) -> Result<(), ChatError> {
        let mut state = self.lock();
        // Those that nobody waits for take no place.
        state.waiting.retain(|job| !job.is_dropped());
        if state.writing + state.waiting.len() >= self.sequences.saturating_add(self.places) {
            let message = format!(
                "it writes {} answers and {} wait, which is the most; try again later",
                self.sequences, self.places
            );
            return Err(ChatError::Limited { retry_after_ms: None, message });
        }
        state.waiting.push_back(job);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for the next request; none when there will be no more. Whoever takes one says
    /// [`Queue::done`] after it.
    pub(super) fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            match state.waiting.pop_front() {
                Some(job) if job.is_dropped() => {}
                Some(job) => {
                    state.writing += 1;
                    return Some(job);
                }
                None if state.closed => return None,
                None => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    pub(super) fn done(&self) {
        self.lock().writing -= 1;
    }

    /// No more requests come; those that wait are still answered.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
