//! What an edge has to tell an owner: entries for the ledger and allowances that come back. Kept
//! until the owner says that it is written down, and sent again until then.

use std::collections::VecDeque;

use crate::ledger::{AllowanceReturn, Entry, EntryId};
use crate::mutants::{Mutant, planted};

/// One message to the owner. A repetition holds the same ids, so that nothing counts twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Names the sending within this edge, for ever.
    pub number: u64,
    pub entries: Vec<Entry>,
    pub returns: Vec<AllowanceReturn>,
}

/// How much of the outbox is under way.
#[derive(Debug)]
struct Flight {
    number: u64,
    entries: usize,
    returns: usize,
}

/// One tenant's outbox.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    entries: VecDeque<Entry>,
    returns: VecDeque<AllowanceReturn>,
    flight: Option<Flight>,
    /// No new try before this, after one that failed; monotonic ms.
    again_ms: u64,
}

impl Outbox {
    pub(crate) fn entries(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.returns.is_empty()
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.entries.push_back(entry);
    }

    pub(crate) fn give_back(&mut self, given_back: AllowanceReturn) {
        self.returns.push_back(given_back);
    }

    /// When the next try is due, if something waits and nothing is under way.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        (self.flight.is_none() && !self.is_empty()).then_some(self.again_ms)
    }

    /// The next message, when one is due: at most `most` of each kind. The numbers outlive this
    /// outbox, or a late word about a message of a forgotten one would clear another's.
    pub(crate) fn next(
        &mut self,
        now_ms: u64,
        most: usize,
        next_number: &mut u64,
    ) -> Option<Report> {
        if self.due_ms().is_none_or(|due_ms| due_ms > now_ms) {
            return None;
        }
        let number = *next_number;
        *next_number += 1;
        let entries: Vec<Entry> = self.entries.iter().take(most).cloned().collect();
        let returns: Vec<AllowanceReturn> = self.returns.iter().take(most).copied().collect();
        self.flight = Some(Flight { number, entries: entries.len(), returns: returns.len() });
        Some(Report { number, entries, returns })
    }

    /// The message of this number is written down; returns the entries it held.
    pub(crate) fn written(&mut self, number: u64) -> Vec<EntryId> {
        let Some(flight) = self.flight.take_if(|flight| flight.number == number) else {
            return Vec::new();
        };
        let (entries, returns) = match planted(Mutant::ReportClearsAll) {
            true => (self.entries.len(), self.returns.len()),
            false => (flight.entries, flight.returns),
        };
        self.returns.drain(..returns);
        self.entries.drain(..entries).map(|entry| entry.id).collect()
    }

    /// The message of this number may or may not have arrived; it is sent again at `again_ms`.
    pub(crate) fn failed(&mut self, number: u64, again_ms: u64) {
        let Some(flight) = self.flight.take_if(|flight| flight.number == number) else { return };
        self.again_ms = again_ms;
        if planted(Mutant::ReportDropped) {
            self.entries.drain(..flight.entries);
        }
    }
}
