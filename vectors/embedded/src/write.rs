//! Writing and removing records, in transactions that the store admits.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_storage::limits::VALUE_BYTES;
use headwater_storage::{AtomicOp, RangeRead, ReadMode, StoreError, Transaction};
use headwater_vectors::quantise::{Calibration, Stored};
use headwater_vectors::{NumberFormat, Record, RecordId, SinkError, Value};

use crate::failure::{no_space, of_store, recreated};
use crate::keys::Keys;
use crate::records::{Kept, Known, encode_log};
use crate::sink::EmbeddedSink;
use crate::steps::known;

/// Most records of one transaction, and their bytes: a tenth of what the store admits, so that
/// it ends well within its five seconds.
const CHANGES_MAX: usize = 512;
const CHANGES_BYTES_MAX: usize = 1 << 20;
/// Beside the vector, the texts and the fields of a record's row.
const ROW_BYTES: usize = 64;
const FIELD_BYTES: usize = 16;

/// A record's new row; `None` removes it.
pub(crate) type Row = (RecordId, Option<Vec<u8>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Written,
    /// The space is not there, or is another one.
    Gone,
    /// The space was calibrated since its row was read.
    Recalibrated,
}

impl EmbeddedSink {
    pub(crate) async fn write(&self, name: &str, records: Vec<Record>) -> Result<(), SinkError> {
        let mut known = self.known(name).await?.ok_or_else(|| no_space(name))?;
        for record in &records {
            known.space.admits_vector(&record.version, &record.vector)?;
            check_bytes(record)?;
        }
        // The last one of several with one id counts.
        let records: BTreeMap<RecordId, Record> =
            records.into_iter().map(|record| (record.id, record)).collect();
        let records: Vec<Record> = records.into_values().collect();
        let mut done = 0;
        while done < records.len() {
            let calibration = self.calibration_of(&known).await?;
            let rows = encode(&known, calibration.as_deref(), &records[done..])?;
            let written = rows.len();
            match self.commit(name, rows, Some(&known)).await? {
                Outcome::Written => done += written,
                Outcome::Gone => return Err(recreated(name)),
                Outcome::Recalibrated => {
                    known = self.known(name).await?.ok_or_else(|| no_space(name))?;
                    continue;
                }
            }
            if known.space.format == NumberFormat::I8 && !known.is_calibrated {
                self.calibrate_when_due(&known).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn remove(&self, name: &str, ids: &[RecordId]) -> Result<(), SinkError> {
        if ids.is_empty() {
            return self.known(name).await?.map(|_| ()).ok_or_else(|| no_space(name));
        }
        for ids in ids.chunks(CHANGES_MAX) {
            let rows = ids.iter().map(|id| (*id, None)).collect();
            if self.commit(name, rows, None).await? != Outcome::Written {
                return Err(no_space(name));
            }
        }
        Ok(())
    }

    /// Writes the rows in one transaction, their count and their row in the log with them.
    /// `expected` is the space that the rows were encoded for.
    async fn commit(
        &self,
        name: &str,
        rows: Vec<Row>,
        expected: Option<&Known>,
    ) -> Result<Outcome, SinkError> {
        let (keys, name, rows) = (Keys::of(name), name.to_owned(), Arc::<[Row]>::from(rows));
        let expected = expected.map(|known| (known.incarnation, known.is_calibrated));
        let settings = *self.settings();
        let environment = self.retry().environment().clone();
        self.retry()
            .write_idempotent(move |transaction| {
                let (keys, name, rows) = (keys.clone(), name.clone(), Arc::clone(&rows));
                let sets_mark = environment.draw().is_multiple_of(settings.commits_per_mark.max(1));
                Box::pin(async move {
                    let Some(known) = known(transaction, &keys, &name).await? else {
                        return Ok(Outcome::Gone);
                    };
                    match expected {
                        Some((incarnation, _)) if incarnation != known.incarnation => {
                            return Ok(Outcome::Gone);
                        }
                        Some((_, is_calibrated)) if is_calibrated != known.is_calibrated => {
                            return Ok(Outcome::Recalibrated);
                        }
                        _ => {}
                    }
                    if change(transaction, &keys, &rows).await? && sets_mark {
                        mark(transaction, &keys, settings.marks_kept.max(1)).await?;
                    }
                    Ok(Outcome::Written)
                })
            })
            .await
            .map_err(of_store)
    }

    /// How many records the space has; `None` when there is no such space.
    pub(crate) async fn counted(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let (keys, name) = (Keys::of(name), name.to_owned());
        self.retry()
            .read(move |transaction| {
                let (keys, name) = (keys.clone(), name.clone());
                Box::pin(async move {
                    if known(transaction, &keys, &name).await?.is_none() {
                        return Ok(None);
                    }
                    let row = transaction.get(&keys.count(), ReadMode::Snapshot).await?;
                    let Some(row) = row else { return Ok(Some(0)) };
                    let bytes = row.as_slice().try_into().map_err(|_| {
                        StoreError::Corrupt(format!("the count of space '{name}' is no number"))
                    })?;
                    Ok(Some(u64::from_le_bytes(bytes)))
                })
            })
            .await
    }
}

/// Bytes of a record's row, at most.
fn row_bytes(record: &Record) -> usize {
    let fields = record.fields.iter().map(|(name, value)| {
        let text = if let Value::Text(text) = value { text.len() } else { 0 };
        name.len() + text + FIELD_BYTES
    });
    let texts = record.model.len() + record.source.len();
    ROW_BYTES + 4 * record.vector.len() + texts + fields.sum::<usize>()
}

fn check_bytes(record: &Record) -> Result<(), SinkError> {
    let given = row_bytes(record);
    if given <= VALUE_BYTES {
        return Ok(());
    }
    Err(SinkError::Request(format!(
        "a record of {} components takes {given} bytes with its source and fields; at most \
         {VALUE_BYTES} are allowed, give it fewer or shorter fields",
        record.vector.len()
    )))
}

/// The first records as rows, as many as one transaction takes.
fn encode(
    known: &Known,
    calibration: Option<&Calibration>,
    records: &[Record],
) -> Result<Vec<Row>, SinkError> {
    let format = match known.space.format {
        NumberFormat::I8 if calibration.is_none() => NumberFormat::F32,
        format => format,
    };
    let (mut rows, mut bytes) = (Vec::new(), 0);
    for record in records.iter().take(CHANGES_MAX) {
        let vector = Stored::keep(&record.vector, format, calibration)?;
        let row = Kept::of(record.clone(), &known.space, vector).encode().map_err(of_store)?;
        bytes += row.len();
        if bytes > CHANGES_BYTES_MAX && !rows.is_empty() {
            break;
        }
        rows.push((record.id, Some(row)));
    }
    Ok(rows)
}

/// Writes what is not there yet; whether anything was.
async fn change(
    transaction: &mut dyn Transaction,
    keys: &Keys,
    rows: &[Row],
) -> Result<bool, StoreError> {
    let (mut changed, mut added) = (Vec::new(), 0_i64);
    for (id, row) in rows {
        let key = keys.record(id);
        let old = transaction.get(&key, ReadMode::Serializable).await?;
        if old == *row {
            continue;
        }
        changed.push(*id);
        match row {
            Some(row) => {
                added += i64::from(old.is_none());
                transaction.set(&key, row)?;
            }
            None => {
                added -= 1;
                transaction.clear(&key)?;
            }
        }
    }
    if changed.is_empty() {
        return Ok(false);
    }
    if added != 0 {
        // Adding wraps at 8 bytes, so that a negative number subtracts.
        transaction.atomic(&keys.count(), AtomicOp::Add, &added.to_le_bytes())?;
    }
    transaction.set_stamped_key(&keys.new_log_row(), &encode_log(&changed)?)?;
    Ok(true)
}

/// Sets a mark, and drops the log behind the last `kept` marks.
async fn mark(
    transaction: &mut dyn Transaction,
    keys: &Keys,
    kept: usize,
) -> Result<(), StoreError> {
    let marks = transaction.range(RangeRead::all(keys.marks())).await?;
    if let Some(place) = marks.len().checked_sub(kept) {
        let last = Keys::stamp(&marks[place].0)?;
        transaction.set(&keys.trimmed(), &last)?;
        transaction.clear_range(&keys.log_until(&last))?;
        transaction.clear_range(&keys.marks_until(&last))?;
    }
    transaction.set_stamped_key(&keys.new_mark(), &[])
}
