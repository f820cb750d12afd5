//! The sink itself: spaces, reads, and which indexes are open.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use headwater_storage::retry::Retry;
use headwater_storage::{ReadMode, StoreError};
use headwater_vectors::quantise::Calibration;
use headwater_vectors::{Hit, Record, RecordId, SearchQuery, Sink, SinkError, Space};

use crate::EmbeddedVectorsSettings;
use crate::failure::{no_space, of_store, recreated};
use crate::index::Open;
use crate::keys::Keys;
use crate::records::{Kept, Known};
use crate::steps::{calibration, glance, known, page_records, read_page};

/// Longest name of a space, in bytes.
pub const NAME_BYTES_MAX: usize = 1_000;
/// Most components of a vector, so that it and a calibration fit the store's values.
pub const DIMENSIONS_MAX: usize = 16_384;

/// What lies in memory of a space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceInMemory {
    pub name: String,
    pub records: usize,
    /// Vectors in the graph, those of changed and removed records included; the others are
    /// scanned. 0 where there is no graph.
    pub in_graph: usize,
    /// Memory that it takes, roughly.
    pub bytes: usize,
}

/// The sink; clones share their indexes.
#[derive(Clone)]
pub struct EmbeddedSink {
    shared: Arc<Shared>,
}

struct Shared {
    retry: Retry,
    settings: EmbeddedVectorsSettings,
    open: Mutex<BTreeMap<String, Arc<Open>>>,
    searches: AtomicU64,
    calibrations: Mutex<BTreeMap<String, (u64, Arc<Calibration>)>>,
}

