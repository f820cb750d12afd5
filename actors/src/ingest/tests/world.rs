//! A store, a sink, an embedding service of words, and jobs over them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use headwater_models::double::DoubleModel;
use headwater_models::{Model, ModelCard, Piece};
use headwater_storage::memory::MemoryStore;
use headwater_storage::retry::{Retry, RetryPolicy};
use headwater_vectors::Sink;
use headwater_vectors::memory::MemorySink;
use prometheus_client::registry::Registry;

use crate::cluster::tests::world::environment;
use crate::collection::{Collection, CollectionSettings, Collections};
use crate::embedding::{EmbedError, Embedder, Pool, Purpose};
use crate::ingest::{
    ChunkSettings, DocumentSource, IngestHandle, IngestMetrics, IngestSettings, IngestWorkers,
    JobKey, JobSpec, JobStatus, NearDuplicates, SourceSpec, Split,
};
use crate::runtime::Runtime;

pub(super) const TENANT: &str = "acme";
pub(super) const NAME: &str = "notes";

/// What is in texts that the tenant's quota never covers.
pub(super) const DEAR: &str = "dear";
/// When the tenant's quota may cover them, in ms: long after any test.
const DEAR_AFTER_MS: u64 = 60_000;

/// One model whose tokens are words. Its next calls may fail.
pub(super) struct Words {
    card: ModelCard,
    pub(super) failures: AtomicUsize,
    pub(super) full: AtomicUsize,
    /// So often the tenant's quota does not cover the next request.
    pub(super) over_quota: AtomicUsize,
    /// Requests for texts that the quota never covers.
    pub(super) refused: AtomicUsize,
    /// Whether this node does not serve the model.
    pub(super) is_absent: AtomicBool,
}

