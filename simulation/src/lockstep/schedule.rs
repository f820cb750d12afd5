//! The schedule of faults: data, drawn from the seed, that a shrinker may thin out.

use std::fmt;

use super::chance::Chance;
use super::scenario::{FaultKind, Scenario};

/// A fault earlier than this would hit nodes that still start.
const FIRST_FAULT_MS: u64 = 300;
/// The longest that one fault lasts.
const FAULT_MS_MAX: u64 = 6_000;

/// One fault with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduledFault {
    /// Stays the same when other faults are left out, and names the fault's stream of chance.
    pub id: u32,
    pub from_ms: u64,
    pub until_ms: u64,
    pub strike: Strike,
}

/// What a fault does; nodes are counted from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strike {
    Partition {
        a: usize,
        b: usize,
    },
    Isolate {
        node: usize,
    },
    OneWay {
        from: usize,
        to: usize,
    },
    /// `messages_first`: whether the thawed node meets what arrived before its overdue timers.
    Freeze {
        node: usize,
        messages_first: bool,
    },
    Kill {
        node: usize,
    },
    /// Moves a wall clock.
    Skew {
        node: usize,
        offset_ms: i64,
    },
    StoreSlow {
        percent: u64,
        most_ms: u64,
    },
    StoreConflict {
        percent: u64,
    },
    StoreTooOld {
        percent: u64,
    },
    StoreUnknownCommitted {
        percent: u64,
    },
    StoreUnknownLost {
        percent: u64,
    },
    StoreOutage,
    StoreCut {
        node: usize,
    },
}

impl ScheduledFault {
    pub fn is_active(&self, now_ms: u64) -> bool {
        (self.from_ms..self.until_ms).contains(&now_ms)
    }

    /// The nodes it strikes, for the timeline.
    pub fn nodes(&self) -> Vec<usize> {
        match self.strike {
            Strike::Partition { a, b } => vec![a, b],
            Strike::OneWay { from, to } => vec![from, to],
            Strike::Isolate { node }
            | Strike::Freeze { node, .. }
            | Strike::Kill { node }
            | Strike::Skew { node, .. }
            | Strike::StoreCut { node } => vec![node],
            _ => Vec::new(),
        }
    }
}

/// Draws a seed's faults: each kind of the scenario by lot, then how often, when and whom. Each
/// fault has a stream of its own.
pub fn draw(scenario: &Scenario, seed: u64) -> Vec<ScheduledFault> {
    let mut choice = Chance::of(seed, "faults");
    let mut chosen: Vec<FaultKind> =
        scenario.faults.iter().copied().filter(|_| choice.percent(50)).collect();
    if chosen.is_empty() && !scenario.faults.is_empty() {
        chosen.push(scenario.faults[choice.place(scenario.faults.len())]);
    }
    let mut faults = Vec::new();
    for kind in chosen {
        let mut chance = Chance::of(seed, &format!("fault {kind:?}"));
        let times = match kind {
            FaultKind::ClockSkew => scenario.nodes as u64,
            _ => chance.between(1, 1 + scenario.heal_ms / 5_000),
        };
        for time in 0..times {
            let mut chance = Chance::of(seed, &format!("fault {kind:?} {time}"));
            if let Some(fault) = draw_one(kind, time as usize, scenario, &mut chance) {
                faults.push(fault);
            }
        }
    }
    faults.sort_by_key(|fault| (fault.from_ms, fault.until_ms));
    for (id, fault) in faults.iter_mut().enumerate() {
        fault.id = id as u32;
    }
    faults
}

fn draw_one(
    kind: FaultKind,
    time: usize,
    scenario: &Scenario,
    chance: &mut Chance,
) -> Option<ScheduledFault> {
    let strike = draw_strike(kind, time, scenario, chance)?;
    if kind == FaultKind::ClockSkew {
        return Some(ScheduledFault { id: 0, from_ms: 0, until_ms: scenario.duration_ms, strike });
    }
    let latest_ms = scenario.heal_ms.checked_sub(scenario.tick_ms)?;
    let from_ms = chance.between(FIRST_FAULT_MS.min(latest_ms), latest_ms);
    // Half of them end before a link's idle timeout, half after it.
    let length_ms = match chance.percent(50) {
        true => chance.between(scenario.tick_ms.max(50), 1_900),
        false => chance.between(2_100, FAULT_MS_MAX),
    };
    let until_ms = (from_ms + length_ms).min(scenario.heal_ms);
    Some(ScheduledFault { id: 0, from_ms, until_ms, strike })
}

