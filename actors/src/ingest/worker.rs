//! A worker: holds one partition after the other and writes its documents, until the node
//! drains.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use headwater_embedding::ingest::{
    Counts, Lane, PARTITIONS, Verdict, after_failure, next_partition,
};
use headwater_storage::StoreError;

use super::document::{self, Problem, Tools};
use super::fence::is_lost;
use super::holds::{Claims, Held, SOURCE_PARTITION, wants_source};
use super::jobs::{self, Load};
use super::node::Shared;
use super::nouns::{Job, JobKey};
use super::source;
use super::tasks::{self, Ending, Task};
use super::window::{Event, Window};
use crate::collection::{CollectionError, Collections};
use crate::mutants::{Mutant, planted};

/// Most jobs that a worker looks at for work at a time; the next look begins behind them.
const JOBS_LOOKED_AT: usize = 256;
/// Pause before the end of an attempt is written down again, in ms.
const END_PAUSE_MS: u64 = 100;
/// Pause of a document whose model went while it was worked on, in ms.
const NOT_SERVED_PAUSE_MS: u64 = 5_000;
/// Shortest and longest pause of a document whose tenant's quota is used up, in ms: a limit that
/// was raised is noticed long before the end of a month.
const QUOTA_PAUSE_MS: (u64, u64) = (100, 60_000);

/// What to work on.
struct Place {
    job: JobKey,
    partition: u16,
}

