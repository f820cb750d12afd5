//! A transaction's own writes, laid over what it reads.

use std::collections::BTreeMap;

use crate::{AtomicOp, KeyRange, Pair, Stamp, Stamped, StoreError};

/// What the transaction did to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// The value is this, or none.
    Known(Option<Vec<u8>>),
    /// Operations on a value that was not read.
    Pending(Vec<(AtomicOp, Vec<u8>)>),
    /// The value holds a stamp that only the commit knows.
    Stamped,
}

impl Change {
    /// The value, given what the snapshot holds.
    pub(super) fn over(&self, base: Option<&[u8]>) -> Result<Option<Vec<u8>>, StoreError> {
        match self {
            Change::Known(value) => Ok(value.clone()),
            Change::Pending(operations) => {
                let mut value = base.map(<[u8]>::to_vec);
                for (op, operand) in operations {
                    value = Some(op.apply(value.as_deref(), operand));
                }
                Ok(value)
            }
            Change::Stamped => Err(unreadable()),
        }
    }
}

fn unreadable() -> StoreError {
    let text = "this key or range holds a stamp of this very transaction; read it after the commit";
    StoreError::Usage(text.to_owned())
}

/// A part of a range to read, and whether the snapshot shows through there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) range: KeyRange,
    pub(super) visible: bool,
}

/// All changes of a transaction so far.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    changes: BTreeMap<Vec<u8>, Change>,
    /// Cleared ranges, begin to end; they neither touch nor overlap.
    cleared: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Where keys with this transaction's stamp may come to lie.
    stamped_keys: Vec<KeyRange>,
}

impl Overlay {
    pub(super) fn set(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.changes.insert(key.to_vec(), Change::Known(value.map(<[u8]>::to_vec)));
    }

    pub(super) fn stamp_value(&mut self, key: &[u8]) {
        self.changes.insert(key.to_vec(), Change::Stamped);
    }

    /// `read_version` bounds the stamp from below: the commit comes later.
    pub(super) fn stamp_key(&mut self, key: &Stamped, read_version: u64) {
        let mut lowest: Stamp = [0; crate::STAMP_BYTES];
        lowest[..8].copy_from_slice(&read_version.to_be_bytes());
        let highest: Stamp = [0xff; crate::STAMP_BYTES];
        let end = KeyRange::of_key(&key.fill(&highest)).end;
        self.stamped_keys.push(KeyRange { begin: key.fill(&lowest), end });
    }

    pub(super) fn atomic(&mut self, key: &[u8], op: AtomicOp, operand: &[u8]) {
        let is_cleared = self.is_cleared(key);
        let before = self.changes.remove(key);
        let after = match before {
            Some(Change::Known(value)) => Change::Known(Some(op.apply(value.as_deref(), operand))),
            Some(Change::Pending(mut operations)) => {
                operations.push((op, operand.to_vec()));
                Change::Pending(operations)
            }
            Some(Change::Stamped) => Change::Stamped,
            None if is_cleared => Change::Known(Some(op.apply(None, operand))),
            None => Change::Pending(vec![(op, operand.to_vec())]),
        };
        self.changes.insert(key.to_vec(), after);
    }

    pub(super) fn clear_range(&mut self, range: &KeyRange) {
        if range.is_empty() {
            return;
        }
        self.changes.retain(|key, _| !range.contains(key));
        let (mut begin, mut end) = (range.begin.clone(), range.end.clone());
        let touching: Vec<(Vec<u8>, Vec<u8>)> = self
            .cleared
            .range(..=end.clone())
            .filter(|(_, other_end)| **other_end >= begin)
            .map(|(begin, end)| (begin.clone(), end.clone()))
            .collect();
        for (other_begin, other_end) in touching {
            self.cleared.remove(&other_begin);
            begin = begin.min(other_begin);
            end = end.max(other_end);
        }
        self.cleared.insert(begin, end);
    }

    /// What was done to a key; a cleared one is known to have no value.
    ///
    /// # Errors
    /// [`StoreError::Usage`] where a stamped key may lie.
    pub(super) fn at(&self, key: &[u8]) -> Result<Option<Change>, StoreError> {
        self.check_readable(&KeyRange::of_key(key))?;
        Ok(match self.changes.get(key) {
            Some(change) => Some(change.clone()),
            None if self.is_cleared(key) => Some(Change::Known(None)),
            None => None,
        })
    }

    /// Cuts a range at the borders of what was cleared.
    ///
    /// # Errors
    /// [`StoreError::Usage`] where a stamped key may lie.
    pub(super) fn segments(&self, range: &KeyRange) -> Result<Vec<Segment>, StoreError> {
        self.check_readable(range)?;
        let mut segments = Vec::new();
        let mut push = |begin: &[u8], end: &[u8], visible| {
            let range = KeyRange::new(begin, end);
            if !range.is_empty() {
                segments.push(Segment { range, visible });
            }
        };
        let mut at = range.begin.clone();
        for (begin, end) in &self.cleared {
            if *end <= at {
                continue;
            }
            if *begin >= range.end {
                break;
            }
            push(&at, begin, true);
            let end = end.clone().min(range.end.clone());
            push(begin.max(&at), &end, false);
            at = end;
        }
        push(&at, &range.end, true);
        Ok(segments)
    }

    /// How many keys of the range were changed.
    pub(super) fn count(&self, range: &KeyRange) -> usize {
        self.changes.range(range.begin.clone()..range.end.clone()).count()
    }

    /// The snapshot's pairs of a segment with the changes laid over them, in ascending order.
    ///
    /// # Errors
    /// [`StoreError::Usage`] when a value holds this transaction's stamp.
    pub(super) fn merge(&self, range: &KeyRange, base: Vec<Pair>) -> Result<Vec<Pair>, StoreError> {
        let mut merged: BTreeMap<Vec<u8>, Vec<u8>> = base.into_iter().collect();
        for (key, change) in self.changes.range(range.begin.clone()..range.end.clone()) {
            match change.over(merged.get(key).map(Vec::as_slice))? {
                Some(value) => merged.insert(key.clone(), value),
                None => merged.remove(key),
            };
        }
        Ok(merged.into_iter().collect())
    }

    fn is_cleared(&self, key: &[u8]) -> bool {
        let before = self.cleared.range(..=key.to_vec()).next_back();
        before.is_some_and(|(_, end)| key < end.as_slice())
    }

    fn check_readable(&self, range: &KeyRange) -> Result<(), StoreError> {
        let meets = |other: &KeyRange| other.begin < range.end && range.begin < other.end;
        if self.stamped_keys.iter().any(meets) { Err(unreadable()) } else { Ok(()) }
    }
}
