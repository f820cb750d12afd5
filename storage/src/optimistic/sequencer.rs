//! Puts commits in order: which conflict, which version each gets, and whom it wakes.

use std::collections::VecDeque;

use super::watches::Watches;
use super::{Proposal, Resolver, WatchRequest};
use crate::limits::TRANSACTION_MS;
use crate::{Committed, KeyRange, STAMP_BYTES, Stamp, StoreError};

/// How often old versions are forgotten, in ms.
const FORGET_EVERY_MS: u64 = 1_000;

/// A proposal that may be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub version: u64,
    pub stamp: Stamp,
    /// All that the proposal writes.
    pub written: Vec<KeyRange>,
}

impl Decision {
    /// What the transaction's owner is told.
    pub fn committed(&self) -> Committed {
        Committed { version: Some(self.version), stamp: Some(self.stamp) }
    }
}

/// The one place of an engine where commits are put in order.
#[derive(Debug)]
pub struct Sequencer {
    version: u64,
    resolver: Resolver,
    watches: Watches,
    /// When which version was the last one, so that versions can be told old.
    history: VecDeque<(u64, u64)>,
}

impl Sequencer {
    /// A sequencer whose last commit was `version`.
    pub fn new(version: u64) -> Self {
        Sequencer {
            version,
            resolver: Resolver::new(version),
            watches: Watches::default(),
            history: VecDeque::new(),
        }
    }

    /// The version of the last commit.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Decides on a proposal and counts its writes from here on, so that the next one is
    /// judged against them.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] and [`StoreError::TooOld`].
    pub fn decide(&mut self, proposal: &Proposal, now_ms: u64) -> Result<Decision, StoreError> {
        self.forget(now_ms);
        if !proposal.reads.is_empty() && proposal.read_version < self.resolver.oldest() {
            return Err(StoreError::TooOld);
        }
        let read = proposal.read_version;
        if proposal.reads.iter().any(|range| self.resolver.written_after(range, read)) {
            return Err(StoreError::Conflict);
        }
        self.version += 1;
        let stamp = stamp_of(self.version);
        let mut written: Vec<KeyRange> =
            proposal.mutations.iter().map(|mutation| mutation.written(&stamp)).collect();
        written.extend(proposal.writes.iter().cloned());
        for range in &written {
            self.resolver.record(range, self.version);
        }
        Ok(Decision { version: self.version, stamp, written })
    }

    /// Ends the watches that the written ranges concern, after the engine wrote them.
    ///
    /// # Errors
    /// Those of `read`, which reads what is committed.
    pub fn wake(
        &mut self,
        written: &[KeyRange],
        mut read: impl FnMut(&[u8]) -> Result<Option<Vec<u8>>, StoreError>,
    ) -> Result<(), StoreError> {
        written.iter().try_for_each(|range| self.watches.wake(range, &mut read))
    }

    /// Takes a committed transaction's watches; one whose key has changed already ends now.
    ///
    /// # Errors
    /// Those of `read`, which reads what is committed.
    pub fn watch(
        &mut self,
        requests: Vec<WatchRequest>,
        mut read: impl FnMut(&[u8]) -> Result<Option<Vec<u8>>, StoreError>,
    ) -> Result<(), StoreError> {
        for request in requests {
            let range = request.range();
            self.watches.add(request);
            self.watches.wake(&range, &mut read)?;
        }
        Ok(())
    }

    fn forget(&mut self, now_ms: u64) {
        match self.history.back() {
            Some((at_ms, _)) if now_ms < at_ms + FORGET_EVERY_MS => return,
            _ => self.history.push_back((now_ms, self.version)),
        }
        while let Some((at_ms, version)) = self.history.front().copied() {
            if now_ms < at_ms + TRANSACTION_MS {
                break;
            }
            self.history.pop_front();
            self.resolver.forget(version);
        }
    }
}

/// A version as a stamp; each commit has a version of its own, so the order within it is 0.
fn stamp_of(version: u64) -> Stamp {
    let mut stamp = [0; STAMP_BYTES];
    stamp[..8].copy_from_slice(&version.to_be_bytes());
    stamp
}
