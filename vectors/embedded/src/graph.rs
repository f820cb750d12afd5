//! The graph over a large space: usearch's HNSW in half precision, filled in the background.
//!
//! usearch is built without its own SIMD kernels; distances are [`dot_f16`]. It has one context
//! for each thread that may be in it at a time, and hands out none beyond them, so permits bound
//! the threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use half::f16;
use headwater_vectors::products::{dot, dot_f16};
use headwater_vectors::quantise::to_f16;
use headwater_vectors::{Filter, Hit, Metric, NumberFormat, SearchQuery, SinkError, Space};
use tokio::sync::{OwnedRwLockReadGuard, Semaphore};
use usearch::{Index as Native, IndexOptions, MetricKind, ScalarKind};

use crate::index::{Index, Open};
use crate::search::{find as find_exactly, hits, scan};
use crate::slab::Slab;

/// Searches that may be in the graph at a time; further ones wait.
const SEARCHES: usize = 16;
/// And one thread that adds.
const THREADS: usize = SEARCHES + 1;
/// Slots added between two looks at the slab: some 50 ms of work.
const STEP_SLOTS: usize = 256;
/// Fewer slots than these outside the graph are scanned.
const TAIL_SLOTS: usize = 1_024;
/// Room is reserved for so many slots at first, and for half as many again each time.
const CAPACITY_MIN: usize = 4_096;
/// Links of a slot, and how far adding and searching look around: usearch's defaults, but for a
/// wider search.
const CONNECTIVITY: usize = 16;
const EXPANSION_ADD: usize = 128;
const EXPANSION_SEARCH: usize = 128;
/// Slots by which the share that passes a filter is guessed.
const SAMPLE: usize = 512;

/// Some of a slab's slots, by nearness. Slots are only ever added; who asks says which of them
/// count.
pub(crate) struct Graph {
    native: RwLock<Native>,
    /// All live slots below are in.
    covered: AtomicUsize,
    searches: Arc<Semaphore>,
    metric: Metric,
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Graph").field("covered", &self.covered()).finish_non_exhaustive()
    }
}

impl Graph {
    fn new(space: &Space) -> Result<Self, String> {
        let options = IndexOptions {
            dimensions: space.dimensions,
            metric: MetricKind::IP,
            quantization: ScalarKind::F16,
            connectivity: CONNECTIVITY,
            expansion_add: EXPANSION_ADD,
            expansion_search: EXPANSION_SEARCH,
            multi: false,
        };
        let mut native = Native::new(&options).map_err(|error| error.to_string())?;
        let dimensions = space.dimensions;
        native.change_metric::<usearch::f16>(Box::new(move |left, right| {
            // SAFETY: usearch calls this with two vectors of the index, each of `dimensions`
            // numbers of 16 bits, and neither changes while it runs. Both types are transparent
            // over 16 bits, and every pattern of them is a number.
            let vector = |start: *const usearch::f16| unsafe {
                std::slice::from_raw_parts(start.cast::<f16>(), dimensions)
            };
            1.0 - dot_f16(vector(left), vector(right))
        }));
        native
            .reserve_capacity_and_threads(CAPACITY_MIN, THREADS)
            .map_err(|error| error.to_string())?;
        Ok(Graph {
            native: RwLock::new(native),
            covered: AtomicUsize::new(0),
            searches: Arc::new(Semaphore::new(SEARCHES)),
            metric: space.metric,
        })
    }

    pub(crate) fn covered(&self) -> usize {
        self.covered.load(Ordering::Acquire)
    }

    /// A vector as the graph compares it: of length 1 where only the angle counts.
    fn numbers(&self, mut vector: Vec<f32>) -> Vec<i16> {
        let length = dot(&vector, &vector).sqrt();
        if self.metric == Metric::Cosine && length > 0.0 {
            vector.iter_mut().for_each(|component| *component /= length);
        }
        to_f16(&vector).into_iter().map(|number| number.to_bits().cast_signed()).collect()
    }

