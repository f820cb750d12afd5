//! How versions do: what users' requests and shadows came to, summed in memory, written down as
//! one row for each process and version, and added up by whoever decides.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use headwater_prompts::sequential::{Outcome, Watched};
use headwater_storage::{RangeRead, StoreError};
use serde::{Deserialize, Serialize};

use super::handle::PromptsHandle;
use super::keys::Mark;
use super::records;
use crate::gateway::Observed;

/// Versions that one process sums up at a time; the least recently begun is let go.
const MARKS: usize = 4_096;
/// Rows of one transaction.
const ROWS: usize = 200;

/// What this process observed and has not let go.
#[derive(Debug, Default)]
pub(super) struct Observations {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    marks: BTreeMap<Mark, Sum>,
    order: u64,
}

/// What requests came to, as rows have it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) watched: Watched,
    /// All of them together.
    pub(super) micro_usd: u64,
}

#[derive(Debug, Clone, Copy)]
struct Sum {
    record: Record,
    /// Another one for each time that the mark is begun, so that no row is overwritten by less.
    life: u64,
    order: u64,
    is_written: bool,
}

impl Observations {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PromptsHandle {
    /// Counts what one request came to.
    pub(super) fn observe(&self, mark: &Mark, observed: &Observed, judge_score: Option<f64>) {
        let outcome = Outcome {
            failed: observed.failed,
            // What failed at once was not fast.
            latency_ms: (!observed.failed).then_some(observed.latency_ms as f64),
            cost_microdollars: (!observed.failed).then_some(observed.micro_usd as f64),
            judge_score,
        };
        let draw = || self.shared.runtime.environment().draw();
        let mut seen = self.shared.observations.lock();
        seen.order += 1;
        let order = seen.order;
        let sum = seen.marks.entry(mark.clone()).or_insert_with(|| Sum {
            record: Record::default(),
            life: draw(),
            order,
            is_written: false,
        });
        sum.record.watched.record(&outcome);
        sum.record.micro_usd = sum.record.micro_usd.saturating_add(observed.micro_usd);
        sum.is_written = false;
        if seen.marks.len() > MARKS {
            let oldest = seen.marks.iter().filter(|(_, sum)| sum.is_written);
            let oldest = oldest.min_by_key(|(_, sum)| sum.order).map(|(mark, _)| mark.clone());
            oldest.and_then(|mark| seen.marks.remove(&mark));
        }
    }

    /// Writes down what was observed since the last time.
    ///
    /// # Errors
    /// The store's; it is written the next time then.
    pub async fn write_observations(&self) -> Result<(), StoreError> {
        let pending: Vec<(Mark, Sum)> = {
            let seen = self.shared.observations.lock();
            let pending = seen.marks.iter().filter(|(_, sum)| !sum.is_written);
            pending.map(|(mark, sum)| (mark.clone(), *sum)).collect()
        };
        for rows in pending.chunks(ROWS) {
            let written = self.shared.retry.write_idempotent(|transaction| {
                let rows = rows.to_vec();
                Box::pin(async move {
                    for (mark, sum) in rows {
                        transaction.set(&mark.row(sum.life), &records::encode(&sum.record)?)?;
                    }
                    Ok(())
                })
            });
            written.await?;
            let mut seen = self.shared.observations.lock();
            for (mark, written) in rows {
                if let Some(sum) = seen.marks.get_mut(mark) {
                    sum.is_written |= sum.record == written.record;
                }
            }
        }
        Ok(())
    }

    /// What all nodes have written down.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn watched(&self, mark: &Mark) -> Result<Record, StoreError> {
        let read = self.shared.retry.read(|transaction| {
            let range = mark.rows();
            Box::pin(async move { transaction.range(RangeRead::all(range)).await })
        });
        let mut sum = Record::default();
        for (_, row) in read.await? {
            let row: Record = records::decode(&row)?;
            sum.watched = sum.watched.merge(row.watched);
            sum.micro_usd = sum.micro_usd.saturating_add(row.micro_usd);
        }
        Ok(sum)
    }
}
