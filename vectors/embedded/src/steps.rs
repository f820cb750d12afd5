//! Reading a space from the store in bounded steps: its rows page by page, then its log.

use std::collections::BTreeSet;

use headwater_storage::retry::Retry;
use headwater_storage::{RangeRead, ReadMode, STAMP_BYTES, Stamp, StoreError, Transaction};
use headwater_vectors::quantise::Calibration;
use headwater_vectors::{RecordId, Space};

use crate::keys::{Keys, stamp_of};
use crate::records::{Kept, Known, decode_ends, decode_log};

/// Ahead of every commit's stamp.
const BEFORE_ALL: Stamp = [0; STAMP_BYTES];
/// Rows of the log read at once.
const LOG_ROWS: usize = 16;
/// Records after which a step over the log ends.
const CHANGES: usize = 512;
/// Records of a page and its bytes, roughly; the smaller bound counts.
const PAGE_RECORDS: usize = 512;
const PAGE_BYTES: usize = 2 << 20;
/// What stands beside a vector, roughly.
const DOCUMENT_BYTES: usize = 512;

/// A space and the stamp of its last commit, at one version.
#[derive(Debug, Clone)]
pub(crate) struct Glance {
    pub(crate) known: Known,
    pub(crate) last: Stamp,
}

/// One step's result.
#[derive(Debug)]
pub(crate) enum Step {
    /// The space is not there any more, or is another one.
    Gone,
    /// The log was dropped beyond the reader's place.
    Behind,
    Read {
        known: Known,
        changes: Vec<Change>,
        next: Next,
    },
}

/// A record's present state.
pub(crate) type Change = (RecordId, Option<Kept>);

/// Where reading goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Behind this record; the log is read from `from` on once all are there.
    Page { from: Stamp, after: Option<RecordId> },
    /// Behind this stamp of the log.
    Log { at: Stamp },
}

impl Next {
    /// Ahead of everything.
    pub(crate) const START: Next = Next::Page { from: BEFORE_ALL, after: None };

    /// The stamp from which on the log must still be there.
    fn needs(&self) -> Stamp {
        match self {
            Next::Page { from, .. } => *from,
            Next::Log { at } => *at,
        }
    }
}

/// Records that a transaction may read at once.
pub(crate) fn page_records(space: &Space) -> usize {
    (PAGE_BYTES / (4 * space.dimensions + DOCUMENT_BYTES)).clamp(8, PAGE_RECORDS)
}

/// The space's row.
pub(crate) async fn known(
    transaction: &mut dyn Transaction,
    keys: &Keys,
    name: &str,
) -> Result<Option<Known>, StoreError> {
    let row = transaction.get(&keys.space(), ReadMode::Serializable).await?;
    row.map(|row| Known::decode(name, &row)).transpose()
}

pub(crate) async fn glance(retry: &Retry, name: &str) -> Result<Option<Glance>, StoreError> {
    let (keys, name) = (Keys::of(name), name.to_owned());
    retry
        .read(move |transaction| {
            let (keys, name) = (keys.clone(), name.clone());
            Box::pin(async move {
                let Some(known) = known(transaction, &keys, &name).await? else { return Ok(None) };
                let last = last_stamp(transaction, &keys).await?;
                Ok(Some(Glance { known, last }))
            })
        })
        .await
}

async fn last_stamp(transaction: &mut dyn Transaction, keys: &Keys) -> Result<Stamp, StoreError> {
    let read = RangeRead::all(keys.log(None)).reverse().limit(1).snapshot();
    let rows = transaction.range(read).await?;
    rows.first().map_or(Ok(BEFORE_ALL), |(key, _)| Keys::stamp(key))
}

async fn trimmed(transaction: &mut dyn Transaction, keys: &Keys) -> Result<Stamp, StoreError> {
    let row = transaction.get(&keys.trimmed(), ReadMode::Snapshot).await?;
    row.map_or(Ok(BEFORE_ALL), |row| stamp_of(&row))
}

