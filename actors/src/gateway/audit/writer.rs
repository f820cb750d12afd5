//! Takes records out of the buffer into the spill, and brings the spill into the lake.

use std::future::Future;

use headwater_storage::audit::{AuditError, AuditRecord, Pruned};

use super::AuditHandle;
use crate::mutants::{Mutant, planted};

/// Most records of one batch.
const BATCH_RECORDS: usize = 512;
/// A batch ends when it has so many bytes of what was said.
const BATCH_BYTES: usize = 8 << 20;
/// The first pause after a failure and the longest one, in ms.
const PAUSES_MS: (u64, u64) = (50, 5_000);
/// Longest time for one flush or pruning, in ms; what it did not do the next one does.
const PATIENCE_MS: u64 = 300_000;

impl AuditHandle {
    /// Writes records for as long as the node lives.
    pub async fn write(self) {
        loop {
            let batch = self.take();
            if batch.is_empty() {
                self.shared.filled.notified().await;
                continue;
            }
            self.append(&batch).await;
            let mut buffer = self.shared.buffer();
            buffer.leaving = 0;
            buffer.bytes -= batch.iter().map(AuditRecord::content_bytes).sum::<usize>();
            let is_empty = buffer.records.is_empty();
            drop(buffer);
            if is_empty {
                self.shared.emptied.notify_waiters();
            }
        }
    }

    fn take(&self) -> Vec<AuditRecord> {
        let mut buffer = self.shared.buffer();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH_RECORDS && bytes < BATCH_BYTES {
            let Some(record) = buffer.records.pop_front() else { break };
            bytes += record.content_bytes();
            batch.push(record);
        }
        buffer.leaving = batch.len();
        batch
    }

    /// Appends until it is done. An append that may have come through is harmless to repeat.
    async fn append(&self, batch: &[AuditRecord]) {
        let (lake, metrics) = (&self.shared.lake, &self.shared.metrics);
        let mut pause_ms = PAUSES_MS.0;
        loop {
            match lake.append(batch).await {
                Ok(new) => {
                    metrics.written(new);
                    metrics.backlog(&lake.backlog(), self.shared.runtime.wall_ms());
                    return;
                }
                Err(AuditError::Refused(reason)) => {
                    tracing::error!(reason, records = batch.len(), "audit records are lost");
                    return metrics.dropped(batch.len() as u64);
                }
                Err(_) if planted(Mutant::FailedAppendForgotten) => return,
                Err(error) => {
                    metrics.failed("append");
                    tracing::warn!(%error, "audit records wait in memory");
                }
            }
            self.shared.runtime.pause(pause_ms).await;
            pause_ms = (pause_ms * 2).min(PAUSES_MS.1);
        }
    }

    /// Brings what was appended into the lake, and takes away what is old, for as long as the node
    /// lives.
    pub async fn keep(self) {
        let settings = self.shared.settings;
        let mut pruned_ms = None;
        loop {
            self.shared.runtime.pause(settings.flush_interval_ms).await;
            self.flush().await;
            let now_ms = self.shared.runtime.now_ms();
            if pruned_ms.is_none_or(|at: u64| at + settings.prune_interval_ms <= now_ms) {
                pruned_ms = Some(now_ms);
                let wall_ms = self.shared.runtime.wall_ms();
                let pruned = self.within("prune", self.shared.lake.prune(wall_ms)).await;
                if let Some(pruned) = pruned.filter(|pruned| *pruned != Pruned::default()) {
                    tracing::info!(?pruned, "the audit lake is tidied");
                }
            }
        }
    }

    async fn flush(&self) {
        let lake = &self.shared.lake;
        self.within("flush", lake.flush()).await;
        self.shared.metrics.backlog(&lake.backlog(), self.shared.runtime.wall_ms());
    }

    async fn within<T>(
        &self,
        work: &'static str,
        done: impl Future<Output = Result<T, AuditError>>,
    ) -> Option<T> {
        let problem = match self.shared.runtime.within(PATIENCE_MS, done).await {
            Some(Ok(done)) => return Some(done),
            Some(Err(error)) => error.to_string(),
            None => format!("it did not end within {PATIENCE_MS} ms"),
        };
        self.shared.metrics.failed(work);
        tracing::warn!(work, problem, "the audit lake did not do it; it is tried again");
        None
    }

    /// Waits until all records are in the spill, and gives the lake a chance to have them, too.
    /// What it does not take in this time the next start brings.
    pub async fn drain(&self, within_ms: u64) {
        let runtime = &self.shared.runtime;
        let drained = async {
            loop {
                let emptied = self.shared.emptied.notified();
                if self.shared.is_empty() {
                    break;
                }
                emptied.await;
            }
            self.flush().await;
        };
        if runtime.within(within_ms, drained).await.is_none() {
            let left = self.shared.buffer().records.len();
            tracing::warn!(left, within_ms, "the audit was not drained in time");
        }
        if let Some(traces) = self.shared.traces.clone() {
            // It may block.
            let closing = tokio::task::spawn_blocking(move || traces.close(within_ms));
            let _ = closing.await;
        }
    }
}