    /// Adds slots; one caller at a time. `slots` is how many there are in all.
    fn add(&self, batch: Vec<(u32, Vec<f32>)>, slots: usize) -> Result<(), String> {
        let needed = slots.max(CAPACITY_MIN);
        let reader = self.native.read().unwrap_or_else(PoisonError::into_inner);
        if reader.capacity() < reader.size() + batch.len() {
            drop(reader);
            let native = self.native.write().unwrap_or_else(PoisonError::into_inner);
            native
                .reserve_capacity_and_threads(needed + needed / 2, THREADS)
                .map_err(|error| error.to_string())?;
        } else {
            drop(reader);
        }
        let native = self.native.read().unwrap_or_else(PoisonError::into_inner);
        for (slot, vector) in batch {
            let numbers = self.numbers(vector);
            native
                .add(u64::from(slot), usearch::f16::from_i16s(&numbers))
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// The slots nearest to the query among those that pass.
    fn search(
        &self,
        query: &[f32],
        wanted: usize,
        passes: impl Fn(u32) -> bool,
    ) -> Result<Vec<u32>, String> {
        let numbers = self.numbers(query.to_vec());
        let native = self.native.read().unwrap_or_else(PoisonError::into_inner);
        let matches = native
            .filtered_search(usearch::f16::from_i16s(&numbers), wanted, |slot| passes(slot as u32))
            .map_err(|error| error.to_string())?;
        Ok(matches.keys.into_iter().map(|slot| slot as u32).collect())
    }
}

/// Starts a task that puts the space's slots into a graph, when that is due and tokio is there.
pub(crate) fn grow(open: &Arc<Open>, exact_records_max: usize) {
    let Ok(index) = open.index.try_read() else { return };
    let covered = index.graph.as_ref().map_or(0, |graph| graph.covered());
    let is_large = index.slab.live() > exact_records_max;
    let is_due = is_large && index.slab.slots() - covered >= TAIL_SLOTS;
    if !is_due || index.slab.space().format == NumberFormat::Binary {
        return;
    }
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    if !open.is_growing.swap(true, Ordering::AcqRel) {
        runtime.spawn(keep_growing(Arc::downgrade(open)));
    }
}

/// Ends when all slots are in, when the space is closed, and for good when usearch fails: the
/// slots that are missing are scanned then.
async fn keep_growing(open: Weak<Open>) {
    loop {
        let Some(open) = open.upgrade() else { return };
        let index = Arc::clone(&open.index);
        match tokio::task::spawn_blocking(move || grow_by_one_step(&index)).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => {
                open.is_growing.store(false, Ordering::Release);
                return;
            }
            Ok(Err(error)) => {
                tracing::warn!(
                    error,
                    "the graph of a space stopped growing; it is scanned instead"
                );
                return;
            }
            // The runtime ends.
            Err(_) => return,
        }
    }
}

/// Whether there is more to do.
fn grow_by_one_step(index: &tokio::sync::RwLock<Index>) -> Result<bool, String> {
    let held = index.blocking_read();
    let graph = match held.graph.clone() {
        Some(graph) => graph,
        None => {
            let graph = Arc::new(Graph::new(held.slab.space())?);
            drop(held);
            index.blocking_write().graph = Some(graph);
            return Ok(true);
        }
    };
    let (begin, slots) = (graph.covered(), held.slab.slots());
    let end = slots.min(begin + STEP_SLOTS);
    let live = (begin as u32..end as u32).filter(|slot| held.slab.passes(*slot, None));
    let components = live.map(|slot| held.slab.components(slot).map(|vector| (slot, vector)));
    let batch = components.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    drop(held);
    graph.add(batch, slots)?;
    graph.covered.store(end, Ordering::Release);
    Ok(end < slots)
}

/// The nearest vectors, by the graph where there is one and it helps.
pub(crate) async fn find(
    index: OwnedRwLockReadGuard<Index>,
    query: &SearchQuery,
    few: usize,
) -> Result<Vec<Hit>, SinkError> {
    let graph = index.graph.clone().filter(|graph| graph.covered() > 0);
    // Only tokio has the threads to wait for usearch on.
    let graph = graph.filter(|_| tokio::runtime::Handle::try_current().is_ok());
    let Some(graph) = graph.filter(|_| many_pass(&index.slab, query.filter.as_ref(), few)) else {
        return find_exactly(&index, query).await;
    };
    // What is added from here on is found twice, which does no harm.
    let covered = graph.covered();
    let Ok(permit) = Arc::clone(&graph.searches).acquire_owned().await else {
        return find_exactly(&index, query).await;
    };
    let wanted = query.limit + query.limit / 2 + 10;
    let (vector, filter) = (query.vector.clone(), query.filter.clone());
    let asked = tokio::task::spawn_blocking(move || {
        let passes = |slot| index.slab.passes(slot, filter.as_ref());
        let answer = graph.search(&vector, wanted, passes);
        drop(permit);
        (index, answer)
    });
    let (index, answer) = asked.await.map_err(|_| {
        SinkError::Unavailable("the search of the graph was ended; try again".to_owned())
    })?;
    let Ok(near) = answer else { return find_exactly(&index, query).await };
    let scorer = index.slab.scorer(&query.vector)?;
    let mut found = scan(&index.slab, covered, &scorer, query).await?;
    for slot in near {
        found.push(index.slab.found(slot, &scorer)?);
    }
    let hits = hits(&index.slab, found, &scorer, query.limit)?;
    if hits.len() < query.limit {
        // The graph did not get to all that pass.
        return find_exactly(&index, query).await;
    }
    Ok(hits)
}

/// Whether more than `few` records pass, as a sample has it: few are found faster by a scan,
/// and a graph may not get to them.
fn many_pass(slab: &Slab, filter: Option<&Filter>, few: usize) -> bool {
    let Some(filter) = filter else { return true };
    let step = slab.slots().div_ceil(SAMPLE).max(1);
    let sample = (0..slab.slots()).step_by(step);
    let (mut looked, mut passed) = (0, 0);
    for slot in sample {
        looked += 1;
        passed += usize::from(slab.passes(slot as u32, Some(filter)));
    }
    passed * slab.slots() > few * looked && passed * 20 > looked
}
