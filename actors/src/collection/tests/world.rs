//! A store, a sink and models whose vectors tell which of them made them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use headwater_models::double::DoubleModel;
use headwater_models::{Model, ModelCard, Piece};
use headwater_storage::memory::{Fault, FaultPoint, MemoryStore};
use headwater_storage::retry::{Retry, RetryPolicy};
use headwater_vectors::Value;
use headwater_vectors::memory::MemorySink;

use crate::cluster::tests::world::environment;
use crate::collection::{
    ChunkId, ChunkText, Collection, CollectionError, CollectionSettings, Collections, Found, Put,
    SearchFor, Target,
};
use crate::embedding::{EmbedError, Embedder, Pool, Purpose};
use crate::runtime::Runtime;

pub(super) const TENANT: &str = "acme";
pub(super) const NAME: &str = "notes";
pub(super) const DIMENSIONS: usize = 4;

/// Models by name; the first two components of a vector are those of its model and of its text.
#[derive(Default)]
pub(super) struct Models {
    cards: Mutex<BTreeMap<String, ModelCard>>,
    embedded: Mutex<Vec<(String, String)>>,
}

impl Models {
    fn cards(&self) -> MutexGuard<'_, BTreeMap<String, ModelCard>> {
        self.cards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn serve(&self, name: &str) -> String {
        let card = DoubleModel::new(name, DIMENSIONS, 64).card().clone();
        let fingerprint = card.fingerprint.clone();
        self.cards().insert(name.to_owned(), card);
        fingerprint
    }

    pub(super) fn unload(&self, name: &str) {
        self.cards().remove(name);
    }

    /// How many texts this version embedded so far.
    pub(super) fn embedded_by(&self, version: &str) -> usize {
        self.embedded().iter().filter(|(by, _)| by == version).count()
    }

    /// Version and text of all that was embedded so far.
    pub(super) fn embedded(&self) -> Vec<(String, String)> {
        self.embedded.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The vector that this version makes of a text.
pub(super) fn vector(fingerprint: &str, text: &str) -> Vec<f32> {
    let number = |text: &str| {
        let sum = text.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31) ^ u32::from(byte));
        (sum.wrapping_mul(2_654_435_761) >> 16) as f32 / 65_536.0 + 0.5
    };
    vec![number(fingerprint), number(text), 0.25, 0.0]
}

#[async_trait]
impl Embedder for Models {
    fn card(&self, model: &str) -> Option<ModelCard> {
        self.cards().get(model).cloned()
    }

    fn version(&self, fingerprint: &str) -> Option<ModelCard> {
        self.cards().values().find(|card| card.fingerprint == fingerprint).cloned()
    }

    async fn pieces(&self, _: &str, _: String) -> Result<Vec<Piece>, EmbedError> {
        Err(EmbedError::Unavailable)
    }

    async fn embed(
        &self,
        fingerprint: &str,
        texts: Vec<String>,
        _: Purpose,
        _: Pool,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        self.version(fingerprint).ok_or(EmbedError::Unavailable)?;
        let mut embedded = self.embedded.lock().unwrap_or_else(PoisonError::into_inner);
        embedded.extend(texts.iter().map(|text| (fingerprint.to_owned(), text.clone())));
        Ok(texts.iter().map(|text| vector(fingerprint, text)).collect())
    }
}

type Faults = Arc<Mutex<Vec<(FaultPoint, Fault)>>>;

pub(super) struct World {
    pub(super) collections: Collections,
    pub(super) sink: MemorySink,
    pub(super) models: Arc<Models>,
    pub(super) store: MemoryStore,
    faults: Faults,
}

