//! The transaction above a backend.

use std::sync::Arc;

use async_trait::async_trait;

use super::overlay::{Change, Overlay, Segment};
use super::{Backend, Proposal, Snapshot, WatchRequest};
use crate::limits::{TRANSACTION_MS, check_end, check_key, check_transaction, check_value};
use crate::mutation::Mutation;
use crate::{
    AtomicOp, Committed, KeyRange, Pair, RangeRead, ReadMode, Stamped, StoreError, Transaction,
    Watch,
};

pub(super) struct OptimisticTransaction {
    backend: Arc<dyn Backend>,
    snapshot: Box<dyn Snapshot>,
    began_ms: u64,
    overlay: Overlay,
    proposal: Proposal,
    size_bytes: usize,
}

impl OptimisticTransaction {
    pub(super) fn new(
        backend: Arc<dyn Backend>,
        snapshot: Box<dyn Snapshot>,
        began_ms: u64,
    ) -> Self {
        let proposal = Proposal { read_version: snapshot.version(), ..Proposal::default() };
        let overlay = Overlay::default();
        OptimisticTransaction { backend, snapshot, began_ms, overlay, proposal, size_bytes: 0 }
    }

    fn check_age(&self) -> Result<(), StoreError> {
        let age_ms = self.backend.now_ms().saturating_sub(self.began_ms);
        if age_ms > TRANSACTION_MS { Err(StoreError::TooOld) } else { Ok(()) }
    }

    fn push(&mut self, mutation: Mutation) -> Result<(), StoreError> {
        let size_bytes = self.size_bytes + mutation.size_bytes();
        check_transaction(size_bytes)?;
        self.size_bytes = size_bytes;
        self.proposal.mutations.push(mutation);
        Ok(())
    }

    fn note_read(&mut self, range: KeyRange, mode: ReadMode) {
        if mode == ReadMode::Serializable {
            self.proposal.reads.push(range);
        }
    }

    /// Reads one segment of a range: at most `limit` pairs in the order of the read.
    async fn read_segment(
        &mut self,
        segment: &Segment,
        limit: usize,
        read: &RangeRead,
    ) -> Result<Vec<Pair>, StoreError> {
        let range = &segment.range;
        let mut base = Vec::new();
        if segment.visible {
            // Each change can hide at most one pair, so this many always suffice.
            let enough = limit.saturating_add(self.overlay.count(range));
            base = self.snapshot.range(range, enough, read.reverse).await?;
        }
        let mut pairs = self.overlay.merge(range, base)?;
        if read.reverse {
            pairs.reverse();
        }
        pairs.truncate(limit);
        if segment.visible {
            let seen = match pairs.last() {
                Some((last, _)) if pairs.len() == limit && read.reverse => {
                    KeyRange::new(last.as_slice(), range.end.as_slice())
                }
                Some((last, _)) if pairs.len() == limit => {
                    KeyRange { begin: range.begin.clone(), end: KeyRange::of_key(last).end }
                }
                _ => range.clone(),
            };
            self.note_read(seen, read.mode);
        }
        Ok(pairs)
    }
}

#[async_trait]
impl Transaction for OptimisticTransaction {
    async fn get(&mut self, key: &[u8], mode: ReadMode) -> Result<Option<Vec<u8>>, StoreError> {
        check_key(key)?;
        self.check_age()?;
        let change = self.overlay.at(key)?;
        if let Some(change @ (Change::Known(_) | Change::Stamped)) = &change {
            return change.over(None);
        }
        self.backend.before_read().await?;
        let base = self.snapshot.get(key).await?;
        self.note_read(KeyRange::of_key(key), mode);
        match change {
            Some(change) => change.over(base.as_deref()),
            None => Ok(base),
        }
    }

    async fn range(&mut self, read: RangeRead) -> Result<Vec<Pair>, StoreError> {
        check_end(&read.range.begin)?;
        check_end(&read.range.end)?;
        self.check_age()?;
        self.backend.before_read().await?;
        let mut segments = self.overlay.segments(&read.range)?;
        if read.reverse {
            segments.reverse();
        }
        let mut pairs = Vec::new();
        for segment in segments {
            let limit = read.limit - pairs.len();
            if limit == 0 {
                break;
            }
            pairs.extend(self.read_segment(&segment, limit, &read).await?);
        }
        Ok(pairs)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        check_key(key)?;
        check_value(value)?;
        self.push(Mutation::Set { key: key.to_vec(), value: value.to_vec() })?;
        self.overlay.set(key, Some(value));
        Ok(())
    }

    fn clear(&mut self, key: &[u8]) -> Result<(), StoreError> {
        check_key(key)?;
        self.push(Mutation::ClearRange(KeyRange::of_key(key)))?;
        self.overlay.set(key, None);
        Ok(())
    }

    fn clear_range(&mut self, range: &KeyRange) -> Result<(), StoreError> {
        check_end(&range.begin)?;
        check_end(&range.end)?;
        if range.is_empty() {
            return Ok(());
        }
        self.push(Mutation::ClearRange(range.clone()))?;
        self.overlay.clear_range(range);
        Ok(())
    }

    fn atomic(&mut self, key: &[u8], op: AtomicOp, operand: &[u8]) -> Result<(), StoreError> {
        check_key(key)?;
        check_value(operand)?;
        self.push(Mutation::Atomic { key: key.to_vec(), op, operand: operand.to_vec() })?;
        self.overlay.atomic(key, op, operand);
        Ok(())
    }

    fn set_stamped_key(&mut self, key: &Stamped, value: &[u8]) -> Result<(), StoreError> {
        check_key(key.placeholder())?;
        check_value(value)?;
        self.push(Mutation::StampedKey { key: key.clone(), value: value.to_vec() })?;
        self.overlay.stamp_key(key, self.proposal.read_version);
        Ok(())
    }

    fn set_stamped_value(&mut self, key: &[u8], value: &Stamped) -> Result<(), StoreError> {
        check_key(key)?;
        check_value(value.placeholder())?;
        self.push(Mutation::StampedValue { key: key.to_vec(), value: value.clone() })?;
        self.overlay.stamp_value(key);
        Ok(())
    }

    fn add_read_conflict(&mut self, range: &KeyRange) -> Result<(), StoreError> {
        check_end(&range.begin)?;
        check_end(&range.end)?;
        self.proposal.reads.push(range.clone());
        Ok(())
    }

    fn add_write_conflict(&mut self, range: &KeyRange) -> Result<(), StoreError> {
        check_end(&range.begin)?;
        check_end(&range.end)?;
        self.proposal.writes.push(range.clone());
        Ok(())
    }

    async fn watch(&mut self, key: &[u8]) -> Result<Watch, StoreError> {
        let seen = self.get(key, ReadMode::Serializable).await?;
        let (request, watch) = WatchRequest::new(key, seen, self.proposal.mutations.len());
        self.proposal.watches.push(request);
        Ok(watch)
    }

    async fn read_version(&mut self) -> Result<u64, StoreError> {
        Ok(self.proposal.read_version)
    }

    async fn commit(self: Box<Self>) -> Result<Committed, StoreError> {
        if self.proposal.is_read_only() {
            if !self.proposal.watches.is_empty() {
                self.backend.commit(self.proposal).await?;
            }
            return Ok(Committed { version: None, stamp: None });
        }
        self.check_age()?;
        let conflicts = self.proposal.reads.iter().chain(&self.proposal.writes);
        let conflict_bytes: usize = conflicts.map(|it| it.begin.len() + it.end.len()).sum();
        check_transaction(self.size_bytes + conflict_bytes)?;
        self.backend.commit(self.proposal).await
    }
}
