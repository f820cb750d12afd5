//! The lake's housekeeping: small files become larger ones, and what has reached its age goes.
//!
//! A file is never changed: another one, whose name covers it, takes its place, and it is removed
//! when nobody reads it any more. Two nodes that do so at a time write the same.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{filter_record_batch, is_not_null, is_null, nullif};
use arrow::error::ArrowError;
use futures_util::{TryStreamExt, pin_mut};
use headwater_storage::audit::{AuditError, COLUMNS, DAY_MS, Pruned};

use super::files::{FileWriter, broken, read};
use super::listing::{Bounds, Entry, list};
use super::names::{FileName, Tier};
use super::{Inner, rows};

/// Small files of a day that is under way are left until there are so many.
const FEW: usize = 8;

impl Inner {
    pub(super) async fn prune(&self, now_ms: u64) -> Result<Pruned, AuditError> {
        let _one = self.pruning.lock().await;
        let entries = {
            // No file of a segment appears while the files are listed.
            let _still = self.flushing.lock().await;
            list(&self.place, &Bounds::ALL).await?
        };
        let mut pruned = Pruned::default();
        let same = |a: &Entry, b: &Entry| {
            a.partition == b.partition && a.name.first.writer == b.name.first.writer
        };
        for files in entries.chunk_by(same) {
            self.keep(files, now_ms, &mut pruned).await?;
        }
        Ok(pruned)
    }

    /// Keeps one writer's files of one partition.
    async fn keep(
        &self,
        files: &[Entry],
        now_ms: u64,
        pruned: &mut Pruned,
    ) -> Result<(), AuditError> {
        let Some(day) = files.first().map(|entry| entry.partition.day) else { return Ok(()) };
        for old in files.iter().filter(|entry| entry.is_covered) {
            if is_replaced(old, files, now_ms, self.settings.grace_ms) {
                self.place.remove(&old.path).await?;
            }
        }
        // How long ago the day ended.
        let is_over = |days: u64| now_ms >= (day + 1 + days) * DAY_MS;
        let tier = match () {
            () if is_over(self.settings.metadata_days) => Tier::Flagged,
            () if is_over(self.settings.content_days) => Tier::Metadata,
            () => Tier::All,
        };
        for group in self.groups(files, tier) {
            match tier {
                // Other nodes put their own files together.
                Tier::All if !self.spill.is_own(&group[0].name.first) => continue,
                Tier::All if group.len() < if is_over(0) { 2 } else { FEW } => continue,
                Tier::Metadata | Tier::Flagged
                    if group.iter().all(|entry| entry.name.tier >= tier) =>
                {
                    continue;
                }
                _ => {}
            }
            self.replace(&group, files, tier).await?;
            match tier {
                Tier::All => pruned.compacted += group.len() as u64,
                Tier::Metadata => pruned.stripped += group.len() as u64,
                Tier::Flagged => pruned.removed += group.len() as u64,
            }
        }
        Ok(())
    }

    /// Files side by side that are not too long together.
    fn groups<'a>(&self, files: &'a [Entry], tier: Tier) -> Vec<Vec<&'a Entry>> {
        let most = self.settings.file_bytes;
        let mut groups: Vec<Vec<&Entry>> = Vec::new();
        let mut bytes = 0;
        for entry in files.iter().filter(|entry| !entry.is_covered) {
            let last = groups.last().and_then(|group| group.last());
            // A file that has lost more than the others would lose nothing in their company.
            let fits =
                last.is_some_and(|last| (last.name.tier >= tier) == (entry.name.tier >= tier));
            match groups.last_mut() {
                Some(group) if fits && bytes + entry.bytes <= most => {
                    bytes += entry.bytes;
                    group.push(entry);
                }
                _ => {
                    bytes = entry.bytes;
                    groups.push(vec![entry]);
                }
            }
        }
        groups
    }

    /// Puts one file of this tier in the place of a group; none where nothing is left.
    async fn replace(
        &self,
        group: &[&Entry],
        files: &[Entry],
        tier: Tier,
    ) -> Result<(), AuditError> {
        let (Some(start), Some(end)) = (group.first(), group.last()) else { return Ok(()) };
        let name = FileName { first: start.name.first.clone(), last: end.name.last.clone(), tier };
        let mut writer = FileWriter::new()?;
        for entry in group {
            let store = Arc::clone(&self.place.store);
            let batches = read(store, entry, rows::schema()).await.map_err(|e| broken(&e))?;
            pin_mut!(batches);
            while let Some(batch) = batches.try_next().await.map_err(|error| broken(&error))? {
                let left = left(batch, tier).map_err(|error| broken(&error.into()))?;
                writer.add(&left)?;
            }
        }
        if writer.rows() > 0 {
            return self.place.put(start.partition.file(&name), writer.end()?).await;
        }
        // What is covered goes first: it would count again without its cover.
        let covered = files.iter().filter(|entry| {
            entry.is_covered && name.covers(&entry.name.first) && name.covers(&entry.name.last)
        });
        for entry in covered.chain(group.iter().copied()) {
            self.place.remove(&entry.path).await?;
        }
        Ok(())
    }
}

/// Whether whoever reads this file began before what replaces it was there, and has ended since.
fn is_replaced(old: &Entry, files: &[Entry], now_ms: u64, grace_ms: u64) -> bool {
    files.iter().filter(|entry| !entry.is_covered).any(|new| {
        let covers = new.name.covers(&old.name.first) && new.name.covers(&old.name.last);
        covers && new.modified_ms + grace_ms <= now_ms
    })
}

/// What a tier leaves of these rows.
fn left(batch: RecordBatch, tier: Tier) -> Result<RecordBatch, ArrowError> {
    let flags = match batch.column_by_name("flags") {
        Some(flags) if tier != Tier::All => Arc::clone(flags),
        _ => return Ok(batch),
    };
    if tier == Tier::Flagged {
        return filter_record_batch(&batch, &is_not_null(&flags)?);
    }
    let plain = is_null(&flags)?;
    let mut columns = batch.columns().to_vec();
    for (place, field) in batch.schema().fields().iter().enumerate() {
        if COLUMNS.iter().any(|column| column.is_content && column.name == field.name()) {
            columns[place] = nullif(&columns[place], &plain)?;
        }
    }
    RecordBatch::try_new(batch.schema(), columns)
}
