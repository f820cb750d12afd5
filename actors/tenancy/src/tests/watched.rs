//! One edge's book, with everything that it says checked.

use std::collections::BTreeMap;

use super::accounts::{Checked, Invariant, hold};
use super::rows::Rows;
use crate::{
    Admission, Allowance, AllowanceId, Amounts, Ask, Clocks, EdgeBook, EdgeEffect, EdgeSettings,
    EntryId, Exhausted, Report, Reservation, TicketId,
};

pub(super) const TENANT: &str = "acme";

/// How often each of the rarer things happened.
pub(super) type Seen = BTreeMap<&'static str, u64>;

/// What an edge sends to the owner.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Ask(Ask),
    Report(Report),
}

#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) model: &'static str,
    pub(super) estimate: Amounts,
    /// What it will have used; `None` when it fails.
    pub(super) used: Option<Amounts>,
}

/// What the ledger has to say of a settled request.
#[derive(Clone, Debug)]
struct Settled {
    model: String,
    used: Amounts,
    unverified: bool,
}

pub(super) struct WatchedEdge {
    pub(super) is_alive: bool,
    pub(super) book: EdgeBook,
    settings: EdgeSettings,
    /// When to do what is due; monotonic ms.
    pub(super) wake_ms: u64,
    pub(super) outgoing: Vec<Call>,
    pub(super) waiting: BTreeMap<TicketId, Wanted>,
    pub(super) open: Vec<(Reservation, Option<Amounts>)>,
    settled: BTreeMap<EntryId, Settled>,
    /// Asks under way, with when they were sent.
    asks: BTreeMap<String, (AllowanceId, u64)>,
    report: Option<u64>,
    silent_since_ms: BTreeMap<String, u64>,
    /// The largest that the edge was told.
    budgets: BTreeMap<String, Amounts>,
    unverified: BTreeMap<(String, u64), Amounts>,
    /// Until when each allowance may be used; monotonic ms.
    pub(super) accepted: BTreeMap<AllowanceId, u64>,
    ids: u128,
    tickets: u64,
    pub(super) seen: Seen,
}

impl WatchedEdge {
    pub(super) fn new(number: usize, settings: EdgeSettings) -> WatchedEdge {
        WatchedEdge {
            is_alive: true,
            book: EdgeBook::new(&format!("edge-{number}"), settings),
            settings,
            wake_ms: u64::MAX,
            outgoing: Vec::new(),
            waiting: BTreeMap::new(),
            open: Vec::new(),
            settled: BTreeMap::new(),
            asks: BTreeMap::new(),
            report: None,
            silent_since_ms: BTreeMap::new(),
            budgets: BTreeMap::new(),
            unverified: BTreeMap::new(),
            accepted: BTreeMap::new(),
            ids: (number as u128) << 64,
            tickets: 0,
            seen: Seen::new(),
        }
    }

    fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    pub(super) fn request(&mut self, at: Clocks, wanted: Wanted, rows: &Rows) -> Checked {
        self.tickets += 1;
        let (ticket, mut effects) = (TicketId(self.tickets), Vec::new());
        let (model, estimate, ids) = (wanted.model, wanted.estimate, &mut self.ids);
        let mut draw = || next(ids);
        let admission =
            self.book.reserve(at, TENANT, model, estimate, ticket, &mut draw, &mut effects);
        match admission {
            Admission::Reserved(reservation) => {
                let nobody_waits = self.waiting.values().all(|other| other.model != model);
                hold(nobody_waits, Invariant::InOrder, || format!("{reservation:?} came later"))?;
                self.reserved(at, reservation, wanted)?;
            }
            Admission::Waiting => _ = self.waiting.insert(ticket, wanted),
            Admission::Refused(refusal) => self.refused(&refusal),
        }
        self.heed(at, effects, rows)
    }

    fn refused(&mut self, refusal: &crate::Refusal) {
        self.saw(match refusal {
            crate::Refusal::UsedUp { .. } => "refused: used up",
            crate::Refusal::Unanswered { .. } => "refused: unanswered",
            crate::Refusal::Overloaded { .. } => "refused: overloaded",
        });
    }

