//! A node's workers: started, counted, drained.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use headwater_vectors::Sink;

use super::handle::IngestHandle;
use super::holds::SOURCE_PARTITION;
use super::jobs;
use super::metrics::{Backlog, IngestMetrics};
use super::nouns::Job;
use super::rests::Rests;
use super::source::DocumentSource;
use super::tasks;
use super::worker::Worker;
use crate::embedding::Embedder;

/// Most jobs that the gauges of the backlog cover.
const JOBS_COUNTED: usize = 1_000;
/// Most steps of forgetting in one round.
const FORGET_STEPS: usize = 32;
/// How often a drain looks whether its workers have ended, in ms.
const DRAIN_LOOK_MS: u64 = 20;

pub(super) struct Shared {
    pub(super) handle: IngestHandle,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) embedder: Arc<dyn Embedder>,
    pub(super) source: Option<Arc<dyn DocumentSource>>,
    pub(super) metrics: IngestMetrics,
    pub(super) rests: Arc<Rests>,
    draining: AtomicBool,
    running: AtomicUsize,
}

impl Shared {
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether nothing of a job begins now. What a cancelled job drops costs nobody anything.
    pub(super) fn rests(&self, job: &Job) -> bool {
        let now_ms = self.handle.runtime().now_ms();
        !job.state.drops() && self.rests.left_ms(&job.key, now_ms) > 0
    }
}

/// The workers of this node; cheap to clone.
#[derive(Clone)]
pub struct IngestWorkers {
    shared: Arc<Shared>,
}

impl IngestWorkers {
    /// Starts them. Without a `source` this node reads no places itself.
    pub fn start(
        handle: IngestHandle,
        sink: Arc<dyn Sink>,
        embedder: Arc<dyn Embedder>,
        source: Option<Arc<dyn DocumentSource>>,
        metrics: IngestMetrics,
    ) -> IngestWorkers {
        let workers = handle.settings().workers;
        let shared = Arc::new(Shared {
            handle,
            sink,
            embedder,
            source,
            metrics,
            rests: Arc::default(),
            draining: AtomicBool::new(false),
            running: AtomicUsize::new(workers),
        });
        let runtime = shared.handle.runtime().clone();
        for _ in 0..workers {
            let shared = Arc::clone(&shared);
            runtime.spawn(async move {
                Worker::new(Arc::clone(&shared)).run().await;
                shared.running.fetch_sub(1, Ordering::Relaxed);
            });
        }
        let keeping = Arc::clone(&shared);
        runtime.spawn(async move { keep_house(&keeping).await });
        IngestWorkers { shared }
    }

    /// Lets the workers end the documents that they have under way and give their partitions
    /// back; false when that takes longer than this. Then other nodes take over once the holds
    /// have run out, and nothing is lost.
    pub async fn drain(&self, most_ms: u64) -> bool {
        self.shared.draining.store(true, Ordering::Relaxed);
        let runtime = self.shared.handle.runtime();
        let ended = runtime.within(most_ms, async {
            while self.shared.running.load(Ordering::Relaxed) > 0 {
                runtime.pause(DRAIN_LOOK_MS).await;
            }
        });
        ended.await.is_some()
    }
}

/// Tells the backlog and forgets old jobs.
async fn keep_house(shared: &Shared) {
    let (handle, runtime) = (&shared.handle, shared.handle.runtime());
    while !shared.is_draining() {
        runtime.pause(handle.settings().backlog_ms).await;
        // What fails now is done in the next round.
        if let Ok(backlog) = backlog(shared).await {
            shared.metrics.backlog(&backlog);
        }
        let before_ms = runtime.wall_ms().saturating_sub(handle.settings().retention_ms);
        for _ in 0..FORGET_STEPS {
            if !jobs::forget(handle.retry(), before_ms).await.unwrap_or(false) {
                break;
            }
        }
    }
}

async fn backlog(shared: &Shared) -> Result<Backlog, headwater_storage::StoreError> {
    let (retry, now_ms) = (shared.handle.retry(), shared.handle.runtime().wall_ms());
    let mut backlog = Backlog::default();
    for (_, key) in jobs::active(retry, None, JOBS_COUNTED).await? {
        let Some(load) = jobs::load(retry, &key).await? else { continue };
        let total = load.total();
        backlog.jobs += 1;
        backlog.waiting += total.waiting();
        backlog.waiting_bytes += total.waiting_bytes();
        backlog.running += total.running();
        backlog.dead += total.dead();
        let runs = |(place, hold): &&(u16, _)| {
            let hold: &headwater_embedding::ingest::Hold = hold;
            *place != SOURCE_PARTITION && hold.runs(now_ms)
        };
        backlog.workers += load.holds.iter().filter(runs).count() as u64;
        let waiting = load.counts.iter().filter(|(_, counts)| counts.waiting() > 0);
        let partitions: Vec<u16> = waiting.map(|(partition, _)| *partition).collect();
        if let Some(oldest_ms) = tasks::oldest_ms(retry, &key, &partitions).await? {
            backlog.oldest_ms = backlog.oldest_ms.max(now_ms.saturating_sub(oldest_ms));
        }
    }
    Ok(backlog)
}
