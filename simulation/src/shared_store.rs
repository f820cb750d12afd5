//! One store that several nodes share: it stumbles by lot, goes down, answers late, and shows
//! every commit to a witness.

mod door;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_storage::memory::MemoryStore;

use crate::world::World;

pub(crate) use door::{Door, DoorStore};

/// What goes wrong in one step of one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mishap {
    Conflict,
    TooOld,
    UnknownCommitted,
    UnknownLost,
    /// The caller hears that the result is unknown, and the commit happens later.
    UnknownLate,
    /// The step begins late.
    Slow,
    /// The commit happens and its answer takes long.
    AnswerLate,
    Unavailable,
}

const MISHAPS: [Mishap; 8] = [
    Mishap::Conflict,
    Mishap::TooOld,
    Mishap::UnknownCommitted,
    Mishap::UnknownLost,
    Mishap::UnknownLate,
    Mishap::Slow,
    Mishap::AnswerLate,
    Mishap::Unavailable,
];

impl Mishap {
    /// What the run's counts call it.
    fn name(self) -> &'static str {
        match self {
            Mishap::Conflict => "store conflict",
            Mishap::TooOld => "store too old",
            Mishap::UnknownCommitted => "commit unknown, done",
            Mishap::UnknownLost => "commit unknown, lost",
            Mishap::UnknownLate => "commit unknown, late",
            Mishap::Slow => "store slow",
            Mishap::AnswerLate => "store answer late",
            Mishap::Unavailable => "store down",
        }
    }
}

/// One commit, as a witness sees it at its instant.
pub(crate) struct Commit<'a> {
    /// Who committed: the number that its door was given.
    pub(crate) by: u64,
    /// Keys that were read one by one, and whether they had a value.
    pub(crate) reads: &'a BTreeMap<Vec<u8>, bool>,
    /// Keys that ranges found.
    pub(crate) ranged: &'a BTreeSet<Vec<u8>>,
    /// Keys that were set, and keys that were cleared.
    pub(crate) writes: &'a BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

/// Sees every commit, those without writes included, and must not touch the store.
pub(crate) type Witness = Arc<dyn Fn(&Commit<'_>) + Send + Sync>;

/// The store; cheap to clone.
#[derive(Clone)]
pub(crate) struct SharedStore {
    world: World,
    memory: MemoryStore,
    witness: Witness,
    state: Arc<Mutex<State>>,
}

struct State {
    /// How often what goes wrong where it can, in thousandths.
    shares: BTreeMap<Mishap, u64>,
    down: bool,
    /// Every step may be slow.
    slow: bool,
    longest_slow_ms: u64,
}

/// In a slow episode every so many steps are slow, in thousandths.
const SLOW_EPISODE: u64 = 200;

impl SharedStore {
    /// A store with a random subset of mishaps, each at most in so many thousandths of its steps.
    pub(crate) fn draw(world: &World, most: u64, longest_slow_ms: u64, witness: Witness) -> Self {
        let chosen: Vec<Mishap> = MISHAPS.into_iter().filter(|_| world.percent(50)).collect();
        let shares = chosen.into_iter().map(|mishap| (mishap, world.between(1, most))).collect();
        let state = State { shares, down: false, slow: false, longest_slow_ms };
        SharedStore {
            world: world.clone(),
            memory: MemoryStore::new(world.environment()),
            witness,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// A way into the store for one process, whose number the witness is shown.
    pub(crate) fn door(&self, by: u64) -> Arc<Door> {
        Arc::new(Door::new(self.clone(), by))
    }

    /// What a key holds now, without any trouble.
    pub(crate) fn value(&self, key: &[u8]) -> Option<Vec<u8>> {
        let pairs = self.memory.contents().into_iter();
        pairs.filter(|(known, _)| known == key).map(|(_, value)| value).next()
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    pub(crate) fn set_slow(&self, slow: bool) {
        self.lock().slow = slow;
    }

    /// From here on nothing goes wrong any more.
    pub(crate) fn heal(&self) {
        let mut state = self.lock();
        (state.down, state.slow) = (false, false);
        state.shares.clear();
    }

    pub(crate) fn describe(&self) -> String {
        let state = self.lock();
        let mishaps: Vec<String> = state
            .shares
            .iter()
            .map(|(mishap, share)| format!("{} {share} ‰", mishap.name()))
            .collect();
        mishaps.join(", ")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_down(&self) -> bool {
        self.lock().down
    }

    fn strikes(&self, mishap: Mishap) -> bool {
        let share = {
            let state = self.lock();
            let episode = if state.slow && mishap == Mishap::Slow { SLOW_EPISODE } else { 0 };
            state.shares.get(&mishap).copied().unwrap_or(0).max(episode)
        };
        let strikes = share > 0 && self.world.draw() % 1000 < share;
        if strikes {
            self.world.count(mishap.name());
        }
        strikes
    }

    fn slow_ms(&self) -> u64 {
        let longest_ms = self.lock().longest_slow_ms;
        self.world.between(20, longest_ms.max(20))
    }
}
