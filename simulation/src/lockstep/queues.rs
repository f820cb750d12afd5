//! What is on its way: from node to node with drawn delays, and from the coordinator to a node.

use std::collections::BTreeMap;

use super::chance::Chance;
use super::wire::{Channel, Passing, ToNode};

/// By time, then in the order of sending.
type Queue<T> = BTreeMap<(u64, u64), T>;

/// More remembered channels than this, and the ones of the past are forgotten.
const CHANNELS_REMEMBERED: usize = 256;

pub(super) struct Queues {
    delay_ms: [u64; 2],
    seed: u64,
    numbered: u64,
    local: Vec<Queue<ToNode>>,
    ways: BTreeMap<(usize, usize), Way>,
}

/// One direction between two nodes.
struct Way {
    chance: Chance,
    queue: Queue<Passing>,
    /// When the last message of each channel arrives: the next one comes no earlier.
    last_ms: BTreeMap<Channel, u64>,
}

impl Queues {
    pub(super) fn new(seed: u64, nodes: usize, delay_ms: [u64; 2]) -> Queues {
        let local = (0..nodes).map(|_| Queue::new()).collect();
        Queues { delay_ms, seed, numbered: 0, local, ways: BTreeMap::new() }
    }

    fn number(&mut self) -> u64 {
        self.numbered += 1;
        self.numbered
    }

    /// Tells a node something at a given time.
    pub(super) fn tell(&mut self, node: usize, at_ms: u64, event: ToNode) {
        let number = self.number();
        if let Some(queue) = self.local.get_mut(node) {
            queue.insert((at_ms, number), event);
        }
    }

    /// Sends from node to node; it arrives after a drawn delay, in its channel's order.
    pub(super) fn send(&mut self, from: usize, to: usize, sent_ms: u64, passing: Passing) {
        let number = self.number();
        let (seed, [shortest_ms, longest_ms]) = (self.seed, self.delay_ms);
        let way = self.ways.entry((from, to)).or_insert_with(|| Way {
            chance: Chance::of(seed, &format!("delay {from} {to}")),
            queue: Queue::new(),
            last_ms: BTreeMap::new(),
        });
        if way.last_ms.len() > CHANNELS_REMEMBERED {
            way.last_ms.retain(|_, last_ms| *last_ms > sent_ms);
        }
        let drawn_ms = sent_ms + way.chance.between(shortest_ms, longest_ms);
        let last_ms = way.last_ms.entry(passing.channel()).or_default();
        *last_ms = drawn_ms.max(*last_ms);
        way.queue.insert((*last_ms, number), passing);
    }

    /// Loses what is on its way between two nodes.
    pub(super) fn lose(&mut self, a: usize, b: usize) -> usize {
        let mut lost = 0;
        for pair in [(a, b), (b, a)] {
            if let Some(way) = self.ways.get_mut(&pair) {
                lost += way.queue.len();
                way.queue.clear();
                way.last_ms.clear();
            }
        }
        lost
    }

    /// Loses what is on its way to a node whose process has died.
    pub(super) fn lose_all_to(&mut self, node: usize) {
        if let Some(queue) = self.local.get_mut(node) {
            queue.clear();
        }
        for (_, way) in self.ways.iter_mut().filter(|((_, to), _)| *to == node) {
            way.queue.clear();
        }
    }

    /// What a node meets before `until_ms`, by time; what is overdue comes at `from_ms`.
    pub(super) fn take(
        &mut self,
        node: usize,
        (from_ms, until_ms): (u64, u64),
        is_open: impl Fn(usize) -> bool,
    ) -> Vec<(u64, ToNode)> {
        let mut due: Vec<((u64, u64), ToNode)> = Vec::new();
        if let Some(queue) = self.local.get_mut(node) {
            take_due(queue, until_ms, |key, event| due.push((key, event)));
        }
        for ((from, to), way) in &mut self.ways {
            if *to == node && is_open(*from) {
                let peer = *from as u8;
                take_due(&mut way.queue, until_ms, |key, passing| {
                    due.push((key, ToNode::Passed { peer, passing }));
                });
            }
        }
        due.sort_by_key(|((at_ms, number), _)| ((*at_ms).max(from_ms), *number));
        due.into_iter().map(|((at_ms, _), event)| (at_ms.max(from_ms), event)).collect()
    }
}

fn take_due<T>(queue: &mut Queue<T>, until_ms: u64, mut taken: impl FnMut((u64, u64), T)) {
    while let Some(entry) = queue.first_entry().filter(|entry| entry.key().0 < until_ms) {
        let (key, what) = entry.remove_entry();
        taken(key, what);
    }
}
