//! One tenant's rows as the commits left them, and what must hold between them after each.

use std::collections::{BTreeMap, BTreeSet};

use headwater_actors::tenancy::{LedgerRow, RowKey, RowValue};
use headwater_tenancy::{
    AllowanceId, AllowanceRecord, Amounts, CounterKey, EntryId, Limit, Limits, Unit, Window,
};

/// A broken rule: the invariant and what was seen.
pub(super) type Broken = (&'static str, String);

/// A limit without its amount: model, unit, window.
type LimitKey = (Option<String>, Unit, Window);

/// An allowance that was once granted.
pub(super) struct Granted {
    pub(super) record: AllowanceRecord,
    /// When the grant was committed, in virtual ms.
    pub(super) at_ms: u64,
    out: bool,
    /// What entries used of it.
    covered: Amounts,
    /// What came back before a late copy of its ask was granted anew. No edge heard of that
    /// grant, and a late copy of the return gives back the same.
    unused_before: Option<Amounts>,
}

impl Granted {
    /// Whether a late copy of its ask was granted after it had come back.
    pub(super) fn is_repeated(&self) -> bool {
        self.unused_before.is_some()
    }

    fn unused(&self) -> Amounts {
        let amounts = self.record.allowance.amounts;
        match self.unused_before {
            Some(before) => before.at_most(amounts),
            None => amounts.minus(self.covered),
        }
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct TenantBook {
    /// With the virtual times of their commits.
    revisions: Vec<(u64, Limits)>,
    counters: BTreeMap<CounterKey, u64>,
    /// Those that the last commit raised.
    risen: Vec<(CounterKey, u64)>,
    allowances: BTreeMap<AllowanceId, Granted>,
    entries: BTreeSet<EntryId>,
    /// Numbers of the requests that are written.
    tags: BTreeSet<u64>,
    usage: BTreeMap<(u64, String), Amounts>,
    /// The sums of the entries.
    sums: BTreeMap<(u64, String), Amounts>,
    /// Handed out and not given back, by limit and window.
    held: BTreeMap<CounterKey, u64>,
    /// What the counters of a limit must add up to.
    expected: BTreeMap<LimitKey, i128>,
    counted: BTreeMap<LimitKey, i128>,
    sequence: u64,
    epoch: u64,
    /// Which process wrote with which epoch.
    writers: BTreeMap<u64, u64>,
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Whether the limit counts requests to this model.
fn counts(limit: &Limit, model: &str) -> bool {
    limit.model.as_deref().is_none_or(|limited| limited == model)
}

fn limit_key(limit: &Limit) -> LimitKey {
    (limit.model.clone(), limit.unit, limit.window)
}

/// A commit by one process at one instant.
pub(super) struct At {
    pub(super) life: u64,
    pub(super) now_ms: u64,
    /// What to add to virtual ms for ms since 1970.
    pub(super) base_ms: u64,
    /// By how much a clock may differ from that, in ms.
    pub(super) skew_ms: u64,
}

impl TenantBook {
    /// The limits in force.
    pub(super) fn limits(&self) -> Option<&Limits> {
        self.revisions.last().map(|(_, limits)| limits)
    }

    pub(super) fn has(&self, tag: u64) -> bool {
        self.tags.contains(&tag)
    }

    pub(super) fn allowance(&self, id: AllowanceId) -> Option<&Granted> {
        self.allowances.get(&id)
    }

    /// Allowances granted since then that did not come back, by their edge.
    pub(super) fn out_since(&self, since_ms: u64) -> Vec<(String, AllowanceId)> {
        let out = self.allowances.iter().filter(|(_, one)| one.out && one.at_ms >= since_ms);
        out.map(|(id, one)| (one.record.edge.clone(), *id)).collect()
    }

    /// The most of each unit that an edge may admit by itself in a minute, over all limits that
    /// were in force.
    pub(super) fn outage_budget(&self, model: &str, percent: u64, fallback: Amounts) -> Amounts {
        let budget = |limits: &Limits| {
            let mut budget = Amounts { requests: u64::MAX, tokens: u64::MAX, micro_usd: u64::MAX };
            for limit in limits.limits.iter().filter(|limit| counts(limit, model)) {
                let share = limit.amount * percent / 100;
                budget.set(limit.unit, budget.get(limit.unit).min(share));
            }
            budget
        };
        if self.revisions.is_empty() {
            return budget(&Limits::default());
        }
        let all = self.revisions.iter().map(|(_, limits)| budget(limits));
        all.fold(fallback, Amounts::at_least)
    }

    /// The counters that the last commit raised.
    pub(super) fn risen(&self) -> &[(CounterKey, u64)] {
        &self.risen
    }

    /// Takes in what one commit wrote of this tenant.
    pub(super) fn take(
        &mut self,
        at: &At,
        writes: &[(RowKey, Option<RowValue>)],
        broken: &mut Vec<Broken>,
    ) {
        self.risen.clear();
        for (key, value) in writes {
            if let (RowKey::Limits, Some(RowValue::Limits(limits))) = (key, value) {
                self.revisions.push((at.now_ms, limits.clone()));
            }
        }
        for (_, value) in writes {
            if let Some(RowValue::Allowance(record)) = value {
                self.granted(at, record, broken);
            }
        }
        for (_, value) in writes {
            if let Some(RowValue::Entry(row)) = value {
                self.charged(row, broken);
            }
        }
        for (key, value) in writes {
            if let (RowKey::Allowance(id), None) = (key, value) {
                self.returned(*id);
            }
        }
        for (key, value) in writes {
            match (key, value) {
                (RowKey::Counter(counter), Some(RowValue::Counter(count))) => {
                    let before = self.counters.insert(counter.clone(), *count).unwrap_or(0);
                    if *count > before {
                        self.risen.push((counter.clone(), *count));
                    }
                    let of = (counter.model.clone(), counter.unit, counter.window);
                    let sum = self.counted.entry(of).or_default();
                    *sum += i128::from(*count) - i128::from(before);
                }
                (RowKey::Usage { day, model }, Some(RowValue::Usage(sum))) => {
                    self.usage.insert((*day, model.clone()), *sum);
                }
                _ => {}
            }
        }
        self.in_order(at, writes, broken);
        self.check(at, broken);
    }

    fn windows(&self, record: &AllowanceRecord) -> Vec<CounterKey> {
        let limits = self.limits().map(|limits| limits.limits.as_slice()).unwrap_or_default();
        let counting = limits.iter().filter(|limit| counts(limit, &record.model));
        counting
            .map(|limit| CounterKey {
                model: limit.model.clone(),
                unit: limit.unit,
                window: limit.window,
                index: limit.window.index(record.granted_ms),
            })
            .collect()
    }

    fn granted(&mut self, at: &At, record: &AllowanceRecord, broken: &mut Vec<Broken>) {
        let id = record.allowance.id;
        let before = self.allowances.get(&id);
        if before.is_some_and(|before| before.out) {
            broken.push(("counters_match_the_books", format!("allowance {} twice", id.0)));
            return;
        }
        let unused_before = before.map(|before| before.unused());
        for key in self.windows(record) {
            let amount = record.allowance.amounts.get(key.unit);
            *self.expected.entry((key.model.clone(), key.unit, key.window)).or_default() +=
                i128::from(amount);
            let held = self.held.entry(key).or_default();
            *held = held.saturating_add(amount);
        }
        let (at_ms, record) = (at.now_ms, record.clone());
        let covered = Amounts::ZERO;
        let granted = Granted { record, at_ms, out: true, covered, unused_before };
        self.allowances.insert(id, granted);
    }

    fn returned(&mut self, id: AllowanceId) {
        let Some(granted) = self.allowances.get_mut(&id).filter(|granted| granted.out) else {
            return;
        };
        granted.out = false;
        let unused = granted.unused();
        let record = granted.record.clone();
        for key in self.windows(&record) {
            let amount = unused.get(key.unit);
            *self.expected.entry((key.model.clone(), key.unit, key.window)).or_default() -=
                i128::from(amount);
            let held = self.held.entry(key).or_default();
            *held = held.saturating_sub(amount);
        }
    }

    fn charged(&mut self, row: &LedgerRow, broken: &mut Vec<Broken>) {
        let entry = &row.entry;
        let tag = entry.used.micro_usd;
        if !self.entries.insert(entry.id) | !self.tags.insert(tag) {
            let seen = format!("request {tag} is written a second time");
            broken.push(("an_entry_is_in_the_ledger_once", seen));
            return;
        }
        let usage = self.sums.entry((entry.at_ms / DAY_MS, entry.model.clone())).or_default();
        *usage = usage.plus(entry.used);
        let limits = self.limits().map(|limits| limits.limits.clone()).unwrap_or_default();
        for limit in limits.iter().filter(|limit| counts(limit, &entry.model)) {
            *self.expected.entry(limit_key(limit)).or_default() +=
                i128::from(entry.uncovered.get(limit.unit));
        }
        let Some(id) = entry.allowance else { return };
        let Some(granted) = self.allowances.get_mut(&id) else {
            let seen = format!("request {tag} names allowance {}, which nobody granted", id.0);
            broken.push(("admitted_within_the_bound", seen));
            return;
        };
        let covered = entry.used.minus(entry.uncovered);
        granted.covered = granted.covered.plus(covered);
        if !granted.record.allowance.amounts.covers(granted.covered) {
            let amounts = granted.record.allowance.amounts;
            let seen = format!("an allowance of {amounts:?} covered {:?}", granted.covered);
            broken.push(("admitted_within_the_bound", seen));
        }
        if !granted.out {
            let record = granted.record.clone();
            for key in self.windows(&record) {
                let amount = covered.get(key.unit);
                *self.expected.entry((key.model.clone(), key.unit, key.window)).or_default() +=
                    i128::from(amount);
                let held = self.held.entry(key).or_default();
                *held = held.saturating_add(amount);
            }
        }
    }

    /// Later transactions have later epochs, and one process writes with one epoch.
    fn in_order(
        &mut self,
        at: &At,
        writes: &[(RowKey, Option<RowValue>)],
        broken: &mut Vec<Broken>,
    ) {
        let mut wrong = |seen: String| broken.push(("epochs_grow", seen));
        let rows = writes.iter().filter_map(|(_, value)| match value {
            Some(RowValue::Entry(row)) => Some((row.sequence, row.epoch)),
            _ => None,
        });
        let mut rows: Vec<(u64, u64)> = rows.collect();
        rows.dedup();
        let Some((sequence, epoch)) = rows.pop() else { return };
        if !rows.is_empty() {
            wrong(format!("one commit has the sequences and epochs {rows:?} and {sequence}"));
        }
        if sequence <= self.sequence || epoch < self.epoch {
            let last = (self.sequence, self.epoch);
            wrong(format!("sequence and epoch ({sequence}, {epoch}) follow {last:?}"));
        }
        (self.sequence, self.epoch) = (sequence.max(self.sequence), epoch.max(self.epoch));
        let writer = *self.writers.entry(epoch).or_insert(at.life);
        if writer != at.life {
            wrong(format!("processes {writer} and {} both write with epoch {epoch}", at.life));
        }
    }

    fn check(&self, at: &At, broken: &mut Vec<Broken>) {
        for (key, held) in &self.held {
            let bound = self.bound(key, at);
            if *held > bound {
                let seen = format!("{key:?}: {held} are held, the limit is {bound}");
                broken.push(("admitted_within_the_bound", seen));
            }
        }
        for (limit, expected) in &self.expected {
            let counted = self.counted.get(limit).copied().unwrap_or(0);
            if counted != *expected {
                let seen = format!("{limit:?}: counted {counted}, handed out {expected}");
                broken.push(("counters_match_the_books", seen));
            }
        }
        if self.usage != self.sums {
            let seen = format!("usage {:?}, sums {:?}", self.usage, self.sums);
            broken.push(("usage_is_the_sum_of_the_ledger", seen));
        }
    }

    /// The largest amount of the limit that was in force in this window.
    fn bound(&self, key: &CounterKey, at: &At) -> u64 {
        let start_ms = match key.index.checked_sub(1) {
            Some(before) => key.window.end_ms(before),
            None => 0,
        };
        let start_ms = start_ms.saturating_sub(at.base_ms + at.skew_ms);
        let later = self.revisions.iter().rposition(|(since_ms, _)| *since_ms <= start_ms);
        let of = (key.model.clone(), key.unit, key.window);
        let in_force = self.revisions[later.unwrap_or(0)..].iter();
        let amounts = in_force
            .flat_map(|(_, limits)| limits.limits.iter().filter(|limit| limit_key(limit) == of))
            .map(|limit| limit.amount);
        amounts.max().unwrap_or(u64::MAX)
    }
}
