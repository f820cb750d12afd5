//! Watches the collection's record in every commit: whenever another version comes to serve, all
//! that was acknowledged must be in it at that very moment.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use headwater_actors::collection::{ChunkId, Collection, Role, Version, collection_of_row};
use headwater_storage::tuple::{self, Element};
use headwater_vectors::memory::MemorySink;
use headwater_vectors::{RecordId, Sink};

use super::board::Board;
use super::{NAME, TENANT, completeness};
use crate::shared_store::{Commit, SharedStore};
use crate::world::World;

/// See the module; cheap to clone.
#[derive(Clone)]
pub(crate) struct Truth {
    world: World,
    memory: MemorySink,
    board: Board,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    last: Option<Collection>,
    store: Option<SharedStore>,
    checked: bool,
}

/// The output of a future that never waits.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

impl Truth {
    pub(crate) fn new(world: &World, memory: &MemorySink, board: &Board) -> Truth {
        let (world, memory, board) = (world.clone(), memory.clone(), board.clone());
        Truth { world, memory, board, state: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store whose rows say which chunks are being mended.
    pub(crate) fn looks_at(&self, store: &SharedStore) {
        self.lock().store = Some(store.clone());
    }

    pub(crate) fn set_checked(&self) {
        let mut state = self.lock();
        state.checked = true;
        // The store shows its commits to this very truth; let go of each other.
        let store = state.store.take();
        drop(state);
        drop(store);
    }

    pub(crate) fn is_checked(&self) -> bool {
        self.lock().checked
    }

    /// Called with every commit.
    pub(crate) fn see(&self, commit: &Commit<'_>) {
        let key = tuple::pack(&["collection".into(), "record".into(), TENANT.into(), NAME.into()]);
        let Some(Some(row)) = commit.writes.get(&key) else { return };
        let Ok(now) = collection_of_row(TENANT, NAME, row) else {
            self.world.violated("every_row_can_be_read", "the collection's record");
            return;
        };
        let Some(before) = self.lock().last.replace(now.clone()) else { return };
        if now.versions.epoch != before.versions.epoch {
            let live = now.versions.live();
            let told: Vec<String> =
                live.map(|(role, live)| format!("{} {}", role.name(), live.generation)).collect();
            self.world.note(told.join(", "));
        }
        let serving = &now.versions.serving;
        if serving.generation == before.versions.serving.generation {
            return;
        }
        let (role, _) = before
            .versions
            .live()
            .find(|(_, version)| version.generation == serving.generation)
            .unwrap_or((Role::Building, serving));
        if role == Role::Building {
            self.world.count("build switched");
        }
        self.is_complete(&now, serving, completeness(role));
    }

    /// All that was acknowledged has a vector of this version, unless it is being mended.
    pub(crate) fn is_complete(
        &self,
        collection: &Collection,
        version: &Version,
        invariant: &'static str,
    ) {
        let chunks: Vec<ChunkId> = self.board.acknowledged().into_iter().collect();
        let ids: Vec<RecordId> = chunks.iter().map(|chunk| (*chunk).into()).collect();
        let space = collection.space(version).name;
        let records = at_once(self.memory.get(&space, &ids));
        let Some(Ok(records)) = records else {
            if !ids.is_empty() {
                let seen = format!("version {} has no space", version.generation);
                self.world.violated(invariant, seen);
            }
            return;
        };
        for (chunk, record) in chunks.iter().zip(records) {
            if record.is_none() && !self.is_mended(collection, *chunk) {
                let (generation, id) = (version.generation, chunk.hex());
                let seen = format!("version {generation} lacks chunk {id}");
                self.world.violated(invariant, seen);
            }
        }
    }

    fn is_mended(&self, collection: &Collection, chunk: ChunkId) -> bool {
        let uid = Element::Bytes(collection.id.0.to_be_bytes().to_vec());
        let id = Element::Bytes(chunk.0.to_vec());
        let key = tuple::pack(&["collection".into(), "data".into(), uid, "mend".into(), id]);
        let store = self.lock().store.clone();
        store.is_some_and(|store| store.value(&key).is_some())
    }
}
