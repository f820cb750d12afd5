//! What one edge holds for one tenant and model: the allowance in use, those that run out, and
//! the requests that wait for the next.

use std::collections::VecDeque;

use crate::admission::{Clocks, Reservation, TicketId};
use crate::amounts::{Amounts, Unit};
use crate::ledger::{Allowance, AllowanceId, AllowanceReturn, Exhausted, Standing};
use crate::limits::Window;
use crate::mutants::{Mutant, planted};

/// An allowance with what is left of it.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) id: AllowanceId,
    /// Neither used nor reserved.
    pub(crate) left: Amounts,
    /// Reserved by requests that still run.
    reserved: Amounts,
    /// Number of those requests.
    open: usize,
    /// Monotonic ms.
    pub(crate) expires_ms: u64,
}

impl Live {
    pub(crate) fn new(allowance: &Allowance, asked_ms: u64) -> Live {
        Live {
            id: allowance.id,
            left: allowance.amounts,
            reserved: Amounts::ZERO,
            open: 0,
            expires_ms: asked_ms.saturating_add(allowance.valid_ms),
        }
    }

    pub(crate) fn is_valid(&self, now_ms: u64) -> bool {
        now_ms < self.expires_ms || planted(Mutant::ExpiredAllowanceUsed)
    }

    fn take(&mut self, estimate: Amounts) {
        self.left = self.left.minus(estimate);
        self.reserved = self.reserved.plus(estimate);
        self.open += 1;
    }

    /// Ends a reservation; returns what was used above it and is not covered by the rest.
    pub(crate) fn settle(&mut self, reserved: Amounts, used: Amounts) -> Amounts {
        self.open = self.open.saturating_sub(1);
        self.reserved = self.reserved.minus(reserved);
        let refund = match planted(Mutant::RefundWhole) {
            true => reserved,
            false => reserved.minus(used),
        };
        self.left = self.left.plus(refund);
        let above = used.minus(reserved);
        let covered = above.at_most(self.left);
        self.left = self.left.minus(covered);
        above.minus(covered)
    }

    fn is_closed(&self) -> bool {
        self.open == 0 || planted(Mutant::ReturnedWhileOpen)
    }

    fn unused(&self) -> Amounts {
        match planted(Mutant::ReturnedWhileOpen) {
            true => self.left.plus(self.reserved),
            false => self.left,
        }
    }
}

/// A request that waits for an allowance.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) ticket: TicketId,
    pub(crate) estimate: Amounts,
}

/// An ask that is under way.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) id: AllowanceId,
    pub(crate) asked_ms: u64,
}

/// What the owner said last about a limit that is used up.
#[derive(Debug)]
pub(crate) struct UsedUp {
    pub(crate) exhausted: Exhausted,
    /// Until when it is believed, and when the window ends; monotonic ms.
    pub(crate) until_ms: u64,
    pub(crate) resets_ms: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) live: Option<Live>,
    /// Expired or replaced, with requests still running on them.
    retired: Vec<Live>,
    pub(crate) asking: Option<Asking>,
    pub(crate) waiting: VecDeque<Waiting>,
    /// No new ask before this; monotonic ms.
    pub(crate) ask_again_ms: u64,
    pub(crate) used_up: Option<UsedUp>,
    /// Since when nobody answers; monotonic ms.
    pub(crate) silent_since_ms: Option<u64>,
    /// What the last allowance allowed for an outage.
    pub(crate) outage_budget: Option<Amounts>,
    /// What the last allowance said of the limits, and when; monotonic ms.
    pub(crate) standing: Vec<Standing>,
    pub(crate) standing_ms: u64,
    /// Admitted in outages, and the minute that it counts in.
    pub(crate) outage_used: Amounts,
    pub(crate) outage_minute: u64,
    /// Reserved since the last ask: how much the next one asks for.
    pub(crate) recent: Amounts,
}

impl Slot {
    /// A slot that holds nothing, with what is known for an outage.
    pub(crate) fn new(outage_budget: Option<Amounts>) -> Slot {
        Slot { outage_budget, ..Slot::default() }
    }

    /// Takes the estimate out of the allowance in use, if it is valid and covers it.
    pub(crate) fn take(&mut self, estimate: Amounts, now_ms: u64) -> Option<AllowanceId> {
        let live = self.live.as_mut()?;
        if !live.is_valid(now_ms) || !live.left.covers(estimate) {
            return None;
        }
        live.take(estimate);
        self.recent = self.recent.plus(estimate);
        Some(live.id)
    }