    /// A request is admitted: on an allowance that is valid, or within what an outage allows.
    fn reserved(&mut self, at: Clocks, reservation: Reservation, wanted: Wanted) -> Checked {
        let Reservation { model, estimate, allowance, .. } = &reservation;
        hold(*estimate == wanted.estimate, Invariant::InOrder, || format!("{reservation:?}"))?;
        if let Some(id) = allowance {
            let until_ms = self.accepted.get(id).copied().unwrap_or(0);
            hold(at.now_ms < until_ms, Invariant::ExpiredIsNotUsed, || {
                format!("{reservation:?} at {}, valid until {until_ms}", at.now_ms)
            })?;
            self.saw("admitted");
        } else {
            let since_ms = self.silent_since_ms.get(model).copied().unwrap_or(0);
            let silent = self.silent_since_ms.contains_key(model);
            let in_time = at.now_ms - since_ms < self.settings.outage_ms;
            hold(silent && in_time, Invariant::OutageEnds, || {
                format!("{reservation:?} at {}, silent since {since_ms}", at.now_ms)
            })?;
            let minute = (model.clone(), at.wall_ms / 60_000);
            let sum = self.unverified.entry(minute).or_default();
            *sum = sum.plus(*estimate);
            let fallback = self.settings.outage_fallback;
            let budget = self.budgets.get(model).copied().unwrap_or(fallback);
            hold(budget.covers(*sum), Invariant::OutageIsBounded, || {
                format!("{reservation:?}: {sum:?} a minute, above {budget:?}")
            })?;
            self.saw("admitted in an outage");
        }
        self.open.push((reservation, wanted.used));
        Ok(())
    }

    pub(super) fn settle(&mut self, at: Clocks, pick: usize, rows: &Rows) -> Checked {
        if self.open.is_empty() {
            return Ok(());
        }
        let (reservation, used) = self.open.remove(pick % self.open.len());
        if let Some(used) = used {
            let (model, unverified) = (reservation.model.clone(), reservation.is_unverified());
            self.settled.insert(reservation.entry, Settled { model, used, unverified });
        }
        let mut effects = Vec::new();
        self.book.settle(at, &reservation, used, &mut effects);
        self.heed(at, effects, rows)
    }

    pub(super) fn give_up(&mut self, pick: usize) {
        if self.waiting.is_empty() {
            return;
        }
        let ticket = self.waiting.keys().nth(pick % self.waiting.len()).copied();
        if let Some((ticket, wanted)) = ticket.and_then(|ticket| self.waiting.remove_entry(&ticket))
        {
            self.book.give_up(TENANT, wanted.model, ticket);
            self.saw("given up");
        }
    }

    pub(super) fn answered(
        &mut self,
        at: Clocks,
        ask: &Ask,
        answer: Option<Result<Allowance, Exhausted>>,
        rows: &Rows,
    ) -> Checked {
        let asked = self.asks.get(&ask.model).copied();
        if let Some((_, asked_ms)) = asked.filter(|(id, _)| *id == ask.id) {
            self.asks.remove(&ask.model);
            if answer.is_some() {
                self.silent_since_ms.remove(&ask.model);
            } else {
                self.silent_since_ms.entry(ask.model.clone()).or_insert(at.now_ms);
            }
            if let Some(Ok(allowance)) = &answer {
                let budget = self.budgets.entry(ask.model.clone()).or_default();
                *budget = budget.at_least(allowance.outage_budget);
                self.accepted.insert(allowance.id, asked_ms + allowance.valid_ms);
            }
        } else {
            self.saw("late answer");
        }
        let (ids, mut effects) = (&mut self.ids, Vec::new());
        let mut draw = || next(ids);
        self.book.answered(at, TENANT, ask, answer, &mut draw, &mut effects);
        self.heed(at, effects, rows)
    }

    pub(super) fn reported(
        &mut self,
        at: Clocks,
        number: u64,
        written: bool,
        rows: &Rows,
    ) -> Checked {
        match self.report.take_if(|report| *report == number) {
            Some(_) if !written => self.saw("report failed"),
            Some(_) => {}
            None => self.saw("late word of a report"),
        }
        let mut effects = Vec::new();
        self.book.reported(at.now_ms, TENANT, number, written, &mut effects);
        self.heed(at, effects, rows)
    }

