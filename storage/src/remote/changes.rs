//! A proposal as a list of calls that the server repeats on its own transaction.

use serde::{Deserialize, Serialize};

use super::PAYLOAD_BYTES;
use super::wire::cost;
use crate::mutation::Mutation;
use crate::optimistic::{Proposal, WatchRequest};
use crate::{AtomicOp, Committed, KeyRange, STAMP_BYTES, Stamped, StoreError, Transaction, Watch};

/// One call of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Change {
    Read { begin: Vec<u8>, end: Vec<u8> },
    Write { begin: Vec<u8>, end: Vec<u8> },
    Set { key: Vec<u8>, value: Vec<u8> },
    ClearRange { begin: Vec<u8>, end: Vec<u8> },
    Atomic { key: Vec<u8>, op: Op, operand: Vec<u8> },
    StampedKey { key: Around, value: Vec<u8> },
    StampedValue { key: Vec<u8>, value: Around },
    Watch { key: Vec<u8> },
}

/// An [`AtomicOp`] on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Op {
    Add,
    Max,
    Min,
}

/// A [`Stamped`] on its way: what stands before and behind the stamp.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Around {
    before: Vec<u8>,
    behind: Vec<u8>,
}

impl From<&Stamped> for Around {
    fn from(stamped: &Stamped) -> Self {
        let (before, rest) = stamped.placeholder().split_at(stamped.offset());
        Around { before: before.to_vec(), behind: rest[STAMP_BYTES..].to_vec() }
    }
}

impl From<&Around> for Stamped {
    fn from(around: &Around) -> Self {
        Stamped::between(&around.before, &around.behind)
    }
}

impl From<Mutation> for Change {
    fn from(mutation: Mutation) -> Self {
        match mutation {
            Mutation::Set { key, value } => Change::Set { key, value },
            Mutation::ClearRange(KeyRange { begin, end }) => Change::ClearRange { begin, end },
            Mutation::Atomic { key, op, operand } => {
                let op = match op {
                    AtomicOp::Add => Op::Add,
                    AtomicOp::Max => Op::Max,
                    AtomicOp::Min => Op::Min,
                };
                Change::Atomic { key, op, operand }
            }
            Mutation::StampedKey { key, value } => Change::StampedKey { key: (&key).into(), value },
            Mutation::StampedValue { key, value } => {
                Change::StampedValue { key, value: (&value).into() }
            }
        }
    }
}

impl Change {
    fn bytes(&self) -> usize {
        let around = |around: &Around| around.before.len() + around.behind.len();
        match self {
            Change::Read { begin, end }
            | Change::Write { begin, end }
            | Change::ClearRange { begin, end } => begin.len() + end.len(),
            Change::Set { key, value } => key.len() + value.len(),
            Change::Atomic { key, operand, .. } => key.len() + operand.len(),
            Change::StampedKey { key, value } => around(key) + value.len(),
            Change::StampedValue { key, value } => key.len() + around(value),
            Change::Watch { key } => key.len(),
        }
    }
}

/// The calls of a proposal, and who waits for its watches, in the order of the watches.
pub(super) fn of_proposal(proposal: Proposal) -> (Vec<Change>, Vec<WatchRequest>) {
    let Proposal { reads, mutations, writes, watches, .. } = proposal;
    let mut changes: Vec<Change> =
        reads.into_iter().map(|KeyRange { begin, end }| Change::Read { begin, end }).collect();
    // A watch takes its place among the mutations, so that it sees there what it saw.
    let mut waiting = watches.iter().peekable();
    let mut watches_upto = |place: usize, changes: &mut Vec<Change>| {
        while let Some(watch) = waiting.next_if(|watch| watch.place() <= place) {
            changes.push(Change::Watch { key: watch.key().to_vec() });
        }
    };
    for (place, mutation) in mutations.into_iter().enumerate() {
        watches_upto(place, &mut changes);
        changes.push(mutation.into());
    }
    watches_upto(usize::MAX, &mut changes);
    let written = writes.into_iter();
    changes.extend(written.map(|KeyRange { begin, end }| Change::Write { begin, end }));
    (changes, watches)
}

/// Cuts the changes into parts that fit one message each; there is always a last one.
pub(super) fn parts(changes: Vec<Change>) -> (Vec<Vec<Change>>, Vec<Change>) {
    let (mut full, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    for change in changes {
        let cost = cost(change.bytes());
        if bytes + cost > PAYLOAD_BYTES && !part.is_empty() {
            full.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += cost;
        part.push(change);
    }
    (full, part)
}

/// Repeats the calls and commits; the watches are in the order of the calls.
///
/// # Errors
/// The transaction's.
pub(super) async fn replay(
    mut transaction: Box<dyn Transaction>,
    changes: Vec<Change>,
) -> Result<(Committed, Vec<Watch>), StoreError> {
    let mut watches = Vec::new();
    for change in changes {
        match change {
            Change::Read { begin, end } => {
                transaction.add_read_conflict(&KeyRange { begin, end })?;
            }
            Change::Write { begin, end } => {
                transaction.add_write_conflict(&KeyRange { begin, end })?;
            }
            Change::Set { key, value } => transaction.set(&key, &value)?,
            Change::ClearRange { begin, end } => {
                transaction.clear_range(&KeyRange { begin, end })?;
            }
            Change::Atomic { key, op, operand } => {
                let op = match op {
                    Op::Add => AtomicOp::Add,
                    Op::Max => AtomicOp::Max,
                    Op::Min => AtomicOp::Min,
                };
                transaction.atomic(&key, op, &operand)?;
            }
            Change::StampedKey { key, value } => {
                transaction.set_stamped_key(&(&key).into(), &value)?;
            }
            Change::StampedValue { key, value } => {
                transaction.set_stamped_value(&key, &(&value).into())?;
            }
            Change::Watch { key } => watches.push(transaction.watch(&key).await?),
        }
    }
    Ok((transaction.commit().await?, watches))
}