/// See the module.
pub(super) struct Worker {
    shared: Arc<Shared>,
    /// Partitions in which nothing can begin before a time, in ms of the monotonic clock. Each is
    /// claimed for it and forgotten a moment later, so there are never many.
    resting: BTreeMap<(JobKey, u16), u64>,
    /// The key of the last job that was looked at in vain; at the end it begins anew.
    looked_at: Option<Vec<u8>>,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>) -> Worker {
        Worker { shared, resting: BTreeMap::new(), looked_at: None }
    }

    pub(super) async fn run(mut self) {
        while !self.shared.is_draining() {
            let poll_ms = self.shared.handle.settings().poll_ms;
            match self.find().await {
                Ok(Some(place)) => {
                    let claimed = self.claim(&place).await;
                    match claimed {
                        Ok(Some(held)) if place.partition == SOURCE_PARTITION => {
                            self.read_source(held).await;
                        }
                        Ok(Some(held)) => self.work(held).await,
                        Ok(None) => {}
                        Err(_) => self.idle(poll_ms).await,
                    }
                }
                Ok(None) | Err(_) => self.idle(poll_ms).await,
            }
        }
    }

    /// Pauses for about so long: workers that fail together do not come back together.
    async fn idle(&self, ms: u64) {
        let runtime = self.shared.handle.runtime();
        let draw = runtime.environment().draw();
        runtime.pause(ms / 2 + draw % (ms / 2 + 1)).await;
    }

    /// The work of the highest priority that nobody does. Jobs in which nothing waits are ended
    /// on the way.
    async fn find(&mut self) -> Result<Option<Place>, StoreError> {
        let (handle, runtime) = (self.shared.handle.clone(), self.shared.handle.runtime().clone());
        let now_ms = runtime.now_ms();
        self.resting.retain(|_, until_ms| *until_ms > now_ms);
        let after = self.looked_at.take();
        let active = jobs::active(handle.retry(), after.as_deref(), JOBS_LOOKED_AT).await?;
        let behind = active.last().filter(|_| active.len() == JOBS_LOOKED_AT).cloned();
        for (_, key) in active {
            let Some(load) = jobs::load(handle.retry(), &key).await? else { continue };
            let wall_ms = runtime.wall_ms();
            if self.shared.source.is_some()
                && wants_source(&load.job)
                && !self.resting.contains_key(&(key.clone(), SOURCE_PARTITION))
                && !load
                    .holds
                    .iter()
                    .any(|(place, hold)| *place == SOURCE_PARTITION && hold.runs(wall_ms))
            {
                return Ok(Some(Place { job: key, partition: SOURCE_PARTITION }));
            }
            if load.job.state.may_end() && load.total().waiting() == 0 {
                self.finish(&load).await?;
                continue;
            }
            let with_work = self.with_work(&load);
            let start = (runtime.environment().draw() % u64::from(PARTITIONS)) as u16;
            if let Some(partition) = next_partition(&with_work, &load.holds, start, wall_ms) {
                let others = load
                    .holds
                    .iter()
                    .filter(|(place, hold)| *place != SOURCE_PARTITION && hold.runs(wall_ms));
                if others.count() < load.job.spec.workers_max as usize
                    && self.serves(&load.job).await
                {
                    return Ok(Some(Place { job: key, partition }));
                }
            }
        }
        self.looked_at = behind.map(|(row, _)| row);
        Ok(None)
    }

    /// Whether this node has the models that the job needs: what it cannot do it leaves to others.
    async fn serves(&self, job: &Job) -> bool {
        let Shared { handle, embedder, .. } = &*self.shared;
        if job.state.drops() {
            return true;
        }
        let targets = handle.collections().targets(&job.key.tenant, &job.spec.collection).await;
        // What is wrong with the collection is told where a document is worked on.
        let Ok(targets) = targets else { return true };
        let cuts = job.spec.model.as_ref().is_none_or(|model| embedder.card(model).is_some());
        cuts && targets.iter().all(|target| embedder.version(&target.version).is_some())
    }

    fn with_work(&self, load: &Load) -> Vec<u16> {
        let state = &load.job.state;
        if self.shared.rests(&load.job) {
            return Vec::new();
        }
        let all = state.may_begin() || state.drops();
        let has_work = |(partition, counts): &(&u16, &Counts)| {
            let has = if all { counts.waiting() > 0 } else { counts.running() > 0 };
            has && !self.resting.contains_key(&(load.job.key.clone(), **partition))
        };
        load.counts.iter().filter(has_work).map(|(partition, _)| *partition).collect()
    }

    /// Ends a job in which nothing waits, once nothing that it removed is left in the sink.
    async fn finish(&self, load: &Load) -> Result<(), StoreError> {
        let (handle, key) = (&self.shared.handle, &load.job.key);
        if !self.mend(&load.job).await? {
            return Ok(());
        }
        if jobs::finish(handle.retry(), key, handle.runtime().wall_ms()).await? {
            tracing::info!(job = key.id, tenant = key.tenant, "an ingest job has ended");
        }
        Ok(())
    }

    /// Removes the vectors of chunks that went; false when that is not done yet. A worker that
    /// fails in it keeps its hold until that runs out: what the sink was asked for may still
    /// happen, and nobody may take a chunk for mended before.
    async fn mend(&self, job: &Job) -> Result<bool, StoreError> {
        if planted(Mutant::RemovedVectorsStay) {
            return Ok(true);
        }
        let Some(held) = self.claims().of_mending(job).await? else { return Ok(false) };
        let collections = self.tools(&held).collections;
        let mut window = Window::new(&held, self.shared.handle.runtime());
        let mending = async {
            let collection = collections.get(&job.key.tenant, &job.spec.collection).await?;
            collections.mend(&collection).await?;
            collections.is_mended(&collection).await
        };
        match window.drive(mending).await {
            Event::Other(Ok(mended)) => {
                drop(window);
                held.release().await;
                // What somebody who died had claimed is mended once the claim is over.
                Ok(mended)
            }
            Event::Other(Err(CollectionError::NoCollection { .. })) => Ok(true),
            Event::Other(Err(error)) => {
                let collection = &job.spec.collection;
                tracing::warn!(collection, %error, "vectors of removed chunks remain");
                Ok(false)
            }
            Event::Lost | Event::Ended => Ok(false),
        }
    }

    fn claims(&self) -> Claims {
        let handle = &self.shared.handle;
        let settings = handle.settings();
        Claims {
            retry: handle.retry().clone(),
            policy: settings.retry,
            runtime: handle.runtime().clone(),
            settings: settings.hold,
        }
    }

    async fn claim(&self, place: &Place) -> Result<Option<Held>, StoreError> {
        let held = self.claims().of_job(&place.job, place.partition).await?;
        self.shared.metrics.hold(if held.is_some() { "claimed" } else { "taken" });
        Ok(held)
    }

    async fn read_source(&mut self, held: Held) {
        let shared = Arc::clone(&self.shared);
        let Some(reader) = &shared.source else { return };
        let mut window = Window::new(&held, shared.handle.runtime());
        match window.drive(source::read(&shared, reader.as_ref(), &held)).await {
            Event::Lost | Event::Ended => shared.metrics.hold("lost"),
            Event::Other(ended) => {
                let settings = shared.handle.settings();
                self.rest(&held, ended == source::Ended::Failed, settings.slice_ms);
                held.release().await;
            }
        }
    }

    /// Works on a partition until it is empty, its slice of time is over, or the hold is lost.
    async fn work(&mut self, held: Held) {
        let shared = Arc::clone(&self.shared);
        let (settings, runtime) = (*shared.handle.settings(), shared.handle.runtime().clone());
        let tools = self.tools(&held);
        let ends_ms = runtime.now_ms() + settings.slice_ms;
        let mut window = Window::new(&held, &runtime);
        let (mut empty, mut waits) = (false, false);
        loop {
            let now_ms = runtime.now_ms();
            let open =
                !empty && !shared.rests(&held.job) && !shared.is_draining() && now_ms < ends_ms;
            let room = settings.documents.max(1).saturating_sub(window.len());
            if !open && window.len() == 0 {
                break;
            }
            if !open || room == 0 {
                match window.drive(pending::<()>()).await {
                    Event::Lost => return self.lost(&held),
                    _ => continue,
                }
            }
            let (under_way, token) = (window.lines(), runtime.draw());
            let taking = tasks::take(&held, &under_way, room, token, runtime.wall_ms());
            let mut taking = Box::pin(taking);
            let taken = loop {
                match window.drive(&mut taking).await {
                    Event::Lost => return self.lost(&held),
                    Event::Ended => {}
                    Event::Other(taken) => break taken,
                }
            };
            match taken {
                Ok(taken) => {
                    empty = taken.tasks.is_empty() && taken.skipped == 0 && window.len() == 0;
                    waits = taken.waits;
                    shared.metrics.document("skipped", taken.skipped);
                    let idle = taken.tasks.is_empty() && taken.skipped == 0;
                    for task in taken.tasks {
                        let work = attempt(tools.clone(), held.clone(), task.clone());
                        window.add(task.line, work);
                    }
                    if idle && window.len() > 0 && self.wait(&mut window).await {
                        return self.lost(&held);
                    }
                }
                Err(error) if is_lost(&error) => return self.lost(&held),
                Err(_) => empty = window.len() == 0,
            }
        }
        self.rest(&held, waits, settings.poll_ms);
        drop(window);
        let job = Arc::clone(&held.job);
        held.release().await;
        shared.metrics.hold("released");
        if tools.removed.load(Ordering::Relaxed) > 0 {
            // What stays is mended by the next one, at the latest when the job ends.
            let _ = self.mend(&job).await;
        }
    }

    /// Waits until a document has ended; whether the hold is lost.
    async fn wait(&self, window: &mut Window) -> bool {
        window.drive(pending::<()>()).await == Event::Lost
    }

    fn lost(&self, held: &Held) {
        self.shared.metrics.hold("lost");
        tracing::warn!(job = held.job.key.id, partition = held.partition, "a hold was lost");
    }

    /// Leaves a partition alone for so long: its tasks all wait, or its source fails.
    fn rest(&mut self, held: &Held, waits: bool, ms: u64) {
        if waits {
            let until_ms = self.shared.handle.runtime().now_ms() + ms;
            self.resting.insert((held.job.key.clone(), held.partition), until_ms);
        }
    }

    fn tools(&self, held: &Held) -> Tools {
        let Shared { handle, sink, embedder, metrics, rests, .. } = &*self.shared;
        let runtime = handle.runtime().clone();
        let collections = Collections::new(
            runtime.clone(),
            held.retry.clone(),
            Arc::clone(sink),
            Arc::clone(embedder),
        );
        Tools {
            runtime,
            collections,
            embedder: Arc::clone(embedder),
            settings: *handle.settings(),
            metrics: metrics.clone(),
            removed: Arc::default(),
            rests: Arc::clone(rests),
        }
    }
}

