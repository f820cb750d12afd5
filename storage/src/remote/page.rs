//! The pages in which a range crosses the wire.

use super::PAYLOAD_BYTES;
use super::wire::{Answer, cost};
use crate::{KeyRange, Pair};

/// A range that is being read, in one direction.
#[derive(Debug)]
pub(super) struct Pages {
    left: KeyRange,
    limit: usize,
    reverse: bool,
}

impl Pages {
    pub(super) fn new(range: KeyRange, limit: usize, reverse: bool) -> Self {
        Pages { left: range, limit, reverse }
    }

    /// What is still to be read.
    pub(super) fn left(&self) -> &KeyRange {
        &self.left
    }

    /// How many pairs are still to be read.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Whether there is anything to be read.
    pub(super) fn is_done(&self) -> bool {
        self.limit == 0 || self.left.is_empty()
    }

    /// Goes on behind the key; false when it is no next one, so that a reader who gives up
    /// then always ends.
    pub(super) fn pass(&mut self, key: &[u8]) -> bool {
        if self.limit == 0 || !self.left.contains(key) {
            return false;
        }
        self.limit -= 1;
        if self.reverse {
            self.left.end = key.to_vec();
        } else {
            self.left.begin = KeyRange::of_key(key).end;
        }
        true
    }
}

/// A page that is being filled.
#[derive(Debug, Default)]
pub(super) struct Page {
    pairs: Vec<Pair>,
    bytes: usize,
}

impl Page {
    /// Takes the pair, or gives it back when the page is full.
    pub(super) fn push(&mut self, pair: Pair) -> Result<(), Pair> {
        let bytes = self.bytes + cost(pair.0.len() + pair.1.len());
        if bytes > PAYLOAD_BYTES && !self.pairs.is_empty() {
            return Err(pair);
        }
        self.bytes = bytes;
        self.pairs.push(pair);
        Ok(())
    }

    pub(super) fn answer(self, more: bool) -> Answer {
        Answer::Pairs { pairs: self.pairs, more }
    }
}
