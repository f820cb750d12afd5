//! Vectors that were computed before, and work that several requests wait for together.
//!
//! A node keeps the vectors of each model version in memory up to a limit in bytes. What is
//! admitted when the memory is full is decided by TinyLFU (Einziger, Friedman and Manes, "TinyLFU:
//! a highly efficient cache admission policy", ACM TOS 2017): a new vector takes the place of
//! others only when it was asked for more often than they were. So a bulk job's chunks, asked
//! for once, fill free memory but never push out what queries use.

mod flights;
mod metrics;
mod stored;

use std::collections::BTreeMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use headwater_embedding::{CacheKey, Fullness, KeySpace, Pool, entry_bytes};
use headwater_models::{ModelCard, Sequence};
use tokio::sync::Semaphore;

pub(super) use metrics::{CacheMetrics, ModelCacheMetrics};
pub use stored::StoredVectors;

use super::handle::EmbedError;
use flights::{Claim, Flights};

/// Whether a vector of so many components fits into a row of the store; a SPLADE model's does not.
fn fits_a_row(dimensions: usize) -> bool {
    4 * dimensions + 1_024 <= headwater_storage::limits::VALUE_BYTES
}

/// Inputs of more tokens than this in sum are hashed off the async threads.
const INLINE_TOKENS: usize = 65_536;
/// Pause that a client is told when too many wait for the work of others, in ms.
const RETRY_MS: u64 = 1_000;

/// How much memory cached vectors may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSettings {
    /// Most bytes for each model on this node, what an entry takes beside its vector counted in.
    /// 0 turns the cache off, and with it that equal texts are computed once.
    pub bytes: u64,
    /// Other limits for single models, by name.
    pub by_model: BTreeMap<String, u64>,
    /// A second level in the store, asked for what is not in memory.
    pub stored: Option<StoredVectors>,
}

impl Default for CacheSettings {
    fn default() -> Self {
        CacheSettings { bytes: 4 << 30, by_model: BTreeMap::new(), stored: None }
    }
}

impl CacheSettings {
    /// No cache.
    pub fn off() -> Self {
        CacheSettings { bytes: 0, by_model: BTreeMap::new(), stored: None }
    }

    fn limit(&self, model: &str) -> u64 {
        self.by_model.get(model).copied().unwrap_or(self.bytes)
    }
}

/// One vector, shared by the cache and those who wait for it.
type Vector = Arc<[f32]>;

/// Keys are digests already: eight bytes of them are as even as a hash.
#[derive(Default)]
struct Digested(u64);

impl Hasher for Digested {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    // The length before the bytes of an array says nothing.
    fn write_usize(&mut self, _: usize) {}
}

type Entries = moka::sync::Cache<CacheKey, Vector, BuildHasherDefault<Digested>>;

/// The answer to one request.
pub(super) struct Served {
    /// In the order of the inputs.
    pub(super) vectors: Vec<Vec<f32>>,
    /// Inputs whose vectors were there already.
    pub(super) cached: usize,
}

/// The cache of one model version; cheap to clone.
#[derive(Clone)]
pub(super) struct VectorCache {
    /// None when it is turned off.
    shared: Option<Arc<Shared>>,
}

struct Shared {
    model: String,
    fingerprint: String,
    dimensions: usize,
    keys: KeySpace,
    entries: Entries,
    limit_bytes: u64,
    stored: Option<StoredVectors>,
    flights: Flights,
    /// Tokens that may still wait for the work of others, by [`Pool::index`]: a wait takes no permit of the queue,
    /// and none may be without a bound.
    waiting: [Semaphore; 2],
    fullness: Mutex<Fullness>,
    metrics: ModelCacheMetrics,
}

/// A distinct input of a request.
struct Slot {
    /// Where it stands first.
    index: usize,
    vector: Option<Vector>,
}