fn draw_strike(
    kind: FaultKind,
    time: usize,
    scenario: &Scenario,
    chance: &mut Chance,
) -> Option<Strike> {
    let node = chance.place(scenario.nodes);
    let other = (node + 1 + chance.place(scenario.nodes.saturating_sub(1))) % scenario.nodes;
    let percent = chance.between(5, 60);
    let has_pair = scenario.nodes > 1;
    Some(match kind {
        FaultKind::Partition if has_pair => Strike::Partition { a: node, b: other },
        FaultKind::Isolate if has_pair => Strike::Isolate { node },
        FaultKind::OneWay if has_pair => Strike::OneWay { from: node, to: other },
        FaultKind::Partition | FaultKind::Isolate | FaultKind::OneWay => return None,
        FaultKind::Freeze => Strike::Freeze { node, messages_first: chance.percent(50) },
        FaultKind::Kill => Strike::Kill { node },
        FaultKind::ClockSkew => {
            let most_ms = scenario.max_skew_ms / 2;
            let offset_ms = chance.between(0, 2 * most_ms) as i64 - most_ms as i64;
            Strike::Skew { node: time, offset_ms }
        }
        FaultKind::SkewBeyond => {
            let size_ms = chance.between(scenario.max_skew_ms + 1, scenario.max_skew_ms + 10_000);
            let sign = if chance.percent(50) { 1 } else { -1 };
            Strike::Skew { node, offset_ms: sign * size_ms as i64 }
        }
        FaultKind::StoreSlow => Strike::StoreSlow { percent, most_ms: chance.between(20, 2_500) },
        FaultKind::StoreConflict => Strike::StoreConflict { percent },
        FaultKind::StoreTooOld => Strike::StoreTooOld { percent },
        FaultKind::StoreUnknownCommitted => Strike::StoreUnknownCommitted { percent },
        FaultKind::StoreUnknownLost => Strike::StoreUnknownLost { percent },
        FaultKind::StoreOutage => Strike::StoreOutage,
        FaultKind::StoreCut => Strike::StoreCut { node },
    })
}

impl fmt::Display for ScheduledFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({} to {} ms)", self.strike, self.from_ms, self.until_ms)
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Strike::Partition { a, b } => write!(out, "partition n{} | n{}", a + 1, b + 1),
            Strike::Isolate { node } => write!(out, "isolate n{}", node + 1),
            Strike::OneWay { from, to } => {
                write!(out, "nothing passes n{} -> n{}", from + 1, to + 1)
            }
            Strike::Freeze { node, messages_first } => {
                let first = if *messages_first { "messages" } else { "timers" };
                write!(out, "freeze n{}, {first} first", node + 1)
            }
            Strike::Kill { node } => write!(out, "kill n{}", node + 1),
            Strike::Skew { node, offset_ms } => {
                write!(out, "wall clock of n{} off by {offset_ms:+} ms", node + 1)
            }
            Strike::StoreSlow { percent, most_ms } => {
                write!(out, "store slow, {percent} % of steps up to {most_ms} ms")
            }
            Strike::StoreConflict { percent } => write!(out, "store conflicts, {percent} %"),
            Strike::StoreTooOld { percent } => write!(out, "store says too old, {percent} %"),
            Strike::StoreUnknownCommitted { percent } => {
                write!(out, "store commits but does not say so, {percent} %")
            }
            Strike::StoreUnknownLost { percent } => {
                write!(out, "store loses commits and does not say so, {percent} %")
            }
            Strike::StoreOutage => out.write_str("store down"),
            Strike::StoreCut { node } => write!(out, "nothing passes n{} - store", node + 1),
        }
    }
}

impl Strike {
    /// The kind's name, for counts.
    pub fn name(&self) -> &'static str {
        match self {
            Strike::Partition { .. } => "partition",
            Strike::Isolate { .. } => "isolate",
            Strike::OneWay { .. } => "one way",
            Strike::Freeze { .. } => "freeze",
            Strike::Kill { .. } => "kill",
            Strike::Skew { .. } => "skew",
            Strike::StoreSlow { .. } => "store slow",
            Strike::StoreConflict { .. } => "store conflict",
            Strike::StoreTooOld { .. } => "store too old",
            Strike::StoreUnknownCommitted { .. } => "store unknown, committed",
            Strike::StoreUnknownLost { .. } => "store unknown, lost",
            Strike::StoreOutage => "store outage",
            Strike::StoreCut { .. } => "store cut",
        }
    }
}
