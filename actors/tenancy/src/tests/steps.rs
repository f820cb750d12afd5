//! What can happen in the simulation: drawn as numbers, so that a seed and proptest share it.

use super::{amounts, limit};
use crate::{Amounts, EdgeSettings, GrantSettings, Limits, OwnerSettings, Unit, Window};

pub(super) const MODELS: [&str; 2] = ["large", "small"];

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Arrives,
    /// It arrives, and a copy stays on the way.
    Twice,
    Lost,
}

/// What becomes of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Written,
    /// Written, but the store's answer is lost.
    Unknown,
    /// Not written, and the store does not answer.
    Failed,
    /// Another owner has the lease.
    Fenced,
}

/// One thing that happens. Picks are taken modulo what there is.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Request {
        edge: usize,
        model: &'static str,
        estimate: Amounts,
        used: Option<Amounts>,
    },
    /// One open request of an edge ends, or all of them.
    Settle {
        pick: usize,
        all: bool,
    },
    GiveUp {
        pick: usize,
    },
    Deliver {
        pick: usize,
        fate: Fate,
    },
    /// Everything on the way arrives and is written; a copy of an answer may stay.
    Flow,
    Commit(Verdict),
    /// The owner hears what its transaction came to.
    Acknowledge,
    Advance {
        by_ms: u64,
    },
    SetLimits(Limits),
    Look,
    RetireAll {
        edge: usize,
    },
    ReplaceOwner,
    KillEdge {
        edge: usize,
    },
    /// The way to the owner breaks, or is whole again.
    Cut,
}

/// What may go wrong in a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    pub(super) loss: bool,
    pub(super) copies: bool,
    pub(super) store: bool,
    pub(super) owners: bool,
    pub(super) edges: bool,
    pub(super) cuts: bool,
    pub(super) limits: bool,
}

impl Faults {
    /// A bit for each kind.
    pub(super) fn of(bits: u16) -> Faults {
        let bit = |place: u16| bits >> place & 1 == 1;
        let (loss, copies, store, owners) = (bit(0), bit(1), bit(2), bit(3));
        Faults { loss, copies, store, owners, edges: bit(4), cuts: bit(5), limits: bit(6) }
    }
}

/// How a run is set up.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) faults: Faults,
    pub(super) edges: usize,
    /// Whether edges do what is due after every event, or every 50 ms.
    pub(super) wakes_at_once: bool,
    /// How long before a month ends the run begins, in ms.
    pub(super) before_month_ms: u64,
    pub(super) limits: Limits,
    pub(super) edge: EdgeSettings,
    pub(super) owner: OwnerSettings,
    pub(super) grant: GrantSettings,
}

impl Options {
    pub(super) fn of(raw: [u16; 4]) -> Options {
        let [faults, limits, size, rest] = raw;
        Options {
            faults: Faults::of(faults),
            edges: 1 + usize::from(rest % 3),
            wakes_at_once: rest / 3 % 2 == 0,
            before_month_ms: u64::from(rest) * 2,
            limits: limits_of(limits, size),
            edge: EdgeSettings {
                outage_ms: 3_000,
                outage_fallback: amounts(2, 60, 40),
                waiting_max: 6,
                entries_max: 40,
                report_entries: 1 + usize::from(size % 4),
                retry_ms: 200,
                used_up_ms: u64::from(rest % 2) * 200,
            },
            owner: OwnerSettings {
                batch_operations: 1 + usize::from(rest % 5),
                batch_entries: 6,
                queue_operations: 8,
            },
            grant: GrantSettings {
                allowance_ms: 2_000,
                share: 1 + u64::from(size % 5),
                outage_share_percent: 25,
            },
        }
    }
}

/// Some of six limits, small, middling or large.
pub(super) fn limits_of(mask: u16, size: u16) -> Limits {
    let size = usize::from(size % 3);
    let requests = [4, 15, 60][size];
    let (tokens, micro_usd) = (requests * 25, requests * 20);
    let candidates = [
        limit(None, Unit::Requests, Window::Minute, requests),
        limit(None, Unit::Tokens, Window::Minute, tokens),
        limit(Some("large"), Unit::Tokens, Window::Minute, tokens / 2),
        limit(Some("small"), Unit::Requests, Window::Day, requests * 2),
        limit(None, Unit::MicroUsd, Window::Day, micro_usd * 2),
        limit(None, Unit::MicroUsd, Window::Month, micro_usd * 3),
    ];
    let picked = candidates.into_iter().enumerate().filter(|(place, _)| mask >> place & 1 == 1);
    Limits { revision: 0, limits: picked.map(|(_, limit)| limit).collect() }
}

impl Step {
    pub(super) fn of(raw: [u16; 4], faults: &Faults) -> Step {
        let [kind, a, b, c] = raw;
        let pick = usize::from(a);
        match kind % 64 {
            0..16 => {
                let (model, estimate) = (MODELS[usize::from(b % 2)], estimate(b / 2));
                Step::Request { edge: pick, model, estimate, used: used(estimate, c) }
            }
            16..24 => Step::Settle { pick, all: b % 4 == 0 },
            24..36 => Step::Deliver { pick: pick * usize::from(b % 2), fate: fate(c, faults) },
            36..42 => Step::Flow,
            42..46 => Step::Commit(verdict(a, faults)),
            46..50 => Step::Acknowledge,
            50..56 => Step::Advance { by_ms: 1 + u64::from(a % 200) },
            56 => Step::Advance { by_ms: 1 + u64::from(a) / 2 },
            57 => Step::GiveUp { pick },
            58 => Step::Look,
            59 => Step::RetireAll { edge: pick },
            60 if faults.owners => Step::ReplaceOwner,
            61 if faults.edges && a % 2 == 0 => Step::KillEdge { edge: pick / 2 },
            62 if faults.limits => Step::SetLimits(limits_of(a, b)),
            63 if faults.cuts => Step::Cut,
            _ => Step::Advance { by_ms: 50 },
        }
    }
}

fn estimate(raw: u16) -> Amounts {
    amounts(1, 1 + u64::from(raw % 40), u64::from(raw / 40 % 30))
}

fn used(estimate: Amounts, raw: u16) -> Option<Amounts> {
    let more = u64::from(raw / 8 % 50);
    match raw % 8 {
        0 => None,
        1 => Some(Amounts::ZERO),
        2..4 => Some(estimate),
        4..6 => Some(estimate.at_most(amounts(1, more, more / 2))),
        _ => Some(estimate.plus(amounts(0, more, more / 3))),
    }
}

fn fate(raw: u16, faults: &Faults) -> Fate {
    match raw % 8 {
        0 if faults.loss => Fate::Lost,
        1 | 2 if faults.copies => Fate::Twice,
        _ => Fate::Arrives,
    }
}

fn verdict(raw: u16, faults: &Faults) -> Verdict {
    match raw % 8 {
        0 if faults.store => Verdict::Failed,
        1 if faults.store => Verdict::Unknown,
        2 if faults.owners => Verdict::Fenced,
        _ => Verdict::Written,
    }
}
