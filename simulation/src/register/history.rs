//! Histories of one register, and the search for an order that explains them.
//!
//! Wing and Gong, "Testing and verifying concurrent objects" (1993), with the memory of Lowe,
//! "Testing for linearizability" (2017): a set of operations that were put in order and the value
//! after them is looked at once.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

/// What an operation does, with its result where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Read(Option<u64>),
    /// Adds one; the result is the sum.
    Increment(Option<u64>),
    /// Sets `to` where the value is `from`; the result says whether it was.
    Swing {
        from: u64,
        to: u64,
        swung: Option<bool>,
    },
}

impl Action {
    /// The value after this action, if it can happen now with the result that was seen.
    fn apply(self, value: u64) -> Option<u64> {
        match self {
            Action::Read(seen) => seen.is_none_or(|seen| seen == value).then_some(value),
            Action::Increment(seen) => {
                let sum = value + 1;
                seen.is_none_or(|seen| seen == sum).then_some(sum)
            }
            Action::Swing { from, to, swung } => {
                let swings = value == from;
                let after = if swings { to } else { value };
                swung.is_none_or(|swung| swung == swings).then_some(after)
            }
        }
    }
}

/// One operation between its call and its return, in places of one order of all events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) action: Action,
    pub(super) called: u64,
    /// None for one that never returned: it may have happened at any time since, or not at all.
    pub(super) returned: Option<u64>,
}

/// What the search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Linearizable,
    Not,
    /// The search was given up.
    Undecided,
}

/// Most places that one search looks at.
const MOST_PLACES: usize = 400_000;

/// The operations that are in order by now.
type Done = Vec<u64>;

fn has(done: &Done, place: usize) -> bool {
    done[place / 64] & 1 << (place % 64) != 0
}

/// Whether some order of the operations explains every result: each takes effect between its
/// call and its return.
pub(super) fn check(operations: &[Operation], first: u64) -> Finding {
    let mut operations = operations.to_vec();
    operations.sort_by_key(|operation| operation.called);
    let mut seen: BTreeSet<(Done, u64)> = BTreeSet::new();
    let mut open: Vec<(Done, u64)> = vec![(vec![0; operations.len().div_ceil(64)], first)];
    while let Some((done, value)) = open.pop() {
        if seen.len() > MOST_PLACES {
            return Finding::Undecided;
        }
        let waiting = operations.iter().enumerate().filter(|(place, _)| !has(&done, *place));
        let returns = waiting.clone().filter_map(|(_, operation)| operation.returned);
        let Some(first_return) = returns.min() else { return Finding::Linearizable };
        // Whoever was called before the first return may be next.
        for (place, operation) in waiting.take_while(|(_, next)| next.called < first_return) {
            let Some(after) = operation.action.apply(value) else { continue };
            let mut done = done.clone();
            done[place / 64] |= 1 << (place % 64);
            if seen.insert((done.clone(), after)) {
                open.push((done, after));
            }
        }
    }
    Finding::Not
}