/// Records as they were read, and the space they were read in.
type Read = Option<(Known, Vec<(RecordId, Option<Kept>)>)>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever holds these locks only looks up and inserts.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EmbeddedSink {
    /// A sink over the store. It does nothing until it is called.
    pub fn new(retry: Retry, settings: EmbeddedVectorsSettings) -> Self {
        let (open, searches, calibrations) = Default::default();
        let shared = Shared { retry, settings, open, searches, calibrations };
        EmbeddedSink { shared: Arc::new(shared) }
    }

    pub(crate) fn retry(&self) -> &Retry {
        &self.shared.retry
    }

    pub(crate) fn settings(&self) -> &EmbeddedVectorsSettings {
        &self.shared.settings
    }

    /// The spaces whose records lie in this node's memory. Waits for those that are being read.
    pub async fn spaces_in_memory(&self) -> Vec<SpaceInMemory> {
        let open: Vec<(String, Arc<Open>)> = lock(&self.shared.open)
            .iter()
            .map(|(name, open)| (name.clone(), open.clone()))
            .collect();
        let mut spaces = Vec::with_capacity(open.len());
        for (name, open) in open {
            let index = open.index.read().await;
            spaces.push(SpaceInMemory {
                name,
                records: index.slab.live(),
                in_graph: index.in_graph(),
                bytes: index.bytes(),
            });
        }
        spaces
    }

    /// Gives back the memory of spaces that another node dropped. Happens by itself when another
    /// space is first searched.
    ///
    /// # Errors
    /// [`SinkError::Unavailable`].
    pub async fn release_dropped(&self) -> Result<(), SinkError> {
        let names: Vec<String> = lock(&self.shared.open).keys().cloned().collect();
        for name in names {
            if self.known(&name).await?.is_none() {
                self.forget(&name);
            }
        }
        Ok(())
    }

    pub(crate) async fn open(&self, known: &Known) -> Result<Arc<Open>, SinkError> {
        let find = || {
            let open = lock(&self.shared.open).get(&known.space.name).cloned();
            open.filter(|open| open.incarnation == known.incarnation)
        };
        if let Some(open) = find() {
            return Ok(open);
        }
        self.release_dropped().await?;
        let mut all = lock(&self.shared.open);
        let there = all.get(&known.space.name);
        if let Some(open) = there.filter(|open| open.incarnation == known.incarnation) {
            return Ok(Arc::clone(open));
        }
        let open = Arc::new(Open::new(&known.space, known.incarnation));
        all.insert(known.space.name.clone(), Arc::clone(&open));
        Ok(open)
    }

    /// Counts the space as searched now, with so many bytes in memory, and gives back the indexes
    /// of others until all fit. Searches that are in one of those end undisturbed.
    ///
    /// # Errors
    /// [`SinkError::Request`] when the space does not even fit alone: another try would not help.
    pub(crate) fn make_room(&self, searched: &Open, bytes: usize) -> Result<(), SinkError> {
        let most = self.settings().memory_bytes_max;
        searched
            .used
            .store(self.shared.searches.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        searched.bytes.store(bytes, Ordering::Relaxed);
        if bytes > most {
            return Err(SinkError::Request(format!(
                "the index of this collection takes more than the {most} bytes of memory that this \
                 node gives to indexes; raise vectors.memory_mb, keep a smaller number format, or \
                 use the engine qdrant"
            )));
        }
        let mut open = lock(&self.shared.open);
        loop {
            let all: usize = open.values().map(|open| open.bytes.load(Ordering::Relaxed)).sum();
            if all <= most {
                return Ok(());
            }
            let others = open.iter().filter(|(_, other)| !std::ptr::eq(other.as_ref(), searched));
            let oldest = others.min_by_key(|(_, other)| other.used.load(Ordering::Relaxed));
            let Some(name) = oldest.map(|(name, _)| name.clone()) else { return Ok(()) };
            open.remove(&name);
        }
    }

    pub(crate) fn forget(&self, name: &str) {
        lock(&self.shared.open).remove(name);
        lock(&self.shared.calibrations).remove(name);
    }

    pub(crate) async fn known(&self, name: &str) -> Result<Option<Known>, SinkError> {
        let glance = glance(self.retry(), name).await.map_err(of_store)?;
        Ok(glance.map(|glance| glance.known))
    }

    /// The space's calibration, when it has one.
    pub(crate) async fn calibration_of(
        &self,
        known: &Known,
    ) -> Result<Option<Arc<Calibration>>, SinkError> {
        if !known.is_calibrated {
            return Ok(None);
        }
        let name = &known.space.name;
        let kept = lock(&self.shared.calibrations).get(name).cloned();
        if let Some((_, calibration)) =
            kept.filter(|(incarnation, _)| *incarnation == known.incarnation)
        {
            return Ok(Some(calibration));
        }
        let read = Arc::new(calibration(self.retry(), name).await.map_err(of_store)?);
        // A space dropped and created in between has another calibration than the one asked for.
        if self.known(name).await?.is_none_or(|now| now.incarnation != known.incarnation) {
            return Err(recreated(name));
        }
        let entry = (known.incarnation, Arc::clone(&read));
        lock(&self.shared.calibrations).insert(name.clone(), entry);
        Ok(Some(read))
    }

    async fn read_records(&self, name: &str, ids: &[RecordId]) -> Result<Read, StoreError> {
        let (keys, name, ids) = (Keys::of(name), name.to_owned(), Arc::<[RecordId]>::from(ids));
        self.retry()
            .read(move |transaction| {
                let (keys, name, ids) = (keys.clone(), name.clone(), Arc::clone(&ids));
                Box::pin(async move {
                    let Some(known) = known(transaction, &keys, &name).await? else {
                        return Ok(None);
                    };
                    let mut records = Vec::with_capacity(ids.len());
                    for id in ids.iter() {
                        let row = transaction.get(&keys.record(id), ReadMode::Snapshot).await?;
                        let kept = row.map(|row| Kept::decode(&known.space, &row)).transpose()?;
                        records.push((*id, kept));
                    }
                    Ok(Some((known, records)))
                })
            })
            .await
    }

    async fn read_behind(
        &self,
        name: &str,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<Read, StoreError> {
        let (keys, name) = (Keys::of(name), name.to_owned());
        self.retry()
            .read(move |transaction| {
                let (keys, name) = (keys.clone(), name.clone());
                Box::pin(async move {
                    let Some(known) = known(transaction, &keys, &name).await? else {
                        return Ok(None);
                    };
                    let limit = limit.min(page_records(&known.space));
                    let page = read_page(transaction, &keys, &known.space, after, limit).await?;
                    let page = page.into_iter().map(|(id, kept)| (id, Some(kept)));
                    Ok(Some((known, page.collect())))
                })
            })
            .await
    }

    /// The records as the port tells them.
    async fn told(
        &self,
        known: &Known,
        records: Vec<(RecordId, Option<Kept>)>,
    ) -> Result<Vec<Option<Record>>, SinkError> {
        let calibration = self.calibration_of(known).await?;
        let calibration = calibration.as_deref();
        let tell = |(id, kept): (RecordId, Option<Kept>)| {
            let Some(mut kept) = kept else { return Ok(None) };
            if let Some(calibration) = calibration {
                kept.calibrate(calibration);
            }
            kept.into_record(id, &known.space, calibration).map(Some).map_err(of_store)
        };
        records.into_iter().map(tell).collect()
    }
}

fn check_space(space: &Space) -> Result<(), SinkError> {
    let name_bytes = space.name.len();
    if !(1..=NAME_BYTES_MAX).contains(&name_bytes) {
        return Err(SinkError::Request(format!(
            "the name of the space has {name_bytes} bytes; give it 1 to {NAME_BYTES_MAX}"
        )));
    }
    if !(1..=DIMENSIONS_MAX).contains(&space.dimensions) {
        return Err(SinkError::Request(format!(
            "dimensions is {}; the embedded sink keeps vectors of 1 to {DIMENSIONS_MAX}",
            space.dimensions
        )));
    }
    Ok(())
}

#[async_trait]
impl Sink for EmbeddedSink {
    fn name(&self) -> &'static str {
        "embedded"
    }

    async fn create(&self, space: &Space) -> Result<(), SinkError> {
        check_space(space)?;
        let (keys, wanted) = (Keys::of(&space.name), space.clone());
        let incarnation = self.retry().environment().draw();
        let found = self
            .retry()
            .write_idempotent(move |transaction| {
                let (keys, space) = (keys.clone(), wanted.clone());
                Box::pin(async move {
                    let found = known(transaction, &keys, &space.name).await?;
                    if found.is_none() {
                        let known = Known { space, incarnation, is_calibrated: false };
                        transaction.set(&keys.space(), &known.encode()?)?;
                    }
                    Ok(found)
                })
            })
            .await
            .map_err(of_store)?;
        if found.is_none_or(|found| found.space == *space) {
            return Ok(());
        }
        Err(SinkError::Space(format!(
            "the space '{}' is there with another version, length, metric or format; drop it first",
            space.name
        )))
    }

    async fn space(&self, name: &str) -> Result<Option<Space>, SinkError> {
        Ok(self.known(name).await?.map(|known| known.space))
    }

    async fn drop_space(&self, name: &str) -> Result<(), SinkError> {
        let keys = Keys::of(name);
        let dropped = self.retry().write_idempotent(move |transaction| {
            let keys = keys.clone();
            Box::pin(async move { transaction.clear_range(&keys.all()) })
        });
        dropped.await.map_err(of_store)?;
        self.forget(name);
        Ok(())
    }

    async fn upsert(&self, space: &str, records: Vec<Record>) -> Result<(), SinkError> {
        self.write(space, records).await
    }

    async fn delete(&self, space: &str, ids: &[RecordId]) -> Result<(), SinkError> {
        self.remove(space, ids).await
    }

    async fn get(&self, space: &str, ids: &[RecordId]) -> Result<Vec<Option<Record>>, SinkError> {
        let mut records = Vec::with_capacity(ids.len());
        let known = self.known(space).await?.ok_or_else(|| no_space(space))?;
        for ids in ids.chunks(page_records(&known.space)) {
            let read = self.read_records(space, ids).await.map_err(of_store)?;
            let (now, read) = read.ok_or_else(|| no_space(space))?;
            if now.incarnation != known.incarnation {
                return Err(recreated(space));
            }
            records.extend(self.told(&now, read).await?);
        }
        Ok(records)
    }

    async fn page(
        &self,
        space: &str,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<Vec<Record>, SinkError> {
        let (mut page, mut after) = (Vec::new(), after);
        let mut incarnation = None;
        loop {
            let wanted = limit - page.len();
            let read = self.read_behind(space, after, wanted).await.map_err(of_store)?;
            let (known, read) = read.ok_or_else(|| no_space(space))?;
            if *incarnation.get_or_insert(known.incarnation) != known.incarnation {
                return Err(recreated(space));
            }
            let is_last = read.len() < wanted.min(page_records(&known.space));
            after = read.last().map(|(id, _)| *id).or(after);
            page.extend(self.told(&known, read).await?.into_iter().flatten());
            if is_last || page.len() >= limit {
                return Ok(page);
            }
        }
    }

    async fn count(&self, space: &str) -> Result<u64, SinkError> {
        let count = self.counted(space).await.map_err(of_store)?;
        count.ok_or_else(|| no_space(space))
    }

    async fn search(&self, space: &str, query: &SearchQuery) -> Result<Vec<Hit>, SinkError> {
        self.search_space(space, query).await
    }
}
