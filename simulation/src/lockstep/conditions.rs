//! Which faults hold now: what that means for nodes, ways and clocks.

use std::collections::BTreeSet;

use super::schedule::{ScheduledFault, Strike};

/// The state of the world at one time; nodes are counted from 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Conditions {
    pub(super) dead: BTreeSet<usize>,
    pub(super) frozen: BTreeSet<usize>,
    /// Of the frozen nodes, those that will meet messages before overdue timers.
    pub(super) messages_first: BTreeSet<usize>,
    /// Directions in which nothing passes.
    cuts: BTreeSet<(usize, usize)>,
    pub(super) store_cuts: BTreeSet<usize>,
    /// By node.
    pub(super) wall_offsets_ms: Vec<i64>,
    /// Which start of each node's process this is.
    pub(super) incarnations: Vec<u64>,
}

impl Conditions {
    /// What the faults make of the world at this time; incarnations stay as given.
    pub(super) fn at(now_ms: u64, faults: &[ScheduledFault], incarnations: &[u64]) -> Conditions {
        let nodes = incarnations.len();
        let mut now = Conditions {
            wall_offsets_ms: vec![0; nodes],
            incarnations: incarnations.to_vec(),
            ..Conditions::default()
        };
        for fault in faults.iter().filter(|fault| fault.is_active(now_ms)) {
            now.suffer(&fault.strike, nodes);
        }
        now
    }

    fn suffer(&mut self, strike: &Strike, nodes: usize) {
        match *strike {
            Strike::Partition { a, b } => self.cuts.extend([(a, b), (b, a)]),
            Strike::Isolate { node } => {
                let others = (0..nodes).filter(|other| *other != node);
                self.cuts.extend(others.flat_map(|other| [(node, other), (other, node)]));
            }
            Strike::OneWay { from, to } => {
                self.cuts.insert((from, to));
            }
            Strike::Freeze { node, messages_first } => {
                self.frozen.insert(node);
                if messages_first {
                    self.messages_first.insert(node);
                }
            }
            Strike::Kill { node } => {
                self.dead.insert(node);
            }
            Strike::Skew { node, offset_ms } => {
                if let Some(offset) = self.wall_offsets_ms.get_mut(node) {
                    *offset += offset_ms;
                }
            }
            Strike::StoreCut { node } => {
                self.store_cuts.insert(node);
            }
            Strike::StoreSlow { .. }
            | Strike::StoreConflict { .. }
            | Strike::StoreTooOld { .. }
            | Strike::StoreUnknownCommitted { .. }
            | Strike::StoreUnknownLost { .. }
            | Strike::StoreOutage => {}
        }
    }

    /// Whether packets pass in this direction, if the nodes at both ends live.
    pub(super) fn is_open(&self, from: usize, to: usize) -> bool {
        !self.cuts.contains(&(from, to))
    }

    /// Whether a node answers at all.
    pub(super) fn is_up(&self, node: usize) -> bool {
        !self.dead.contains(&node) && !self.frozen.contains(&node)
    }

    /// Whether a link between two nodes stays alive: both directions pass.
    pub(super) fn is_linked(&self, a: usize, b: usize) -> bool {
        self.is_up(a) && self.is_up(b) && self.is_open(a, b) && self.is_open(b, a)
    }
}
