//! The best few of many candidates.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use headwater_vectors::RecordId;

/// A record that a search may return; the lesser, the better: higher scores first, then by id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) score: f32,
    pub(crate) id: RecordId,
    pub(crate) slot: u32,
}

impl Ord for Found {
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then_with(|| self.id.cmp(&other.id))
    }
}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Found {}

/// Keeps the best `limit` of all that it is offered.
#[derive(Debug)]
pub(crate) struct Best {
    limit: usize,
    found: BinaryHeap<Found>,
}

impl Best {
    pub(crate) fn new(limit: usize) -> Self {
        Best { limit, found: BinaryHeap::new() }
    }

    /// Whether a candidate would be kept, so that its filter is worth asking.
    pub(crate) fn would_keep(&self, candidate: &Found) -> bool {
        self.found.len() < self.limit || self.found.peek().is_some_and(|worst| candidate < worst)
    }

    pub(crate) fn keep(&mut self, candidate: Found) {
        if self.found.len() >= self.limit {
            self.found.pop();
        }
        self.found.push(candidate);
    }

    pub(crate) fn into_sorted(self) -> Vec<Found> {
        self.found.into_sorted_vec()
    }
}
