//! A run whose cases several nodes ask: who has which batch of them, until when, and what all of
//! it has cost. It is one record, changed as a whole.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Cases of one batch.
pub const BATCH_CASES: usize = 16;
/// How long a batch is somebody's without another word, in ms.
pub const BATCH_MS: u64 = 30_000;
/// How long the run goes on without a word of whoever began it, in ms.
pub const LEAD_MS: u64 = 30_000;

/// Where one batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Batch {
    /// Claims of it so far: whoever comes with another number comes too late.
    epoch: u64,
    /// Who has it.
    by: Option<u64>,
    /// Since 1970.
    expires_ms: u64,
    is_done: bool,
}

impl Batch {
    fn is_held(&self, now_ms: u64) -> bool {
        self.by.is_some() && now_ms < self.expires_ms
    }
}

/// A batch that somebody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// From 0 on.
    pub batch: usize,
    pub epoch: u64,
}

/// What a process that wants a batch gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Claim(Claim),
    /// Others have all that is left; what they do not finish comes back.
    Wait,
    /// All is done, or it was stopped.
    Over,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    batches: Vec<Batch>,
    budget_micro_usd: Option<u64>,
    spent_micro_usd: u64,
    /// Whoever began it; the others help.
    lead: u64,
    /// When nobody goes on with it any more unless its lead says a word, since 1970.
    lead_expires_ms: u64,
    stopped: Option<String>,
}

impl Spread {
    pub fn new(cases: usize, budget_micro_usd: Option<u64>, lead: u64, now_ms: u64) -> Spread {
        Spread {
            batches: vec![Batch::default(); cases.div_ceil(BATCH_CASES)],
            budget_micro_usd,
            spent_micro_usd: 0,
            lead,
            lead_expires_ms: now_ms.saturating_add(LEAD_MS),
            stopped: None,
        }
    }

    /// Places of a batch's cases, among so many.
    pub fn places(cases: usize, batch: usize) -> Range<usize> {
        let begin = batch.saturating_mul(BATCH_CASES).min(cases);
        begin..begin.saturating_add(BATCH_CASES).min(cases)
    }

    /// The first batch that nobody has. A process has one at a time: the one that it has already is
    /// given again, since it may not have heard that it got it.
    pub fn claim(&mut self, by: u64, now_ms: u64) -> Next {
        self.hear(by, now_ms);
        let is_lost = now_ms >= self.lead_expires_ms;
        if self.is_stopped() || is_lost || self.batches.iter().all(|batch| batch.is_done) {
            return Next::Over;
        }
        let own = self.batches.iter().position(|batch| !batch.is_done && batch.by == Some(by));
        let free = |batch: &Batch| !batch.is_done && !batch.is_held(now_ms);
        let Some(place) = own.or_else(|| self.batches.iter().position(free)) else {
            return Next::Wait;
        };
        let Some(batch) = self.batches.get_mut(place) else { return Next::Wait };
        batch.epoch += 1;
        (batch.by, batch.expires_ms) = (Some(by), now_ms.saturating_add(BATCH_MS));
        Next::Claim(Claim { batch: place, epoch: batch.epoch })
    }

    /// Whoever has the batch goes on with it. False when it is another's, or the run is over.
    pub fn renew(&mut self, by: u64, claim: Claim, now_ms: u64) -> bool {
        self.hear(by, now_ms);
        let is_over = self.is_stopped() || now_ms >= self.lead_expires_ms;
        match self.held(claim) {
            Some(batch) if !is_over => {
                batch.expires_ms = now_ms.saturating_add(BATCH_MS);
                true
            }
            _ => false,
        }
    }

    /// Notes a batch's end; nothing of a claim that is another's by now.
    pub fn finish(&mut self, by: u64, claim: Claim, now_ms: u64) {
        self.hear(by, now_ms);
        if let Some(batch) = self.held(claim) {
            (batch.is_done, batch.by) = (true, None);
        }
    }

    /// Adds what a case cost, whoever asked it.
    pub fn pay(&mut self, micro_usd: u64) {
        self.spent_micro_usd = self.spent_micro_usd.saturating_add(micro_usd);
    }

    /// Ends the run; the first reason stays.
    pub fn stop(&mut self, why: String) {
        self.stopped.get_or_insert(why);
    }

    pub fn spent_micro_usd(&self) -> u64 {
        self.spent_micro_usd
    }

    /// Why it ended before all cases were asked, where it did.
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }

    /// Whether the budget is used up.
    pub fn is_spent(&self) -> bool {
        self.budget_micro_usd.is_some_and(|budget| self.spent_micro_usd >= budget)
    }

    /// How long its lead has been silent beyond its time, in ms.
    pub fn lost_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.lead_expires_ms)
    }

    pub fn is_over(&self) -> bool {
        self.is_stopped() || self.batches.iter().all(|batch| batch.is_done)
    }

    fn is_stopped(&self) -> bool {
        self.stopped.is_some() || self.is_spent()
    }

    fn hear(&mut self, by: u64, now_ms: u64) {
        if by == self.lead {
            self.lead_expires_ms = self.lead_expires_ms.max(now_ms.saturating_add(LEAD_MS));
        }
    }

    fn held(&mut self, claim: Claim) -> Option<&mut Batch> {
        let batch = self.batches.get_mut(claim.batch)?;
        (batch.epoch == claim.epoch && !batch.is_done).then_some(batch)
    }
}
