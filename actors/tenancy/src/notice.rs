//! Which limits have been used up so far that somebody should be told: once for each limit, window
//! and threshold.

use crate::ledger::{Books, CounterKey};
use crate::limits::{Limit, Window};

/// Percentages of a limit, 1 to 100.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// Bit n stands for n percent.
    percents: u128,
}

/// A refusal counts as 100 percent when not more than a tenth is left: what did not fit into that
/// leaves nobody a whole request.
const REST: u64 = 10;

impl Thresholds {
    /// Nobody is told of anything.
    pub const NONE: Thresholds = Thresholds { percents: 0 };

    /// None when one of them is not 1 to 100.
    pub fn new(percents: impl IntoIterator<Item = u8>) -> Option<Thresholds> {
        let mut thresholds = Thresholds::NONE;
        for percent in percents {
            if !(1..=100).contains(&percent) {
                return None;
            }
            thresholds.percents |= 1 << percent;
        }
        Some(thresholds)
    }

    pub fn is_empty(&self) -> bool {
        self.percents == 0
    }

    /// In rising order.
    pub fn iter(&self) -> impl Iterator<Item = u8> + use<> {
        let percents = self.percents;
        (1..=100).filter(move |percent| percents & (1 << percent) != 0)
    }
}

/// Names what is told, for ever.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NoticeKey {
    /// Limit and window.
    pub counter: CounterKey,
    pub percent: u8,
}

/// A limit is used up to a threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub key: NoticeKey,
    /// The whole limit.
    pub amount: u64,
    /// Used, or handed out to an edge that may still use it.
    pub taken: u64,
    /// When the window ends, in ms since 1970.
    pub resets_ms: u64,
}

/// Every threshold that a limit of a day or a month has reached in its window, as far as the
/// counters were read. `refused` are limits that left a request too little.
pub fn reached(
    books: &Books,
    refused: &[Limit],
    thresholds: Thresholds,
    wall_ms: u64,
) -> Vec<Notice> {
    let mut notices = Vec::new();
    if thresholds.is_empty() {
        return notices;
    }
    let long = |limit: &&Limit| limit.window != Window::Minute && limit.amount > 0;
    for limit in books.limits.limits.iter().filter(long) {
        let counter = CounterKey::of(limit, wall_ms);
        let Some(taken) = books.counters.get(&counter).copied() else { continue };
        let left = limit.amount.saturating_sub(taken);
        let is_over = refused.contains(limit) && left.saturating_mul(REST) <= limit.amount;
        let is_reached = |percent: &u8| {
            is_over || u128::from(taken) * 100 >= u128::from(limit.amount) * u128::from(*percent)
        };
        let resets_ms = limit.window.end_ms(limit.window.index(wall_ms));
        notices.extend(thresholds.iter().filter(is_reached).map(|percent| Notice {
            key: NoticeKey { counter: counter.clone(), percent },
            amount: limit.amount,
            taken,
            resets_ms,
        }));
    }
    notices
}
