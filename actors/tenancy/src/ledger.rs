//! The arithmetic of one owner's transaction: what the rows hold before it, and after it.
//!
//! Every function here is idempotent by the id that its input carries, given that the rows it
//! reads and writes are read and written in one transaction.

use std::collections::BTreeMap;

use crate::amounts::{Amounts, Unit};
use crate::limits::{Limit, Limits, Window};
use crate::mutants::{Mutant, planted};

/// Names one allowance for ever; drawn by the edge that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AllowanceId(pub u128);

/// Names one admitted request for ever; drawn by the edge that admits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId(pub u128);

/// The row that counts what was handed out of one limit in one window.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CounterKey {
    pub model: Option<String>,
    pub unit: Unit,
    pub window: Window,
    pub index: u64,
}

impl CounterKey {
    /// The row of a limit at this time, in ms since 1970.
    pub fn of(limit: &Limit, wall_ms: u64) -> CounterKey {
        let index = match planted(Mutant::WindowNeverEnds) {
            true => 0,
            false => limit.window.index(wall_ms),
        };
        let Limit { model, unit, window, .. } = limit;
        CounterKey { model: model.clone(), unit: *unit, window: *window, index }
    }
}

/// An edge asks for a part of the limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub id: AllowanceId,
    /// The asking node's name.
    pub edge: String,
    pub model: String,
    /// Less than this is of no use.
    pub need: Amounts,
    /// More than this is not asked for.
    pub want: Amounts,
}

/// How the tightest limit of a unit stood when its owner last handed something out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub unit: Unit,
    /// The whole limit.
    pub amount: u64,
    /// What nobody has of it.
    pub remaining: u64,
    /// When its window ends, in ms from then.
    pub resets_in_ms: u64,
}

/// A part of the limits, handed to one edge for one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    pub id: AllowanceId,
    pub amounts: Amounts,
    /// How long after its asking it may be used, in ms.
    pub valid_ms: u64,
    /// What the edge may admit by itself in one minute should nobody answer it any more.
    pub outage_budget: Amounts,
    /// Revision of the limits that it was taken from.
    pub revision: u64,
    /// For clients who want to know; of each unit that is limited, in the order of units. Empty
    /// when the ask was a repetition.
    pub standing: Vec<Standing>,
}

/// What the store keeps of an allowance until it comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowanceRecord {
    pub allowance: Allowance,
    pub edge: String,
    pub model: String,
    /// The counters that it was taken from.
    pub counters: Vec<CounterKey>,
    /// When it was granted, in ms since 1970.
    pub granted_ms: u64,
}

/// An allowance comes back: its time is over, or a larger one took its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowanceReturn {
    pub id: AllowanceId,
    pub unused: Amounts,
}

/// One admitted request, as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: EntryId,
    pub model: String,
    /// What was really used.
    pub used: Amounts,
    /// The part of `used` that no allowance covered.
    pub uncovered: Amounts,
    /// Admitted in an outage, without anybody's word.
    pub unverified: bool,
    /// The allowance that covered it.
    pub allowance: Option<AllowanceId>,
    /// On the edge's clock, in ms since 1970.
    pub at_ms: u64,
}

/// The rows of one tenant that a grant reads and writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books {
    pub limits: Limits,
    /// What was handed out; rows that are absent count as zero.
    pub counters: BTreeMap<CounterKey, u64>,
}

/// A grant is not cut below this part of the whole limit (1/32), while that is left.
const LEAST_SHARE: u64 = 32;

/// How an owner cuts the limits into parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantSettings {
    /// Longest life of an allowance, in ms.
    pub allowance_ms: u64,
    /// One grant takes at most this part of what is left (1/8 by default), or what is needed.
    pub share: u64,
    /// See [`Allowance::outage_budget`]: a percentage of the smallest limit of each unit.
    pub outage_share_percent: u64,
}

impl Default for GrantSettings {
    fn default() -> Self {
        GrantSettings { allowance_ms: 2_000, share: 8, outage_share_percent: 10 }
    }
}

/// Why nothing can be handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// The limit that is in the way.
    pub limit: Limit,
    /// What is left of it.
    pub remaining: u64,
    /// When its window ends, in ms from now.
    pub resets_in_ms: u64,
}