/// Reads on from `next`, in one transaction.
pub(crate) async fn step(
    retry: &Retry,
    name: &str,
    incarnation: u64,
    next: Next,
) -> Result<Step, StoreError> {
    let (keys, name) = (Keys::of(name), name.to_owned());
    retry
        .read(move |transaction| {
            let (keys, name) = (keys.clone(), name.clone());
            Box::pin(async move {
                let known = known(transaction, &keys, &name).await?;
                let Some(known) = known.filter(|known| known.incarnation == incarnation) else {
                    return Ok(Step::Gone);
                };
                let is_start = next == Next::START;
                if !is_start && trimmed(transaction, &keys).await? > next.needs() {
                    return Ok(Step::Behind);
                }
                let (changes, next) = match next {
                    Next::Page { from, after } => {
                        let last = last_stamp(transaction, &keys).await?;
                        let from = if is_start { last } else { from };
                        page(transaction, &keys, &known.space, from, after).await?
                    }
                    Next::Log { at } => log(transaction, &keys, &known.space, at).await?,
                };
                Ok(Step::Read { known, changes, next })
            })
        })
        .await
}

async fn page(
    transaction: &mut dyn Transaction,
    keys: &Keys,
    space: &Space,
    from: Stamp,
    after: Option<RecordId>,
) -> Result<(Vec<Change>, Next), StoreError> {
    let limit = page_records(space);
    let records = read_page(transaction, keys, space, after, limit).await?;
    let next = match records.last() {
        Some((id, _)) if records.len() == limit => Next::Page { from, after: Some(*id) },
        _ => Next::Log { at: from },
    };
    Ok((records.into_iter().map(|(id, kept)| (id, Some(kept))).collect(), next))
}

/// At most `limit` records behind one of them.
pub(crate) async fn read_page(
    transaction: &mut dyn Transaction,
    keys: &Keys,
    space: &Space,
    after: Option<RecordId>,
    limit: usize,
) -> Result<Vec<(RecordId, Kept)>, StoreError> {
    let read = RangeRead::all(keys.records(after.as_ref())).limit(limit).snapshot();
    let rows = transaction.range(read).await?;
    let decode =
        |(key, row): &(Vec<u8>, Vec<u8>)| Ok((Keys::record_id(key)?, Kept::decode(space, row)?));
    rows.iter().map(decode).collect()
}

async fn log(
    transaction: &mut dyn Transaction,
    keys: &Keys,
    space: &Space,
    at: Stamp,
) -> Result<(Vec<Change>, Next), StoreError> {
    let read = RangeRead::all(keys.log(Some(&at))).limit(LOG_ROWS).snapshot();
    let rows = transaction.range(read).await?;
    let (mut ids, mut at) = (BTreeSet::new(), at);
    for (key, row) in rows {
        at = Keys::stamp(&key)?;
        ids.extend(decode_log(&row)?);
        if ids.len() >= CHANGES {
            break;
        }
    }
    let mut changes = Vec::with_capacity(ids.len());
    for id in ids {
        let row = transaction.get(&keys.record(&id), ReadMode::Snapshot).await?;
        let kept = row.map(|row| Kept::decode(space, &row)).transpose()?;
        changes.push((id, kept));
    }
    Ok((changes, Next::Log { at }))
}

/// The space's calibration, which never changes once it is there.
pub(crate) async fn calibration(retry: &Retry, name: &str) -> Result<Calibration, StoreError> {
    let keys = Keys::of(name);
    let ends = retry
        .read(move |transaction| {
            let keys = keys.clone();
            Box::pin(async move {
                let low = transaction.get(&keys.calibration("low"), ReadMode::Snapshot).await?;
                let high = transaction.get(&keys.calibration("high"), ReadMode::Snapshot).await?;
                Ok(low.zip(high))
            })
        })
        .await?;
    let (low, high) = ends.ok_or_else(|| {
        StoreError::Unavailable(format!("the calibration of space '{name}' was just dropped"))
    })?;
    let (low, high) = (decode_ends(&low)?, decode_ends(&high)?);
    Calibration::new(low, high).map_err(|error| StoreError::Corrupt(error.0))
}
