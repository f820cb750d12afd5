//! The invariants, and the books that the simulation keeps beside the code's own.

use std::collections::BTreeMap;
use std::fmt;

use crate::{
    Allowance, AllowanceId, AllowanceRecord, AllowanceReturn, Amounts, Ask, Books, CounterKey,
    Entry, EntryId, Exhausted, Limits, Unit, Window,
};

/// 2024-03-01T00:00:00Z, the day after a leap day. The simulated time lies around it.
pub(super) const MARCH_2024_MS: u64 = 1_709_251_200_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Invariant {
    /// Each counter is what was granted, less what came back, with what nothing covered.
    CountersAddUp,
    /// A grant takes no counter above its limit.
    WithinLimit,
    /// A grant is no less than the need, and over before its windows are.
    GrantIsOfUse,
    /// The same ask gets the same answer.
    SameAnswer,
    /// A limit that is said to be used up is used up.
    UsedUpIsTrue,
    /// What was used out of an allowance and what came back are no more than it held.
    AllowanceHolds,
    /// At the end an allowance was used or came back, to the last token.
    NothingLeaks,
    /// Nothing is admitted on an allowance whose time is over.
    ExpiredIsNotUsed,
    /// An edge that nobody answers admits no more a minute than its budget.
    OutageIsBounded,
    /// An edge admits by itself only while nobody answers, and only so long.
    OutageEnds,
    /// A ledger row is a request that ran: its model, what it used, and whether it was verified.
    LedgerTellsTheTruth,
    /// A request has one row in the ledger.
    LedgerHasItOnce,
    /// An edge is told that an entry is written down only when it is.
    WrittenIsWritten,
    /// For one edge and model one ask is under way, and one report of an edge.
    OneAtATime,
    /// Those who wait are admitted in their order, and only they.
    InOrder,
    /// Once the owner answers again nothing waits, and all is told.
    NothingWaits,
}

#[derive(Debug)]
pub(super) struct Violation {
    pub(super) invariant: Invariant,
    detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?} is broken: {}", self.invariant, self.detail)
    }
}

pub(super) type Checked<T = ()> = Result<T, Violation>;

pub(super) fn hold(
    holds: bool,
    invariant: Invariant,
    detail: impl FnOnce() -> String,
) -> Checked<()> {
    match holds {
        true => Ok(()),
        false => Err(Violation { invariant, detail: detail() }),
    }
}

/// All that is known of the allowances that had one id.
#[derive(Clone, Debug)]
pub(super) struct Granted {
    /// The last, and the counters that it came from.
    allowance: Allowance,
    counters: Vec<CounterKey>,
    is_out: bool,
    /// More than once when a copy of the ask arrives after the return.
    times: u32,
    given: Amounts,
    back: Amounts,
    used: Amounts,
}

/// The second set of books.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    counters: BTreeMap<CounterKey, u64>,
    granted: BTreeMap<AllowanceId, Granted>,
    charged: BTreeMap<EntryId, Entry>,
}

/// The number of a window, found without the code under test.
fn index(window: Window, wall_ms: u64) -> u64 {
    match window {
        Window::Minute => wall_ms / 60_000,
        Window::Day => wall_ms / 86_400_000,
        Window::Month => 2024 * 12 + if wall_ms < MARCH_2024_MS { 1 } else { 2 },
    }
}

fn counters(limits: &Limits, model: &str, wall_ms: u64) -> Vec<(CounterKey, u64)> {
    let mut found = Vec::new();
    for limit in &limits.limits {
        if limit.model.is_none() || limit.model.as_deref() == Some(model) {
            let (model, unit, window) = (limit.model.clone(), limit.unit, limit.window);
            let index = index(window, wall_ms);
            found.push((CounterKey { model, unit, window, index }, limit.amount));
        }
    }
    found
}

impl Accounts {
    fn counter(&self, key: &CounterKey) -> u64 {
        self.counters.get(key).copied().unwrap_or(0)
    }