/// Takes a part out of the counters. `existing` is the row of the same id, if there is one: then
/// the ask is a repetition and gets the same answer.
///
/// # Errors
/// [`Exhausted`] when less than the need is left of some limit; nothing was changed.
pub fn grant(
    books: &mut Books,
    existing: Option<&AllowanceRecord>,
    ask: &Ask,
    wall_ms: u64,
    settings: &GrantSettings,
) -> Result<AllowanceRecord, Exhausted> {
    if let Some(record) = existing.filter(|_| !planted(Mutant::GrantTwice)) {
        return Ok(record.clone());
    }
    let limits: Vec<Limit> = books.limits.of_model(&ask.model).cloned().collect();
    let mut amounts = Amounts { requests: u64::MAX, tokens: u64::MAX, micro_usd: u64::MAX };
    let mut outage_budget = amounts;
    let mut valid_ms = settings.allowance_ms;
    for limit in &limits {
        let key = CounterKey::of(limit, wall_ms);
        let counted = books.counters.get(&key).copied().unwrap_or(0);
        let remaining = limit.amount.saturating_sub(counted);
        let resets_in_ms = limit.window.end_ms(limit.window.index(wall_ms)).saturating_sub(wall_ms);
        let need = ask.need.get(limit.unit);
        if remaining < need && !(planted(Mutant::LastGrantTooLarge) && remaining > 0) {
            return Err(Exhausted { limit: limit.clone(), remaining, resets_in_ms });
        }
        // Towards the end shares of the rest get so small that every request would ask anew.
        let least = (limit.amount / LEAST_SHARE).min(remaining);
        let fair = remaining.div_ceil(settings.share.max(1)).max(least);
        let given = ask.want.get(limit.unit).min(fair).max(need);
        let unit = limit.unit;
        amounts.set(unit, amounts.get(unit).min(given));
        valid_ms = valid_ms.min(resets_in_ms);
        // Every window counts, or a tenant with a limit a month would have no bound in an outage.
        let share = u128::from(limit.amount) * u128::from(settings.outage_share_percent) / 100;
        outage_budget.set(unit, outage_budget.get(unit).min(share as u64));
    }
    let counters: Vec<CounterKey> =
        limits.iter().map(|limit| CounterKey::of(limit, wall_ms)).collect();
    if !planted(Mutant::AllowanceNotCounted) {
        raise(books, &counters, amounts);
    }
    let revision = books.limits.revision;
    let standing = standing(books, &limits, wall_ms);
    let allowance = Allowance { id: ask.id, amounts, valid_ms, outage_budget, revision, standing };
    let (edge, model) = (ask.edge.clone(), ask.model.clone());
    Ok(AllowanceRecord { allowance, edge, model, counters, granted_ms: wall_ms })
}

/// Of each unit the limit that leaves the least.
fn standing(books: &Books, limits: &[Limit], wall_ms: u64) -> Vec<Standing> {
    let of = |limit: &Limit| {
        let key = CounterKey::of(limit, wall_ms);
        let counted = books.counters.get(&key).copied().unwrap_or(0);
        let end_ms = limit.window.end_ms(limit.window.index(wall_ms));
        Standing {
            unit: limit.unit,
            amount: limit.amount,
            remaining: limit.amount.saturating_sub(counted),
            resets_in_ms: end_ms.saturating_sub(wall_ms),
        }
    };
    let tightest = |unit: Unit| {
        let of_unit = limits.iter().filter(|limit| limit.unit == unit).map(of);
        of_unit.min_by_key(|standing| (standing.remaining, standing.amount))
    };
    Unit::ALL.into_iter().filter_map(tightest).collect()
}

fn raise(books: &mut Books, keys: &[CounterKey], by: Amounts) {
    for key in keys {
        let counter = books.counters.entry(key.clone()).or_default();
        *counter = counter.saturating_add(by.get(key.unit));
    }
}

/// Gives the unused part of an allowance back to the counters that it was taken from, and says
/// whether its record is to be dropped. Without a record it came back before: nothing happens.
pub fn apply_return(
    books: &mut Books,
    existing: Option<&AllowanceRecord>,
    given_back: &AllowanceReturn,
) -> bool {
    let Some(record) = existing else { return false };
    let unused = given_back.unused.at_most(record.allowance.amounts);
    for key in &record.counters {
        if let Some(counter) = books.counters.get_mut(key) {
            *counter = counter.saturating_sub(unused.get(key.unit));
        }
    }
    !planted(Mutant::ReturnTwice)
}

/// Counts what an entry used without an allowance. False when the entry stands in the ledger
/// already and must not be written again.
pub fn charge(books: &mut Books, stands_already: bool, entry: &Entry, wall_ms: u64) -> bool {
    if stands_already && !planted(Mutant::ChargeTwice) {
        return false;
    }
    if !entry.uncovered.is_zero() && !planted(Mutant::OverageForgotten) {
        let limits: Vec<CounterKey> = books
            .limits
            .of_model(&entry.model)
            .map(|limit| CounterKey::of(limit, wall_ms))
            .collect();
        raise(books, &limits, entry.uncovered);
    }
    true
}
