//! What a store must hold after each commit, told in the plainest way: one map, changed by
//! one transaction after the other.

use std::collections::BTreeMap;

use crate::{AtomicOp, KeyRange, Pair};

/// One step of a transaction. Keys are numbers from a small range, so that transactions meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Get { key: u8, serializable: bool },
    Range { begin: u8, end: u8, limit: usize, reverse: bool, serializable: bool },
    Set { key: u8, value: Vec<u8> },
    Clear { key: u8 },
    ClearRange { begin: u8, end: u8 },
    Atomic { key: u8, op: AtomicOp, operand: Vec<u8> },
}

/// What a reading step saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    Value(Option<Vec<u8>>),
    Pairs(Vec<Pair>),
}

/// The state of the keys below one prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) map: BTreeMap<Vec<u8>, Vec<u8>>,
}

pub(super) fn key_of(prefix: &[u8], key: u8) -> Vec<u8> {
    [prefix, &[key]].concat()
}

impl Model {
    /// Does one step; what it reads is told.
    pub(super) fn step(&mut self, prefix: &[u8], step: &Step) -> Option<Seen> {
        let key_of = |key: &u8| key_of(prefix, *key);
        match step {
            Step::Get { key, .. } => {
                return Some(Seen::Value(self.map.get(&key_of(key)).cloned()));
            }
            Step::Range { begin, end, limit, reverse, .. } => {
                let mut pairs = self.pairs(&KeyRange::new(key_of(begin), key_of(end)));
                if *reverse {
                    pairs.reverse();
                }
                pairs.truncate(*limit);
                return Some(Seen::Pairs(pairs));
            }
            Step::Set { key, value } => {
                self.map.insert(key_of(key), value.clone());
            }
            Step::Clear { key } => {
                self.map.remove(&key_of(key));
            }
            Step::ClearRange { begin, end } => {
                let range = KeyRange::new(key_of(begin), key_of(end));
                self.map.retain(|key, _| !range.contains(key));
            }
            Step::Atomic { key, op, operand } => {
                let key = key_of(key);
                let value = op.apply(self.map.get(&key).map(Vec::as_slice), operand);
                self.map.insert(key, value);
            }
        }
        None
    }

    pub(super) fn pairs(&self, range: &KeyRange) -> Vec<Pair> {
        let inside = self.map.iter().filter(|(key, _)| range.contains(key));
        inside.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}