/// One attempt at a document, and how it ended, written down.
async fn attempt(tools: Tools, held: Held, mut task: Task) {
    let began_ms = tools.runtime.now_ms();
    if planted(Mutant::EndsBeforeChunks) {
        write_down(&tools, &held, &task, &Ending::Done(Default::default())).await;
    }
    let ending = match document::write(&tools, &held, &task).await {
        Ok(counts) => {
            let took_ms = tools.runtime.now_ms().saturating_sub(began_ms);
            tools.metrics.done(counts.get(Lane::Chunks), counts.get(Lane::Tokens), took_ms);
            Ending::Done(counts)
        }
        Err(Problem::Lost) => return,
        Err(Problem::SinkDown(reason)) => {
            // Until nothing of this attempt can arrive any more, the document has not ended, so
            // that no later write of it begins.
            let hold = &tools.settings.hold;
            let after_ms = match planted(Mutant::LateRequestsForgotten) {
                true => 0,
                false => hold.late_ms + hold.max_skew_ms,
            };
            tools.runtime.pause(after_ms).await;
            verdict(&tools, &task, reason, false, 0)
        }
        Err(Problem::NotServed(reason)) => {
            waits(&tools, &held, &mut task, reason, NOT_SERVED_PAUSE_MS)
        }
        Err(Problem::OverLimit { reason, after_ms }) => {
            let after_ms = after_ms.clamp(QUOTA_PAUSE_MS.0, QUOTA_PAUSE_MS.1);
            waits(&tools, &held, &mut task, reason, after_ms)
        }
        Err(Problem::Permanent(reason)) => verdict(&tools, &task, reason, true, 0),
        Err(Problem::Later { reason, after_ms }) => verdict(&tools, &task, reason, false, after_ms),
    };
    write_down(&tools, &held, &task, &ending).await;
}