impl VectorCache {
    /// At most `waiting_tokens` may wait for the work of others.
    pub(super) fn new(
        card: &ModelCard,
        settings: &CacheSettings,
        waiting_tokens: usize,
        metrics: ModelCacheMetrics,
    ) -> Self {
        let limit_bytes = settings.limit(&card.name);
        metrics.limit(limit_bytes);
        if limit_bytes == 0 {
            return VectorCache { shared: None };
        }
        let gone = metrics.clone();
        let entries = moka::sync::Cache::builder()
            .max_capacity(limit_bytes)
            .weigher(|_, vector: &Vector| entry_bytes(vector.len()).try_into().unwrap_or(u32::MAX))
            .eviction_listener(move |_, _, cause| {
                if cause.was_evicted() {
                    gone.evicted();
                }
            })
            .build_with_hasher(BuildHasherDefault::default());
        let shared = Shared {
            model: card.name.clone(),
            fingerprint: card.fingerprint.clone(),
            dimensions: card.dimensions,
            keys: KeySpace::of(&card.fingerprint),
            entries,
            limit_bytes,
            stored: settings.stored.clone().filter(|_| fits_a_row(card.dimensions)),
            flights: Flights::default(),
            waiting: [(); 2].map(|()| Semaphore::new(waiting_tokens.min(Semaphore::MAX_PERMITS))),
            fullness: Mutex::default(),
            metrics,
        };
        VectorCache { shared: Some(Arc::new(shared)) }
    }

    /// The vectors of all inputs; `compute` is given those that nobody has and nobody is
    /// computing. It runs again when one of those fails whose work this request waited for.
    ///
    /// # Errors
    /// Those of `compute`, and [`EmbedError::Overloaded`] when too many wait already.
    pub(super) async fn serve<F, Work>(
        &self,
        pool: Pool,
        inputs: Vec<Sequence>,
        compute: F,
    ) -> Result<Served, EmbedError>
    where
        F: Fn(Vec<Sequence>) -> Work,
        Work: Future<Output = Result<Vec<Vec<f32>>, EmbedError>>,
    {
        match &self.shared {
            None => Ok(Served { vectors: compute(inputs).await?, cached: 0 }),
            Some(shared) => shared.serve(pool, inputs, compute).await,
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.metrics.limit(0);
        self.metrics.bytes(0);
        self.metrics.nearly_full(false);
    }
}

impl Shared {
    async fn serve<F, Work>(
        self: &Arc<Self>,
        pool: Pool,
        inputs: Vec<Sequence>,
        compute: F,
    ) -> Result<Served, EmbedError>
    where
        F: Fn(Vec<Sequence>) -> Work,
        Work: Future<Output = Result<Vec<Vec<f32>>, EmbedError>>,
    {
        let (inputs, keys) = self.keys_of(inputs).await?;
        let mut slots: BTreeMap<CacheKey, Slot> = BTreeMap::new();
        for (index, key) in keys.iter().enumerate() {
            slots.entry(*key).or_insert_with(|| Slot { index, vector: self.entries.get(key) });
        }
        let found = |key: &&CacheKey| slots.get(key).is_some_and(|slot| slot.vector.is_some());
        let mut cached = keys.iter().filter(found).count();
        self.metrics.hits(cached);
        let mut counted = false;
        loop {
            let missing: Vec<CacheKey> = slots
                .iter()
                .filter(|(_, slot)| slot.vector.is_none())
                .map(|(key, _)| *key)
                .collect();
            if missing.is_empty() {
                break;
            }
            let Claim { lead, joined, found } = self.flights.claim(&missing, pool, &self.entries);
            // A second round only takes over what the first one counted.
            if !std::mem::replace(&mut counted, true) {
                self.metrics.misses(lead.keys().len());
                self.metrics.joined(keys.len() - cached - lead.keys().len());
            }
            let input = |key: &CacheKey| slots.get(key).and_then(|slot| inputs.get(slot.index));
            let waiting: usize =
                joined.iter().filter_map(|(key, _)| input(key)).map(Sequence::tokens).sum();
            let waiting =
                self.waiting[pool.index()].try_acquire_many(waiting.try_into().unwrap_or(u32::MAX));
            let _waiting =
                waiting.map_err(|_| EmbedError::Overloaded { retry_after_ms: RETRY_MS })?;
            let mut ready = found;
            if !lead.keys().is_empty() {
                let (stored, vectors) = self.fill(lead.keys(), input, &compute).await?;
                cached += stored;
                ready.extend(lead.finish(vectors, &self.entries)?);
                self.show();
            }
            for (key, flight) in joined {
                ready.extend(flight.landed().await.map(|vector| (key, vector)));
            }
            for (key, vector) in ready {
                slots.entry(key).and_modify(|slot| slot.vector = Some(vector));
            }
        }
        let vector = |key| slots.get(key).and_then(|slot| slot.vector.as_deref());
        let vectors = keys.iter().filter_map(vector).map(<[f32]>::to_vec).collect();
        Ok(Served { vectors, cached })
    }

