//! What searches leave behind: chunks to embed on read, and hits whose chunks are gone. Bounded,
//! best effort, off the path of any request.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::handle::Collections;
use super::nouns::{ChunkId, Target};

/// Most chunks that wait; beyond, searches leave nothing.
const WAITING: usize = 2_048;

/// What to do with the chunks of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Chore {
    /// Embed what is missing.
    Embed,
    /// Look whether they are still there, and remove their vectors everywhere if not.
    Mend,
}

#[derive(Default)]
struct State {
    waiting: BTreeMap<(u128, u64, Chore), (Target, BTreeSet<ChunkId>)>,
    chunks: usize,
    running: bool,
}

/// The chunks that wait.
#[derive(Default)]
pub(super) struct Background {
    state: Mutex<State>,
}

impl Background {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<(Chore, Target, BTreeSet<ChunkId>)> {
        let mut state = self.lock();
        let Some(((_, _, chore), (target, chunks))) = state.waiting.pop_first() else {
            state.running = false;
            return None;
        };
        state.chunks -= chunks.len();
        Some((chore, target, chunks))
    }
}

/// Clears the mark that a worker runs, also where its task is dropped.
struct Running(Collections);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.background().lock().running = false;
    }
}

impl Collections {
    /// Has this done some time soon.
    pub(super) fn leave(&self, chore: Chore, target: &Target, chunks: Vec<ChunkId>) {
        if chunks.is_empty() {
            return;
        }
        let starts = {
            let mut state = self.background().lock();
            let state = &mut *state;
            let room = WAITING.saturating_sub(state.chunks);
            if room < chunks.len() {
                self.metrics().lazy_dropped(chunks.len() - room);
            }
            let key = (target.id.0, target.generation, chore);
            let (_, waiting) =
                state.waiting.entry(key).or_insert_with(|| (target.clone(), BTreeSet::new()));
            let before = waiting.len();
            waiting.extend(chunks.into_iter().take(room));
            let added = waiting.len() - before;
            state.chunks += added;
            !std::mem::replace(&mut state.running, true)
        };
        if starts {
            let running = Running(self.clone());
            self.runtime().spawn(async move { running.0.work_off().await });
        }
    }

    async fn work_off(&self) {
        while let Some((chore, target, chunks)) = self.background().take() {
            let chunks: Vec<ChunkId> = chunks.into_iter().collect();
            // Whatever fails is found again by the next search or by the job over all chunks.
            let _ = match chore {
                Chore::Embed => self.embed_missing(&target, &chunks).await.map(|_| ()),
                Chore::Mend => self.mend_found(&target, &chunks).await,
            };
        }
    }
}