fn less_one(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl Words {
    fn is_absent(&self) -> bool {
        self.is_absent.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Embedder for Words {
    fn card(&self, model: &str) -> Option<ModelCard> {
        (model == self.card.name && !self.is_absent()).then(|| self.card.clone())
    }

    fn version(&self, fingerprint: &str) -> Option<ModelCard> {
        (fingerprint == self.card.fingerprint && !self.is_absent()).then(|| self.card.clone())
    }

    async fn pieces(&self, _: &str, text: String) -> Result<Vec<Piece>, EmbedError> {
        let base = text.as_ptr() as usize;
        let piece = |word: &str| {
            let start = word.as_ptr() as usize - base;
            let (text, stop) = (word.to_owned(), start + word.len());
            Piece { id: 1, text, special: false, start, stop }
        };
        Ok(text.split_whitespace().map(piece).collect())
    }

    async fn embed(
        &self,
        _: &str,
        texts: Vec<String>,
        _: Purpose,
        pool: Pool,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        assert_eq!(pool, Pool::Ingest, "bulk work must yield to queries");
        if less_one(&self.full) {
            return Err(EmbedError::Overloaded { retry_after_ms: 1 });
        }
        if less_one(&self.failures) {
            return Err(EmbedError::Unavailable);
        }
        if texts.iter().any(|text| text.contains("poison")) {
            return Err(EmbedError::Refused("poison".to_owned()));
        }
        Ok(texts.iter().map(|text| vec![text.len() as f32, 1.0]).collect())
    }

    /// Like a quota that covers one text at a time.
    async fn embed_bulk(
        &self,
        tenant: &str,
        fingerprint: &str,
        texts: &[String],
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        assert_eq!(tenant, TENANT);
        let over = |retry_after_ms| {
            let reason = "the quota is used up".to_owned();
            Err(EmbedError::OverQuota { reason, retry_after_ms })
        };
        if texts.iter().any(|text| text.contains(DEAR)) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return over(DEAR_AFTER_MS);
        }
        if less_one(&self.over_quota) {
            return over(1);
        }
        let first = texts.iter().take(1).cloned().collect();
        self.embed(fingerprint, first, Purpose::Passage, Pool::Ingest).await
    }
}

/// Most jobs that have not ended: more than a worker looks at in one go.
pub(super) const JOBS: usize = 270;

pub(super) struct World {
    pub(super) handle: IngestHandle,
    pub(super) sink: MemorySink,
    pub(super) words: Arc<Words>,
}

pub(super) fn settings() -> IngestSettings {
    let mut settings =
        IngestSettings { workers: 2, poll_ms: 2, line_bytes: 500, ..Default::default() };
    settings.jobs = JOBS;
    settings.attempts.attempts = 3;
    settings.attempts.first_pause_ms = 1;
    settings.attempts.longest_pause_ms = 2;
    (settings.hold.late_ms, settings.hold.ttl_ms) = (20, 5_000);
    settings
}

impl World {
    pub(super) async fn new() -> World {
        let environment = environment(11);
        let store = Arc::new(MemoryStore::new(environment.clone()));
        let retry = Retry::new(store, environment.clone(), RetryPolicy::default());
        let wall_ms = || {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            since.unwrap_or(Duration::ZERO).as_millis() as u64
        };
        let runtime = Runtime::tokio(environment, wall_ms);
        let card = DoubleModel::new("words", 2, 20).card().clone();
        let (failures, full, over_quota, refused, is_absent) = Default::default();
        let words = Arc::new(Words { card, failures, full, over_quota, refused, is_absent });
        let sink = MemorySink::default();
        let (shared, embedder) = (Arc::new(sink.clone()), words.clone());
        let collections = Collections::new(runtime.clone(), retry.clone(), shared, embedder);
        let standard = CollectionSettings::default();
        collections.create(TENANT, NAME, "words", standard).await.expect("is created");
        let handle = IngestHandle::new(runtime, retry, collections, settings());
        World { handle, sink, words }
    }

    pub(super) fn start(&self) -> IngestWorkers {
        self.start_with(None)
    }

    pub(super) fn start_with(&self, source: Option<Arc<dyn DocumentSource>>) -> IngestWorkers {
        let metrics = IngestMetrics::register(&mut Registry::default());
        let (sink, words) = (Arc::new(self.sink.clone()), self.words.clone());
        IngestWorkers::start(self.handle.clone(), sink, words, source, metrics)
    }

    pub(super) async fn collection(&self) -> Collection {
        self.handle.collections().get(TENANT, NAME).await.expect("is there")
    }

    /// Vectors in the serving version.
    pub(super) async fn vectors(&self) -> u64 {
        let target = self.collection().await.targets().pop().expect("one");
        self.sink.count(&target.space.name).await.unwrap_or(0)
    }

    /// Creates a job and streams this into it.
    pub(super) async fn job(&self, id: &str, spec: JobSpec, body: &str) -> JobKey {
        let key = key(id);
        self.handle.create(&key, spec).await.expect("is created");
        let mut intake = self.handle.intake(&key, 0).await.expect("takes documents");
        intake.push(body.as_bytes()).await.expect("is staged");
        intake.finish().await.expect("is staged");
        self.handle.seal(&key).await.expect("is sealed");
        key
    }

    pub(super) async fn ended(&self, key: &JobKey) -> JobStatus {
        for _ in 0..5_000 {
            let status = self.handle.status(key).await.expect("is there");
            if status.job.state.ended_ms.is_some() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("does not end: {:?}", self.handle.status(key).await);
    }
}

pub(super) fn key(id: &str) -> JobKey {
    JobKey { tenant: TENANT.to_owned(), id: id.to_owned() }
}

pub(super) fn spec() -> JobSpec {
    JobSpec {
        collection: NAME.to_owned(),
        model: None,
        chunks: ChunkSettings { overlap_percent: 0, ..ChunkSettings::of(6, Split::Sentence) },
        priority: 0,
        tokens_per_s: None,
        workers_max: 8,
        near_duplicates: NearDuplicates::Report,
        source: SourceSpec::Stream,
    }
}

/// A line of the body.
pub(super) fn line(id: &str, text: &str) -> String {
    format!("{{\"id\": \"{id}\", \"text\": \"{text}\"}}\n")
}
