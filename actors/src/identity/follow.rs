//! Following the store: what changed is read as soon as a watch tells of it, and looked for again
//! and again in case it does not.

use headwater_storage::{KeyRange, Pair, RangeRead, ReadMode, StoreError, Watch};

use super::directory::{IdentityHandle, Shared};
use super::keys::{all_tokens, log_rows, record_key, records_after, revision_key};
use super::nouns::RevokedToken;
use super::records::{KeyRecord, LogRow, decode_key, decode_log, decode_revision, decode_token};
use super::table::Table;

/// Changes that one transaction reads.
const STEP_ROWS: u64 = 256;
/// Rows of one page when everything is read.
const PAGE_ROWS: usize = 500;
/// Longest time for one read, in ms.
const READ_MS: u64 = 2_000;
/// The pause after a watch that was lost, in ms.
const LOST_MS: u64 = 50;
/// Revocations are kept for so long after their token's end, in ms: clocks differ, and some
/// issuers' tokens are taken for a while longer.
const LEEWAY_MS: u64 = 60 * 60 * 1000;

/// What a transaction saw.
struct Step {
    /// The newest change in the store.
    newest: u64,
    changes: Changes,
    watch: Option<Watch>,
}

enum Changes {
    /// Those up to this number.
    These { through: u64, changes: Vec<Change> },
    /// Too much is missing, or the store is not the one of before.
    All,
}

enum Change {
    Key { id: String, record: Option<Box<KeyRecord>> },
    Token(RevokedToken),
}

impl IdentityHandle {
    /// Follows the store for as long as it is polled.
    pub async fn run(self) {
        let Shared { runtime, settings, metrics, .. } = &*self.shared;
        let (mut watch, mut was_stale) = (None, false);
        loop {
            match self.catch_up(watch.is_none()).await {
                Ok(Some(fresh)) => watch = Some(fresh),
                Ok(None) => {}
                Err(error) => {
                    metrics.failed_read();
                    tracing::debug!(%error, "the store was not asked for changed keys");
                }
            }
            let is_stale = self.shared.fresh().is_err();
            if is_stale != was_stale {
                tell(is_stale);
                metrics.stale(is_stale);
                was_stale = is_stale;
            }
            match &mut watch {
                None => runtime.pause(settings.refresh_ms).await,
                Some(waiting) => match runtime.within(settings.refresh_ms, waiting).await {
                    None => {}
                    Some(Ok(())) => watch = None,
                    Some(Err(_)) => {
                        watch = None;
                        runtime.pause(LOST_MS).await;
                    }
                },
            }
        }
    }

    /// Reads what changed since the last read; with a watch for the next change if one is wanted.
    ///
    /// # Errors
    /// The store's; what this node held before stays.
    pub async fn catch_up(&self, watching: bool) -> Result<Option<Watch>, StoreError> {
        let Shared { runtime, metrics, reading, .. } = &*self.shared;
        let _one_at_a_time = reading.lock().await;
        let mut watch = None;
        loop {
            // What is committed before this moment is in what the transaction reads.
            let began_ms = runtime.now_ms();
            let applied = self.shared.table().revision;
            let step = self.step(applied, watching && watch.is_none());
            let Step { newest, changes, watch: fresh } = self.timely(step).await?;
            watch = watch.or(fresh);
            let through = match changes {
                Changes::These { through, changes } => {
                    self.apply(changes, through);
                    through
                }
                Changes::All => {
                    let table = self.load().await?;
                    let through = table.revision;
                    *self.shared.table_mut() = table;
                    through
                }
            };
            let mut table = self.shared.table_mut();
            table.forget_ended(runtime.wall_ms().saturating_sub(LEEWAY_MS));
            metrics.keys(table.key_count());
            drop(table);
            if through == newest {
                self.shared.confirm(began_ms);
                return Ok(watch);
            }
        }
    }

