//! A started service with one model, and the ways to look at it.

use std::sync::Arc;
use std::time::Duration;

use headwater_models::double::DoubleModel;
use headwater_models::{Model, OpenOptions, TokenBatch};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::time::{sleep, timeout};

use crate::embedding::{
    BatchSettings, CacheSettings, EmbedCall, EmbedError, Embedded, EmbeddingHandle,
    EmbeddingMetrics, EmbeddingSettings, InputLimits, Inputs, ModelHandle, ModelPools, NodePools,
    Pool, Purpose, ServedModel, start,
};

/// Far above what any step takes: reaching it means that the step hangs.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) const NAME: &str = "double";

pub(super) fn double() -> DoubleModel {
    DoubleModel::new(NAME, 8, 32)
}

pub(super) fn batching() -> BatchSettings {
    BatchSettings { batch_tokens: 64, batch_rows: 8, restart_pause_ms: 1, ..Default::default() }
}

pub(super) fn limits() -> EmbeddingSettings {
    EmbeddingSettings {
        queue_tokens: 10_000,
        request_timeout_ms: 120_000,
        limits: InputLimits { texts: 16, tokens: 400 },
        // These texts are few and alike; what a cache does is tested for itself.
        cache: CacheSettings::off(),
        pools: NodePools::default(),
    }
}

pub(super) fn served(model: impl Model + 'static, aliases: &[&str]) -> ServedModel {
    ServedModel {
        model: Arc::new(model),
        aliases: aliases.iter().map(ToString::to_string).collect(),
        replicas: 1,
        threads: 1,
        batch: batching(),
        pools: ModelPools::borrowing(0),
    }
}

pub(super) struct Service {
    pub(super) handle: EmbeddingHandle,
    pub(super) model: Arc<ModelHandle>,
    registry: Registry,
}

impl Service {
    /// Starts one model and waits until a replica is loaded.
    pub(super) async fn start(
        model: impl Model + 'static,
        replicas: usize,
        batch: BatchSettings,
        settings: EmbeddingSettings,
    ) -> Self {
        let served = ServedModel { replicas, batch, ..served(model, &["alias"]) };
        Service::serve(served, settings).await
    }

    pub(super) async fn serve(served: ServedModel, settings: EmbeddingSettings) -> Self {
        let mut registry = Registry::default();
        let metrics = EmbeddingMetrics::register(&mut registry);
        let name = served.model.card().name.clone();
        let handle = start(vec![served], &settings, &metrics).await.expect("starts");
        within(handle.loaded()).await;
        let model = handle.model(&name).expect("served");
        Service { handle, model, registry }
    }

    pub(super) async fn embed(&self, texts: &[&str]) -> Result<Embedded, EmbedError> {
        within(self.model.embed(call(texts))).await
    }

    /// Embeds in a task of its own.
    pub(super) fn spawn(
        &self,
        text: &str,
    ) -> tokio::task::JoinHandle<Result<Embedded, EmbedError>> {
        self.spawn_call(call(&[text]))
    }

    /// Embeds in the ingest pool, in a task of its own.
    pub(super) fn ingest(
        &self,
        text: &str,
    ) -> tokio::task::JoinHandle<Result<Embedded, EmbedError>> {
        self.spawn_call(EmbedCall { pool: Pool::Ingest, ..call(&[text]) })
    }

    fn spawn_call(&self, call: EmbedCall) -> tokio::task::JoinHandle<Result<Embedded, EmbedError>> {
        let model = self.model.clone();
        tokio::spawn(async move { model.embed(call).await })
    }

    /// All metrics as text.
    pub(super) fn page(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("encodes");
        text
    }

    /// The value of a metric of the query pool with these labels beside the model's; 0 when it is
    /// not there.
    pub(super) fn metric(&self, name: &str, label: &str) -> f64 {
        self.metric_of(Pool::Query, name, label)
    }

    pub(super) fn metric_of(&self, pool: Pool, name: &str, label: &str) -> f64 {
        let text = self.page();
        // Both pools share a model's cache.
        let pool = match name.strip_prefix("cache_") {
            Some(_) => String::new(),
            None => format!(",pool=\"{}\"", pool.name()),
        };
        let start = format!("headwater_embedding_{name}{{model=\"{NAME}\"{pool}{label}}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&start));
        value.map_or(0.0, |value| value.parse().expect("a number"))
    }

    pub(super) fn requests(&self, outcome: &str) -> f64 {
        self.metric("requests_total", &format!(",outcome=\"{outcome}\""))
    }

    pub(super) async fn until_queued(&self, items: usize) {
        until(|| self.metric("queue_items", "") == items as f64).await;
    }

    /// Nothing is left behind: the queue is empty, all replicas live, all permits are back.
    pub(super) async fn until_quiet(&self) {
        let permits = self.model.settings.queue_tokens;
        let is_quiet = |pool: &Pool| {
            self.metric_of(*pool, "queue_items", "") == 0.0
                && self.metric_of(*pool, "queue_tokens", "") == 0.0
                && self.model.live_replicas_of(*pool) == self.model.replicas_of(*pool)
                && self.model.permits(*pool).available_permits() == permits
        };
        until(|| Pool::ALL.iter().all(is_quiet)).await;
    }
}

pub(super) fn call(texts: &[&str]) -> EmbedCall {
    let texts = texts.iter().map(ToString::to_string).collect();
    EmbedCall {
        inputs: Inputs::Texts(texts),
        purpose: Purpose::Plain,
        truncate: false,
        pool: Pool::Query,
    }
}

/// What the double answers for these texts, computed without the service.
pub(super) fn expected(texts: &[&str]) -> Vec<Vec<f32>> {
    let model = double();
    let ids = |text: &&str| model.tokenize(text, None).expect("reads").ids;
    let batch = TokenBatch::of(texts.iter().map(ids));
    let vectors =
        model.open(&OpenOptions::threads(1)).expect("opens").encode(&batch).expect("encodes");
    vectors.rows().map(<[f32]>::to_vec).collect()
}

pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("hangs")
}

pub(super) async fn until(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}
