//! The waiting items, and the choice of those that share the next batch.
//!
//! The item that came first leads a batch, so nothing starves. It takes along the items
//! closest to it in length, as far as the token budget reaches, so that little of a batch
//! is padding.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use crate::{BatchSettings, ItemId};

/// One waiting text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    pub id: ItemId,
    /// Length in tokens, special tokens counted; at least 1.
    pub tokens: usize,
    /// When its request came, in ms.
    pub arrived_ms: u64,
    /// Its place in line: `arrived_ms` plus what the request brought before it.
    pub order_ms: u64,
    /// How many replicas were lost under it.
    pub losses: u32,
    /// A batch with it came to nothing, so it shares none with other requests any more.
    pub suspect: bool,
}

/// Items by place in line and by length.
#[derive(Debug, Default)]
pub struct Queue {
    by_order: BTreeMap<(u64, ItemId), Item>,
    by_length: BTreeSet<(usize, u64, ItemId)>,
    /// The place in line of every item, so that a request that leaves is found in a long
    /// queue.
    by_request: BTreeMap<ItemId, u64>,
    /// Items whose batch came to nothing. They run apart from other requests, so that one
    /// poisonous text does not take its neighbours down with it.
    suspects: BTreeMap<(u64, ItemId), Item>,
    /// How many items came at each time.
    arrivals: BTreeMap<u64, usize>,
    tokens: usize,
}

impl Queue {
    pub fn is_empty(&self) -> bool {
        self.by_order.is_empty() && self.suspects.is_empty()
    }

    /// Number of waiting items.
    pub fn len(&self) -> usize {
        self.by_order.len() + self.suspects.len()
    }

    /// Sum of the waiting items' tokens.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// When the item came that has waited longest of all, in ms. It need not be the next one.
    pub fn oldest_arrival_ms(&self) -> Option<u64> {
        self.arrivals.first_key_value().map(|(arrived_ms, _)| *arrived_ms)
    }

    /// When the item that leads the next batch came, in ms.
    pub fn oldest_ms(&self) -> Option<u64> {
        // The first in line need not be the oldest by arrival: the tail of a long request
        // stands behind what came after it. It waits for its turn, not for a fuller batch.
        let first = |items: &BTreeMap<(u64, ItemId), Item>| {
            items.first_key_value().map(|(_, item)| item.arrived_ms)
        };
        [first(&self.by_order), first(&self.suspects)].into_iter().flatten().min()
    }

    pub fn push(&mut self, item: Item) {
        self.tokens += item.tokens;
        *self.arrivals.entry(item.arrived_ms).or_default() += 1;
        self.by_request.insert(item.id, item.order_ms);
        if item.suspect {
            self.suspects.insert((item.order_ms, item.id), item);
        } else {
            self.by_length.insert((item.tokens, item.order_ms, item.id));
            self.by_order.insert((item.order_ms, item.id), item);
        }
    }

    /// Takes out every waiting item of a request and tells how many there were.
    pub fn remove_request(&mut self, request: crate::RequestId) -> usize {
        let all = ItemId { request, index: 0 }..=ItemId { request, index: usize::MAX };
        let keys: Vec<_> =
            self.by_request.range(all).map(|(id, order_ms)| (*order_ms, *id)).collect();
        for key in &keys {
            self.take(*key);
        }
        keys.len()
    }

    fn take(&mut self, key: (u64, ItemId)) -> Option<Item> {
        let item = match self.by_order.remove(&key) {
            Some(item) => {
                self.by_length.remove(&(item.tokens, item.order_ms, item.id));
                item
            }
            None => self.suspects.remove(&key)?,
        };
        self.by_request.remove(&item.id);
        if let Entry::Occupied(mut together) = self.arrivals.entry(item.arrived_ms) {
            *together.get_mut() -= 1;
            if *together.get() == 0 {
                together.remove();
            }
        }
        self.tokens -= item.tokens;
        Some(item)
    }

    /// Takes the next batch; empty only when nothing waits. A leader longer than the
    /// whole budget runs alone.
    pub fn next_batch(&mut self, settings: &BatchSettings) -> Vec<Item> {
        if let Some((key, _)) = self.suspects.first_key_value() {
            return self.suspect_batch(*key, settings);
        }
        let Some((key, leader)) = self.by_order.first_key_value().map(|(key, item)| (*key, *item))
        else {
            return Vec::new();
        };
        let mut chosen = vec![key];
        let mut span = Span::default().with(leader.tokens);
        let leading = (leader.tokens, leader.order_ms, leader.id);
        let mut shorter = self.by_length.range(..leading).rev().peekable();
        let mut longer = self.by_length.range(leading..).skip(1).peekable();
        while chosen.len() < settings.batch_rows {
            let below = shorter.peek().map(|entry| leader.tokens - entry.0);
            let above = longer.peek().map(|entry| entry.0 - leader.tokens);
            let next = match (below, above) {
                (None, None) => break,
                (Some(below), Some(above)) if below <= above => shorter.next(),
                (Some(_), None) => shorter.next(),
                _ => longer.next(),
            };
            let Some((tokens, order_ms, id)) = next.copied() else { break };
            let wider = span.with(tokens);
            if !wider.allows(chosen.len() + 1, settings) {
                break;
            }
            span = wider;
            chosen.push((order_ms, id));
        }
        chosen.into_iter().filter_map(|key| self.take(key)).collect()
    }

    fn suspect_batch(&mut self, first: (u64, ItemId), settings: &BatchSettings) -> Vec<Item> {
        let request = first.1.request;
        let mut group = Vec::new();
        let mut span = Span::default();
        for (key, item) in self.suspects.iter().filter(|(key, _)| key.1.request == request) {
            let wider = span.with(item.tokens);
            if group.is_empty() || wider.allows(group.len() + 1, settings) {
                span = wider;
                group.push(*key);
            }
        }
        group.into_iter().filter_map(|key| self.take(key)).collect()
    }
}

/// The shortest and the longest row of a batch, in tokens.
#[derive(Debug, Clone, Copy)]
struct Span {
    shortest: usize,
    longest: usize,
}

impl Default for Span {
    fn default() -> Self {
        Span { shortest: usize::MAX, longest: 0 }
    }
}

impl Span {
    fn with(self, tokens: usize) -> Self {
        Span { shortest: self.shortest.min(tokens), longest: self.longest.max(tokens) }
    }

    /// Whether this many rows of this span may share a batch.
    fn allows(self, rows: usize, settings: &BatchSettings) -> bool {
        let padding = self.longest.saturating_sub(self.shortest);
        rows <= settings.batch_rows
            && self.longest.saturating_mul(rows) <= settings.batch_tokens
            && padding.saturating_mul(100) <= self.longest.saturating_mul(settings.padding_percent)
    }
}