    async fn timely<T>(
        &self,
        read: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let late = || StoreError::Unavailable(format!("no answer within {READ_MS} ms"));
        self.shared.runtime.within(READ_MS, read).await.unwrap_or_else(|| Err(late()))
    }

    fn apply(&self, changes: Vec<Change>, through: u64) {
        let mut table = self.shared.table_mut();
        for change in changes {
            match change {
                Change::Key { id, record } => table.take_key(&id, record.map(|record| *record)),
                Change::Token(token) => table.take_token(token),
            }
        }
        table.revision = through;
    }

    /// One transaction: the newest change, and those behind `applied`.
    async fn step(&self, applied: u64, watching: bool) -> Result<Step, StoreError> {
        let mut transaction = self.shared.retry.store().begin().await?;
        let revision = transaction.get(&revision_key(), ReadMode::Snapshot).await?;
        let newest = decode_revision(revision.as_deref())?;
        let watch = match watching {
            true => Some(transaction.watch(&revision_key()).await?),
            false => None,
        };
        let through = newest.min(applied.saturating_add(STEP_ROWS));
        // A node that holds nothing yet reads everything; so does one whose store went back.
        if through < applied || (applied == 0 && newest > 0) {
            transaction.commit().await?;
            return Ok(Step { newest, changes: Changes::All, watch });
        }
        let mut changes = Vec::new();
        if through > applied {
            let read = RangeRead::all(log_rows(applied, through)).snapshot();
            for (_, row) in transaction.range(read).await? {
                changes.push(match decode_log(&row)? {
                    LogRow::Key { id } => {
                        let row = transaction.get(&record_key(&id), ReadMode::Snapshot).await?;
                        let record = row.as_deref().map(decode_key).transpose()?;
                        Change::Key { id, record: record.map(Box::new) }
                    }
                    LogRow::Token { issuer, id, expires_ms } => {
                        Change::Token(RevokedToken { issuer, id, expires_ms })
                    }
                });
            }
        }
        transaction.commit().await?;
        let is_whole = changes.len() as u64 == through - applied;
        let changes = match is_whole {
            true => Changes::These { through, changes },
            // The log is cut at its far end.
            false => Changes::All,
        };
        Ok(Step { newest, changes, watch })
    }

    /// Everything, a page to a transaction. What changes meanwhile is behind the table's revision
    /// and is read next.
    async fn load(&self) -> Result<Table, StoreError> {
        let mut table = Table::at(self.timely(self.newest()).await?);
        let mut range = records_after(None);
        loop {
            let page = self.timely(self.page(RangeRead::all(range.clone()))).await?;
            let Some((last, _)) = page.last() else { break };
            range.begin = KeyRange::of_key(last).end;
            for (_, row) in &page {
                let record = decode_key(row)?;
                let id = record.key.id.clone();
                table.take_key(&id, Some(record));
            }
        }
        let mut range = all_tokens();
        loop {
            let page = self.timely(self.page(RangeRead::all(range.clone()))).await?;
            let Some((last, _)) = page.last() else { break };
            range.begin = KeyRange::of_key(last).end;
            for (_, row) in &page {
                table.take_token(decode_token(row)?);
            }
        }
        Ok(table)
    }

    async fn newest(&self) -> Result<u64, StoreError> {
        let mut transaction = self.shared.retry.store().begin().await?;
        let row = transaction.get(&revision_key(), ReadMode::Snapshot).await?;
        decode_revision(row.as_deref())
    }

    async fn page(&self, read: RangeRead) -> Result<Vec<Pair>, StoreError> {
        let mut transaction = self.shared.retry.store().begin().await?;
        transaction.range(read.limit(PAGE_ROWS).snapshot()).await
    }
}

fn tell(is_stale: bool) {
    if is_stale {
        tracing::error!(
            alert = "identity_stale",
            "the store has not answered for too long: virtual keys are refused until it does"
        );
    } else {
        tracing::info!("the store answers again: virtual keys are accepted");
    }
}