    /// The vectors of these inputs, and how many of them the store had; the rest is computed.
    async fn fill<'a, F, Work>(
        &self,
        keys: &[CacheKey],
        input: impl Fn(&CacheKey) -> Option<&'a Sequence>,
        compute: &F,
    ) -> Result<(usize, Vec<Vec<f32>>), EmbedError>
    where
        F: Fn(Vec<Sequence>) -> Work,
        Work: Future<Output = Result<Vec<Vec<f32>>, EmbedError>>,
    {
        let Some(stored) = &self.stored else {
            return Ok((0, compute(keys.iter().filter_map(input).cloned().collect()).await?));
        };
        let mut vectors = stored.get(&self.fingerprint, keys, self.dimensions).await;
        let absent = || keys.iter().zip(&vectors).filter(|(_, vector)| vector.is_none());
        let absent: Vec<CacheKey> = absent().map(|(key, _)| *key).collect();
        let found = keys.len() - absent.len();
        self.metrics.stored(found);
        if !absent.is_empty() {
            let computed = compute(absent.iter().filter_map(input).cloned().collect()).await?;
            stored.put(&self.fingerprint, absent.into_iter().zip(computed.clone()).collect());
            let empty = vectors.iter_mut().filter(|vector| vector.is_none());
            empty.zip(computed).for_each(|(place, vector)| *place = Some(vector));
        }
        // One that was not computed is missing, which the caller sees by the number.
        Ok((found, vectors.into_iter().flatten().collect()))
    }

    async fn keys_of(
        self: &Arc<Self>,
        inputs: Vec<Sequence>,
    ) -> Result<(Vec<Sequence>, Vec<CacheKey>), EmbedError> {
        let size = |input: &Sequence| match input {
            Sequence::Tokens { ids, .. } => ids.len(),
            Sequence::Image(pixels) => pixels.values.len(),
        };
        let tokens: usize = inputs.iter().map(size).sum();
        let space = self.keys.clone();
        let work = move || {
            let keys = inputs.iter().map(|input| space.key(input)).collect();
            (inputs, keys)
        };
        if tokens <= INLINE_TOKENS {
            return Ok(work());
        }
        tokio::task::spawn_blocking(work).await.map_err(|_| EmbedError::Unavailable)
    }

    /// Brings the gauges up to date and tells the log when the cache has become nearly full.
    fn show(&self) {
        self.entries.run_pending_tasks();
        let bytes = self.entries.weighted_size();
        let mut fullness = self.fullness.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = fullness.changed(bytes, self.limit_bytes);
        drop(fullness);
        self.metrics.bytes(bytes);
        let Some(full) = changed else { return };
        self.metrics.nearly_full(full);
        let (model, limit_bytes) = (&self.model, self.limit_bytes);
        if full {
            tracing::warn!(
                model,
                bytes,
                limit_bytes,
                "the vector cache is nearly full; beyond its limit only vectors that are asked \
                 for more often than others stay"
            );
        }
    }
}