    /// How the limits stand, with what this edge holds of them; nothing of windows that are over.
    pub(crate) fn standing(&self, now_ms: u64) -> Vec<Standing> {
        let age_ms = now_ms.saturating_sub(self.standing_ms);
        let live = self.live.as_ref().filter(|live| live.is_valid(now_ms));
        let current = self.standing.iter().filter(|standing| age_ms < standing.resets_in_ms);
        let now = |standing: &Standing| {
            let here = live.map_or(0, |live| live.left.get(standing.unit));
            Standing {
                remaining: standing.remaining.saturating_add(here).min(standing.amount),
                resets_in_ms: standing.resets_in_ms - age_ms,
                ..*standing
            }
        };
        current.map(now).collect()
    }

    /// Ends a reservation; see [`Live::settle`]. An allowance that is gone covers nothing.
    pub(crate) fn settle(&mut self, reservation: &Reservation, used: Amounts) -> Amounts {
        let lives = self.live.iter_mut().chain(&mut self.retired);
        let mut found = lives.filter(|live| Some(live.id) == reservation.allowance);
        match found.next() {
            Some(live) => live.settle(reservation.estimate, used),
            None => used.minus(reservation.estimate),
        }
    }

    /// Reservations that were not settled yet.
    pub(crate) fn open(&self) -> usize {
        self.live.iter().chain(&self.retired).map(|live| live.open).sum()
    }

    /// Puts the allowance in use aside.
    pub(crate) fn retire(&mut self) {
        self.retired.extend(self.live.take());
    }

    /// Retires an allowance whose time is over, and takes out what can go back to the owner.
    pub(crate) fn returns(&mut self, now_ms: u64) -> Vec<AllowanceReturn> {
        if self.live.as_ref().is_some_and(|live| !live.is_valid(now_ms)) {
            self.retire();
        }
        let back = |live: Live| AllowanceReturn { id: live.id, unused: live.unused() };
        self.retired.extract_if(.., |live| live.is_closed()).map(back).collect()
    }

    /// Refuses by what the owner said a moment ago, without asking it again.
    pub(crate) fn known_used_up(&self, estimate: Amounts, now_ms: u64) -> Option<&UsedUp> {
        self.used_up.as_ref().filter(|used_up| {
            let Exhausted { limit, remaining, .. } = &used_up.exhausted;
            now_ms < used_up.until_ms && estimate.get(limit.unit) > *remaining
        })
    }

    /// What the waiting requests need: the first at least, and all of them at most, with as much
    /// again as was used since the last ask.
    pub(crate) fn need_and_want(&self) -> Option<(Amounts, Amounts)> {
        let need = self.waiting.front()?.estimate;
        let all = self.waiting.iter().fold(Amounts::ZERO, |sum, next| sum.plus(next.estimate));
        Some((need, all.plus(self.recent)))
    }

    /// Whether nothing is lost by forgetting it. What was admitted in an outage counts until its
    /// minute ends, or the next outage of that minute would begin with a whole budget.
    pub(crate) fn is_idle(&self, at: Clocks) -> bool {
        self.live.is_none()
            && self.retired.is_empty()
            && self.asking.is_none()
            && self.waiting.is_empty()
            && self.silent_since_ms.is_none()
            && !self.counts_an_outage(at)
    }

    fn counts_an_outage(&self, at: Clocks) -> bool {
        !self.outage_used.is_zero() && self.outage_minute == Window::Minute.index(at.wall_ms)
    }

    /// The next time at which something is due by itself; monotonic ms.
    pub(crate) fn due_ms(&self, at: Clocks) -> Option<u64> {
        let expiry = self.live.as_ref().map(|live| live.expires_ms);
        let wanted = !self.waiting.is_empty() || self.silent_since_ms.is_some();
        let ask = (self.asking.is_none() && wanted).then_some(self.ask_again_ms);
        let minute_end = self.counts_an_outage(at).then(|| {
            let left_ms = Window::Minute.end_ms(self.outage_minute).saturating_sub(at.wall_ms);
            at.now_ms.saturating_add(left_ms)
        });
        [expiry, ask, minute_end].into_iter().flatten().min()
    }

    /// Whether the outage budget holds this estimate too; counts it if so. `Err` names the unit
    /// that is used up.
    pub(crate) fn take_in_outage(
        &mut self,
        estimate: Amounts,
        minute: u64,
        fallback: Amounts,
    ) -> Result<(), Unit> {
        if self.outage_minute != minute {
            (self.outage_minute, self.outage_used) = (minute, Amounts::ZERO);
        }
        let budget = self.outage_budget.unwrap_or(fallback);
        let used = self.outage_used.plus(estimate);
        let over = Unit::ALL.into_iter().find(|unit| used.get(*unit) > budget.get(*unit));
        match over.filter(|_| !planted(Mutant::OutageUnbounded)) {
            Some(unit) => Err(unit),
            None => {
                self.outage_used = used;
                Ok(())
            }
        }
    }
}