impl World {
    /// A world that serves the models `first` and `second`.
    pub(super) fn new() -> World {
        let environment = environment(7);
        let faults: Faults = Arc::default();
        let planned = Arc::clone(&faults);
        let store = MemoryStore::with_faults(environment.clone(), move |point| {
            let mut planned = planned.lock().unwrap_or_else(PoisonError::into_inner);
            let next = planned.iter().position(|(at, _)| *at == point)?;
            Some(planned.remove(next).1)
        });
        // One try: a fault is a crash of the call.
        let policy = RetryPolicy { tries: 1, ..RetryPolicy::default() };
        let retry = Retry::new(Arc::new(store.clone()), environment.clone(), policy);
        let models = Arc::new(Models::default());
        models.serve("first");
        models.serve("second");
        let sink = MemorySink::default();
        let wall_ms = || {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            since.unwrap_or(Duration::ZERO).as_millis() as u64
        };
        let runtime = Runtime::tokio(environment, wall_ms);
        let (shared, embedder) = (Arc::new(sink.clone()), Arc::clone(&models));
        let collections = Collections::new(runtime, retry, shared, embedder);
        World { collections, sink, models, store, faults }
    }

    /// A world with the collection [`NAME`] on the model `first`.
    pub(super) async fn with_collection() -> World {
        let world = World::new();
        world.create(NAME).await;
        world
    }

    pub(super) async fn create(&self, name: &str) -> Collection {
        let settings = CollectionSettings::default();
        self.collections.create(TENANT, name, "first", settings).await.expect("is created")
    }

    /// The commit after `commits` others meets this fault.
    pub(super) fn fail_commit(&self, commits: usize, fault: Fault) {
        let mut planned = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let none = (FaultPoint::Commit, Fault::Delay { ms: 0 });
        planned.extend(vec![none; commits]);
        planned.push((FaultPoint::Commit, fault));
    }

    /// No fault is left.
    pub(super) fn heal(&self) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) async fn put(&self, document: &str, texts: &[&str]) -> Put {
        self.put_with(document, texts, BTreeMap::new()).await
    }

    pub(super) async fn put_with(
        &self,
        document: &str,
        texts: &[&str],
        fields: BTreeMap<String, Value>,
    ) -> Put {
        let chunks = chunks(texts);
        let put = self.collections.put_document(TENANT, NAME, document, fields, chunks).await;
        put.expect("is put")
    }

    /// Writes what is missing in every target, as an ingest worker does.
    pub(super) async fn fill(&self, put: &Put) {
        for target in &put.targets {
            let missing = self.collections.missing(target, &put.chunks).await.expect("is told");
            self.collections.embed_chunks(target, &missing).await.expect("is written");
        }
        let removed = self.collections.remove_vectors(TENANT, NAME, &put.removed).await;
        removed.expect("is removed");
    }

    pub(super) async fn target(&self) -> Target {
        let targets = self.collections.targets(TENANT, NAME).await.expect("is there");
        targets.into_iter().next().expect("one is live")
    }

    /// A search by text in the serving version.
    pub(super) async fn search(&self, text: &str, limit: usize) -> Result<Found, CollectionError> {
        let target = self.collections.search_target(TENANT, NAME, None).await?;
        let vector = self.collections.embed_query(&target, text).await?;
        let wanted = SearchFor { vector, limit, filter: None, min_score: None, texts: true };
        self.collections.search(&target, wanted).await
    }

    /// Source by chunk of all vectors in a space.
    pub(super) async fn vectors(&self, target: &Target) -> BTreeMap<ChunkId, String> {
        use headwater_vectors::Sink;
        let records = self.sink.page(&target.space.name, None, usize::MAX).await.expect("is read");
        records.into_iter().map(|record| (record.id.into(), record.source)).collect()
    }
}

/// Stands for the SHA-256: texts of these tests differ in their first bytes and lengths.
pub(super) fn id(text: &str) -> ChunkId {
    let mut bytes = [0; 32];
    for (place, byte) in text.bytes().take(28).enumerate() {
        bytes[place] = byte;
    }
    bytes[28..].copy_from_slice(&(text.len() as u32).to_be_bytes());
    ChunkId(bytes)
}

pub(super) fn ids(texts: &[&str]) -> Vec<ChunkId> {
    texts.iter().map(|text| id(text)).collect()
}

pub(super) fn chunks(texts: &[&str]) -> Vec<ChunkText> {
    let mut start = 0;
    let chunk = |(ordinal, text): (u32, &&str)| {
        let range = start..start + text.len() as u64;
        start = range.end;
        ChunkText { id: id(text), text: (*text).to_owned(), ordinal, range }
    };
    (0..).zip(texts).map(chunk).collect()
}
