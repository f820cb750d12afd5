//! The audit lake: Parquet files by day and team, a spill on this node's disk ahead of them, and
//! SQL over both.
//!
//! A batch of records becomes a frame of the open **segment** of the spill. A segment that is
//! sealed becomes one file for each day and team, named after it, and only then it is removed: to
//! do so again after a crash writes the same files. A file that replaces others names the range of
//! segments that it covers, so whoever lists old and new reads each row once.

mod cells;
mod engine;
mod files;
mod frame;
mod keep;
mod listing;
mod names;
mod place;
mod records;
mod rows;
mod scan;
mod settings;
mod spill;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use headwater_storage::audit::{
    AuditError, AuditLake, AuditQuery, AuditRecord, Backlog, Pruned, Table,
};
use tokio::runtime::Runtime;

use names::{FileName, Partition, Tier};
use place::Place;
pub use settings::{ParquetAuditSettings, SpillSettings};
use spill::Spill;

/// Files of one segment that are written at a time.
const WRITES: usize = 8;
/// Questions that are answered at a time; others wait, within their own time.
const QUESTIONS: usize = 2;
/// SQL of some length is planned by recursion.
const STACK_BYTES: usize = 32 << 20;

/// See the module. All that takes long runs on threads of its own.
pub struct ParquetAudit {
    inner: Arc<Inner>,
    /// None once it is dropped.
    threads: Option<Runtime>,
}

pub(crate) struct Inner {
    place: Place,
    spill: Spill,
    settings: ParquetAuditSettings,
    /// One flush at a time; it waits for the store.
    flushing: tokio::sync::Mutex<()>,
    pruning: tokio::sync::Mutex<()>,
    asking: tokio::sync::Semaphore,
}

impl ParquetAudit {
    /// Opens the spill, and takes up what an earlier process left there. The lake itself may be
    /// away. `draw` names this writer when the spill has no name yet.
    ///
    /// # Errors
    /// [`AuditError::Refused`] when the location is none that this build knows or the spill's
    /// folder is another process's; [`AuditError::Unavailable`] when this folder cannot be used.
    pub fn open(
        settings: ParquetAuditSettings,
        now_ms: u64,
        draw: u64,
    ) -> Result<ParquetAudit, AuditError> {
        let place = Place::open(&settings.location, &settings.options, settings.timeout_ms)?;
        ParquetAudit::over(place, settings, now_ms, draw)
    }

    fn over(
        place: Place,
        settings: ParquetAuditSettings,
        now_ms: u64,
        draw: u64,
    ) -> Result<ParquetAudit, AuditError> {
        let spill = Spill::open(&settings.spill, now_ms, draw)?;
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(settings.threads.max(1))
            .thread_name("audit")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|error| AuditError::Unavailable(format!("no thread starts: {error}")))?;
        let (flushing, pruning) = Default::default();
        let asking = tokio::sync::Semaphore::new(QUESTIONS);
        let inner = Arc::new(Inner { place, spill, settings, flushing, pruning, asking });
        Ok(ParquetAudit { inner, threads: Some(threads) })
    }

    async fn apart<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, AuditError>> + Send + 'static,
    ) -> Result<T, AuditError> {
        Ended(self.threads()?.spawn(work)).await
    }

    fn threads(&self) -> Result<&Runtime, AuditError> {
        let gone = || AuditError::Unavailable("the audit lake is closed".to_owned());
        self.threads.as_ref().ok_or_else(gone)
    }
}

/// A task that ends with whoever waits for it.
struct Ended<T>(tokio::task::JoinHandle<Result<T, AuditError>>);

impl<T> Future for Ended<T> {
    type Output = Result<T, AuditError>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(context).map(|joined| {
            joined.unwrap_or_else(|error| {
                tracing::error!(%error, "the audit lake broke off its work");
                Err(AuditError::Unavailable("the audit lake broke off its work".to_owned()))
            })
        })
    }
}

impl<T> Drop for Ended<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Drop for ParquetAudit {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

#[async_trait]
impl AuditLake for ParquetAudit {
    async fn append(&self, records: &[AuditRecord]) -> Result<u64, AuditError> {
        let (inner, records) = (Arc::clone(&self.inner), records.to_vec());
        let threads = self.threads()?;
        // On a thread that no question can hold up.
        Ended(threads.spawn_blocking(move || inner.spill.append(records))).await
    }

    async fn flush(&self) -> Result<(), AuditError> {
        let inner = Arc::clone(&self.inner);
        self.apart(async move { inner.flush().await }).await
    }

    async fn query(&self, query: AuditQuery) -> Result<Table, AuditError> {
        let (inner, limits) = (Arc::clone(&self.inner), query.limits);
        let answer = self.apart(async move { engine::answer(inner, query).await });
        let time = std::time::Duration::from_millis(limits.time_ms);
        match tokio::time::timeout(time, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(AuditError::TimedOut { after_ms: limits.time_ms }),
        }
    }

    async fn prune(&self, now_ms: u64) -> Result<Pruned, AuditError> {
        let inner = Arc::clone(&self.inner);
        self.apart(async move { inner.prune(now_ms).await }).await
    }

    fn backlog(&self) -> Backlog {
        self.inner.spill.backlog()
    }
}

impl Inner {
    /// Writes all segments as they are now, the oldest first: a file of a later segment stands in
    /// the lake only when all earlier ones do.
    async fn flush(&self) -> Result<(), AuditError> {
        let _one = self.flushing.lock().await;
        for segment in self.spill.seal()? {
            let Some(records) = self.spill.read(&segment)? else { continue };
            let name = FileName::of_segment(&segment, Tier::All);
            let mut files = Vec::new();
            for (partition, records) in Partition::split(&records) {
                files.push((partition.file(&name), files::of_records(&records)?));
            }
            let writes = files.into_iter().map(|(file, bytes)| self.place.put(file, bytes));
            stream::iter(writes).buffer_unordered(WRITES).try_collect::<()>().await?;
            self.spill.done(&segment, &records)?;
        }
        Ok(())
    }
}
