//! Which keys were written lately, and at which version.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::KeyRange;

/// The last version at which each key was written, kept as a map from the begin of an
/// interval of keys to the version of the interval; an interval ends where the next begins.
#[derive(Debug, Clone)]
pub struct Resolver {
    intervals: BTreeMap<Vec<u8>, u64>,
    /// Versions up to this one are no longer told apart.
    oldest: u64,
}

impl Resolver {
    /// A resolver that knows of no write after `version`.
    pub fn new(version: u64) -> Self {
        Resolver { intervals: BTreeMap::from([(Vec::new(), version)]), oldest: version }
    }

    /// The oldest version whose readers can still be judged.
    pub fn oldest(&self) -> u64 {
        self.oldest
    }

    /// How many intervals are kept.
    pub fn len(&self) -> usize {
        self.intervals.len()
    }

    /// Never true: the whole key space is always covered.
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// Notes that the range was written at `version`, which is above all versions so far.
    pub fn record(&mut self, range: &KeyRange, version: u64) {
        if range.is_empty() {
            return;
        }
        let behind = self.version_at(&range.end);
        let inner = (Bound::Included(range.begin.clone()), Bound::Excluded(range.end.clone()));
        let covered: Vec<Vec<u8>> =
            self.intervals.range(inner).map(|(begin, _)| begin.clone()).collect();
        for begin in covered {
            self.intervals.remove(&begin);
        }
        self.intervals.insert(range.begin.clone(), version);
        self.intervals.entry(range.end.clone()).or_insert(behind);
    }

    /// Whether any key of the range was written after `version`.
    pub fn written_after(&self, range: &KeyRange, version: u64) -> bool {
        if range.is_empty() {
            return false;
        }
        let inner =
            (Bound::Excluded(range.begin.as_slice()), Bound::Excluded(range.end.as_slice()));
        self.version_at(&range.begin) > version
            || self.intervals.range::<[u8], _>(inner).any(|(_, written)| *written > version)
    }

    /// Forgets versions up to `oldest`: neighbours that are both that old become one.
    pub fn forget(&mut self, oldest: u64) {
        self.oldest = self.oldest.max(oldest);
        let oldest = self.oldest;
        let mut before_is_old = false;
        self.intervals.retain(|_, version| {
            let is_old = *version <= oldest;
            let merged = is_old && before_is_old;
            before_is_old = is_old;
            !merged
        });
    }

    fn version_at(&self, key: &[u8]) -> u64 {
        let upto = (Bound::Unbounded, Bound::Included(key));
        self.intervals.range::<[u8], _>(upto).next_back().map_or(self.oldest, |(_, found)| *found)
    }
}
