//! Which records were appended lately, so that a repetition is passed over.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Records in the lake whose ids are remembered.
const REMEMBERED: usize = 100_000;

/// 128 bits of each id: of all that waits, and of what went into the lake last.
#[derive(Default)]
pub(super) struct Ids {
    known: HashSet<u128>,
    aged: VecDeque<u128>,
}

fn short(id: &str) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, id).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(1) << 64 | half(2)
}

impl Ids {
    pub(super) fn holds(&self, id: &str) -> bool {
        self.known.contains(&short(id))
    }

    pub(super) fn add(&mut self, id: &str) {
        self.known.insert(short(id));
    }

    /// These are in the lake now; the oldest of all that are there may be forgotten.
    pub(super) fn age<'a>(&mut self, ids: impl Iterator<Item = &'a str>) {
        self.aged.extend(ids.map(short));
        while self.aged.len() > REMEMBERED {
            if let Some(oldest) = self.aged.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }
}
