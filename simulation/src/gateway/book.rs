//! What backends produced, by their own count; and what clients saw of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::world::World;

/// How a backend's answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It is under way.
    No,
    Whole,
    Cut,
    /// Whoever listened went away.
    Dropped,
}

/// One call of a backend that began to answer.
#[derive(Debug, Clone)]
pub(super) struct Produced {
    pub(super) request: String,
    pub(super) input: u64,
    /// Words so far.
    pub(super) output: u64,
    pub(super) ended: Ended,
    pub(super) ended_ms: u64,
}

/// How a request ended at its client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    Whole(u64),
    Cut(u64),
    /// After so many words, at this time.
    Left {
        words: u64,
        at_ms: u64,
    },
    Refused,
    /// What another request had heard.
    Kept,
}

/// See the module; cheap to clone.
#[derive(Clone)]
pub(super) struct Book {
    world: World,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    calls: Vec<Produced>,
    heard: BTreeMap<String, Heard>,
}

impl Book {
    pub(super) fn new(world: &World) -> Book {
        Book { world: world.clone(), state: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A backend begins to answer; its place in the book.
    pub(super) fn begin(&self, request: &str, input: u64) -> usize {
        let mut state = self.lock();
        let request = request.to_owned();
        let produced = Produced { request, input, output: 0, ended: Ended::No, ended_ms: 0 };
        state.calls.push(produced);
        state.calls.len() - 1
    }

    pub(super) fn word(&self, call: usize) {
        if let Some(produced) = self.lock().calls.get_mut(call) {
            produced.output += 1;
        }
    }

    pub(super) fn end(&self, call: usize, ended: Ended) {
        let now_ms = self.world.now_ms();
        if let Some(produced) = self.lock().calls.get_mut(call)
            && produced.ended == Ended::No
        {
            (produced.ended, produced.ended_ms) = (ended, now_ms);
        }
    }

    pub(super) fn hear(&self, request: &str, heard: Heard) {
        self.world.note(format_args!("{request}: {heard:?}"));
        self.lock().heard.insert(request.to_owned(), heard);
    }

    pub(super) fn calls(&self) -> Vec<Produced> {
        self.lock().calls.clone()
    }

    pub(super) fn heard(&self) -> BTreeMap<String, Heard> {
        self.lock().heard.clone()
    }
}