    fn raise<'a>(&mut self, keys: impl Iterator<Item = &'a CounterKey>, by: Amounts) {
        for key in keys {
            *self.counters.entry(key.clone()).or_default() += by.get(key.unit);
        }
    }

    /// An owner's transaction answered an ask.
    pub(super) fn asked(
        &mut self,
        limits: &Limits,
        ask: &Ask,
        result: &Result<AllowanceRecord, Exhausted>,
        wall_ms: u64,
    ) -> Checked {
        let record = match result {
            Ok(record) => record,
            Err(exhausted) => return self.check_used_up(limits, ask, exhausted, wall_ms),
        };
        let allowance = &record.allowance;
        if let Some(known) = self.granted.get(&ask.id).filter(|known| known.is_out) {
            return hold(known.allowance == *allowance, Invariant::SameAnswer, || {
                format!("{:?} and then {allowance:?}", known.allowance)
            });
        }
        let keys = counters(limits, &ask.model, wall_ms);
        for (key, amount) in &keys {
            let given = allowance.amounts.get(key.unit);
            let sum = self.counter(key).saturating_add(given);
            hold(given == 0 || sum <= *amount, Invariant::WithinLimit, || {
                format!("{key:?} rises by {given} to {sum}, above {amount}")
            })?;
            let ends_in_time = index(key.window, wall_ms + allowance.valid_ms - 1) == key.index;
            let suffices = given >= ask.need.get(key.unit);
            hold(ends_in_time && suffices, Invariant::GrantIsOfUse, || {
                format!("{ask:?} got {allowance:?} at {wall_ms}")
            })?;
        }
        let keys: Vec<CounterKey> = keys.into_iter().map(|(key, _)| key).collect();
        self.raise(keys.iter(), allowance.amounts);
        let before = self.granted.remove(&ask.id);
        let granted = Granted {
            allowance: allowance.clone(),
            counters: keys,
            is_out: true,
            times: before.as_ref().map_or(1, |before| before.times + 1),
            given: allowance.amounts.plus(before.as_ref().map_or(Amounts::ZERO, |one| one.given)),
            back: before.as_ref().map_or(Amounts::ZERO, |before| before.back),
            used: before.as_ref().map_or(Amounts::ZERO, |before| before.used),
        };
        self.granted.insert(ask.id, granted);
        Ok(())
    }

    /// An owner says that a limit is used up, from its transaction or from memory.
    pub(super) fn check_used_up(
        &self,
        limits: &Limits,
        ask: &Ask,
        said: &Exhausted,
        wall_ms: u64,
    ) -> Checked {
        let key = |limit: &crate::Limit| {
            let (model, unit, window) = (limit.model.clone(), limit.unit, limit.window);
            CounterKey { model, unit, window, index: index(window, wall_ms) }
        };
        let said_key = key(&said.limit);
        let found = counters(limits, &ask.model, wall_ms);
        let short = found.iter().any(|(key, amount)| {
            let left = amount.saturating_sub(self.counter(key));
            *key == said_key && left < ask.need.get(key.unit) && left <= said.remaining
        });
        hold(short, Invariant::UsedUpIsTrue, || {
            format!("{said:?} for {ask:?}; counted {}", self.counter(&said_key))
        })
    }

    /// An owner's transaction took in an entry, for the first time or again.
    pub(super) fn charged(&mut self, limits: &Limits, entry: &Entry, wall_ms: u64) -> Checked {
        if let Some(first) = self.charged.insert(entry.id, entry.clone()) {
            return hold(first == *entry, Invariant::LedgerTellsTheTruth, || {
                format!("{first:?} came again as {entry:?}")
            });
        }
        let keys = counters(limits, &entry.model, wall_ms);
        self.raise(keys.iter().map(|(key, _)| key), entry.uncovered);
        let Some(id) = entry.allowance else {
            return hold(entry.used == entry.uncovered, Invariant::LedgerTellsTheTruth, || {
                format!("{entry:?} has no allowance and is partly covered")
            });
        };
        let Some(granted) = self.granted.get_mut(&id) else {
            return hold(false, Invariant::AllowanceHolds, || format!("{entry:?} has none"));
        };
        granted.used = granted.used.plus(entry.used.minus(entry.uncovered));
        self.check_allowance(id)
    }

    /// An owner's transaction took in a return.
    pub(super) fn returned(&mut self, given_back: &AllowanceReturn) -> Checked {
        let id = given_back.id;
        let Some(granted) = self.granted.get_mut(&id).filter(|known| known.is_out) else {
            return Ok(());
        };
        granted.is_out = false;
        let unused = given_back.unused.at_most(granted.allowance.amounts);
        granted.back = granted.back.plus(unused);
        for key in &granted.counters {
            let counter = self.counters.entry(key.clone()).or_default();
            *counter = counter.saturating_sub(unused.get(key.unit));
        }
        self.check_allowance(id)
    }

    fn check_allowance(&self, id: AllowanceId) -> Checked {
        let Some(granted) = self.granted.get(&id) else { return Ok(()) };
        let holds = Unit::ALL.into_iter().all(|unit| {
            let given = granted.given.get(unit);
            let gone = granted.used.get(unit).saturating_add(granted.back.get(unit));
            given == Amounts::UNLIMITED || gone <= given
        });
        hold(holds, Invariant::AllowanceHolds, || format!("{granted:?}"))
    }

    /// The rows against these books, after every transaction.
    pub(super) fn check_counters(&self, books: &Books) -> Checked {
        let filled = |counters: &BTreeMap<CounterKey, u64>| {
            let mut counters = counters.clone();
            counters.retain(|_, counted| *counted > 0);
            counters
        };
        let (rows, own) = (filled(&books.counters), filled(&self.counters));
        hold(rows == own, Invariant::CountersAddUp, || format!("rows {rows:?}, but {own:?}"))
    }

    /// An allowance that its edge held until it could give it back.
    pub(super) fn check_nothing_leaks(&self, id: AllowanceId) -> Checked {
        let Some(granted) = self.granted.get(&id).filter(|known| known.times == 1) else {
            return Ok(());
        };
        let spent = Unit::ALL.into_iter().all(|unit| {
            let given = granted.given.get(unit);
            given == Amounts::UNLIMITED || granted.used.get(unit) + granted.back.get(unit) == given
        });
        hold(spent && !granted.is_out, Invariant::NothingLeaks, || format!("{granted:?}"))
    }
}