    pub(super) fn retire_all(&mut self, at: Clocks, rows: &Rows) -> Checked {
        let mut effects = Vec::new();
        self.book.retire_all(at.now_ms, &mut effects);
        self.heed(at, effects, rows)
    }

    pub(super) fn wake(&mut self, at: Clocks, rows: &Rows) -> Checked {
        let (ids, mut effects) = (&mut self.ids, Vec::new());
        let mut draw = || next(ids);
        let due_ms = self.book.wake(at, &mut draw, &mut effects);
        self.wake_ms = due_ms.map_or(u64::MAX, |due_ms| due_ms.max(at.now_ms + 1));
        self.heed(at, effects, rows)
    }

    fn heed(&mut self, at: Clocks, effects: Vec<EdgeEffect>, rows: &Rows) -> Checked {
        for effect in effects {
            match effect {
                EdgeEffect::Ask { ask, .. } => {
                    let before = self.asks.insert(ask.model.clone(), (ask.id, at.now_ms));
                    hold(before.is_none(), Invariant::OneAtATime, || format!("{ask:?}"))?;
                    self.outgoing.push(Call::Ask(ask));
                }
                EdgeEffect::Report { report, .. } => {
                    let before = self.report.replace(report.number);
                    hold(before.is_none(), Invariant::OneAtATime, || format!("{report:?}"))?;
                    self.outgoing.push(Call::Report(report));
                }
                EdgeEffect::Admit { ticket, reservation } => {
                    let model = &reservation.model;
                    let mut line = self.waiting.iter().filter(|(_, other)| other.model == *model);
                    let first = line.next().map(|(ticket, _)| *ticket);
                    hold(first == Some(ticket), Invariant::InOrder, || {
                        format!("{ticket:?} is admitted before {first:?}")
                    })?;
                    if let Some(wanted) = self.waiting.remove(&ticket) {
                        self.reserved(at, reservation, wanted)?;
                    }
                }
                EdgeEffect::Refuse { ticket, refusal } => {
                    let waited = self.waiting.remove(&ticket).is_some();
                    hold(waited, Invariant::InOrder, || format!("{ticket:?} does not wait"))?;
                    self.refused(&refusal);
                }
                EdgeEffect::Written { entries } => {
                    for id in entries {
                        self.check_row(id, rows)?;
                    }
                }
                EdgeEffect::Outage { model, began, .. } => {
                    let silent = self.silent_since_ms.contains_key(&model);
                    hold(silent == began, Invariant::OutageEnds, || format!("{model} {began}"))?;
                    self.saw(if began { "outage begins" } else { "outage ends" });
                }
            }
        }
        Ok(())
    }

    /// The row of one settled request.
    fn check_row(&mut self, id: EntryId, rows: &Rows) -> Checked {
        let (settled, row) = (self.settled.get(&id), rows.ledger.get(&id));
        hold(row.is_some(), Invariant::WrittenIsWritten, || format!("{settled:?} is not"))?;
        let told = settled.zip(row).is_some_and(|(settled, row)| {
            settled.model == row.model
                && settled.used == row.used
                && settled.unverified == row.unverified
        });
        let uncovered = row.is_some_and(|row| !row.unverified && !row.uncovered.is_zero());
        hold(told, Invariant::LedgerTellsTheTruth, || format!("{settled:?} became {row:?}"))?;
        if uncovered {
            self.saw("used more than the allowance");
        }
        Ok(())
    }

    /// At the end: a row for each settled request.
    pub(super) fn check_ledger(&mut self, rows: &Rows) -> Checked {
        let ids: Vec<EntryId> = self.settled.keys().copied().collect();
        ids.into_iter().try_for_each(|id| self.check_row(id, rows))
    }

    /// Whether this edge settled a request of this row.
    pub(super) fn has_settled(&self, id: EntryId) -> bool {
        self.settled.contains_key(&id)
    }
}

fn next(ids: &mut u128) -> u128 {
    *ids += 1;
    *ids
}