/// A document that waited for so long and did not fail: the attempt is not counted, and nothing
/// of its job begins on this node before.
fn waits(tools: &Tools, held: &Held, task: &mut Task, reason: String, for_ms: u64) -> Ending {
    task.row.attempts = task.row.attempts.saturating_sub(1);
    tools.rests.rest(&held.job.key, tools.runtime.now_ms(), for_ms);
    Ending::Again { not_before_ms: tools.runtime.wall_ms() + for_ms, reason }
}

fn verdict(tools: &Tools, task: &Task, reason: String, permanent: bool, asked_ms: u64) -> Ending {
    let draw = tools.runtime.environment().draw();
    let settings = &tools.settings.attempts;
    let at_ms = tools.runtime.wall_ms();
    match after_failure(task.row.attempts, permanent, asked_ms, settings, draw) {
        Verdict::Again { after_ms } => Ending::Again { not_before_ms: at_ms + after_ms, reason },
        Verdict::DeadLetter => Ending::Dead { reason, at_ms },
    }
}

/// Tries until it is written, or the hold is lost and the window drops this.
async fn write_down(tools: &Tools, held: &Held, task: &Task, ending: &Ending) {
    loop {
        match tasks::end(held, task, ending).await {
            Ok(()) => break,
            Err(error) if is_lost(&error) => return,
            Err(_) => tools.runtime.pause(END_PAUSE_MS).await,
        }
    }
    let outcome = match ending {
        Ending::Done(_) => "done",
        Ending::Again { .. } => "put_off",
        Ending::Dead { .. } => "dead",
    };
    tools.metrics.document(outcome, 1);
}
