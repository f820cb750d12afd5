//! A router over two double models, requests to it, and the shape of what comes back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use headwater_actors::collection::Collections;
use headwater_actors::embedding::{
    BatchSettings, CacheSettings, CalibrationSettings, Calibrations, ChargedEmbedder,
    EmbeddingFleet, EmbeddingHandle, EmbeddingMetrics, EmbeddingSettings, InputLimits, ModelLoader,
    ModelPools, NodePools, Opening, ServedModel, start,
};
use headwater_actors::gateway::{
    AuditHandle, AuditMetrics, AuditSettings, ConfigDocument, ContentMode, ContentPolicy,
    GatewayHandle, GatewayVersions, HashKey, MemoryAudit,
};
use headwater_actors::identity::IdentityHandle;
use headwater_actors::prompts::{PromptMetrics, PromptSettings, PromptsHandle, Scanner};
use headwater_actors::runtime::Runtime;
use headwater_backends::memory::MemoryBackend;
use headwater_models::Model;
use headwater_models::chat::double::ScriptedChat;
use headwater_models::double::DoubleModel;
use headwater_storage::retry::Retry;
use headwater_vectors::memory::MemorySink;
use http_body_util::BodyExt;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::time::timeout;
use tower::ServiceExt;

use super::chat::chats;
use super::quotas::{bulk, known_keys, quotas};
use crate::{
    Authority, EdgeMetrics, EdgeParts, EdgeSettings, Gate, Grant, Issuer, SigningKey, router,
};

/// Far above what any request takes: reaching it means that the request hangs.
const PATIENCE: Duration = Duration::from_secs(60);
pub(super) const KEY: &[u8; 32] = b"0123456789abcdef0123456789abcdef";
pub(super) const BODY_LIMIT: usize = 4096;

/// The default model: 8 dimensions, 16 tokens a text, not Matryoshka.
pub(super) const PLAIN: &str = "plain";
/// 8 dimensions, or 4, or 2; a name with a slash.
pub(super) const NESTED: &str = "org/nested";

/// A model that is loaded on demand, with a replica of its own for ingest.
pub(super) const LATER: &str = "org/later";
/// A model that cannot be loaded.
pub(super) const BROKEN: &str = "broken";

pub(super) struct World {
    pub(super) router: Router,
    pub(super) gate: Gate,
    pub(super) plain: DoubleModel,
    pub(super) nested: DoubleModel,
    pub(super) token: String,
    pub(super) operator: String,
    pub(super) collections: Collections,
    pub(super) identity: IdentityHandle,
    /// Answers calls of all tools.
    pub(super) backend: Arc<MemoryBackend>,
}

pub(super) struct Setup {
    pub(super) queue_tokens: usize,
    pub(super) request_timeout_ms: u64,
    pub(super) body_timeout_ms: u64,
    /// 0 for no cache.
    pub(super) cache_bytes: u64,
    /// Vectors that `int8` is calibrated by.
    pub(super) calibration_sample: usize,
    /// Models beside the two that are always there.
    pub(super) others: Vec<DoubleModel>,
    /// Whether there are workers of ingest.
    pub(super) ingest: bool,
    /// What answers chats; none leaves chat out.
    pub(super) chat: Option<ScriptedChat>,
    /// Whether the node has no key of its own.
    pub(super) open: bool,
    pub(super) issuers: Vec<Issuer>,
    /// For how long keys are good without word from the store; 0 for never.
    pub(super) stale_ms: u64,
    /// Where records of chats go; none keeps none.
    pub(super) audit: Option<MemoryAudit>,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            queue_tokens: 10_000,
            request_timeout_ms: 60_000,
            body_timeout_ms: 60_000,
            cache_bytes: 0,
            calibration_sample: 4096,
            others: Vec::new(),
            ingest: false,
            chat: None,
            open: false,
            issuers: Vec::new(),
            stale_ms: 60_000,
            audit: None,
        }
    }
}

fn written_prompts(runtime: &Runtime, store: &Retry, registry: &mut Registry) -> PromptsHandle {
    let scanner = Scanner::new(&[]).expect("own rules are good");
    let metrics = PromptMetrics::register(registry);
    let (runtime, store, settings) = (runtime.clone(), store.clone(), PromptSettings::default());
    PromptsHandle::new(runtime, store, settings, scanner, Vec::new(), metrics).expect("no fallback")
}

impl World {
    pub(super) async fn new() -> Self {
        World::with(Setup::default()).await
    }

    pub(super) async fn with(setup: Setup) -> Self {
        let plain = DoubleModel::new(PLAIN, 8, 16).with_card(|card| {
            card.query_prefix = "query: ".to_owned();
        });
        let nested = DoubleModel::new(NESTED, 8, 16)
            .with_card(|card| card.matryoshka_dimensions = vec![2, 4]);
        let mut registry = Registry::default();
        let embedding = encoders(&setup, &plain, &nested, &mut registry).await;
        let key = SigningKey::new(KEY.to_vec()).expect("long enough");
        let settings = EdgeSettings {
            body_limit_bytes: BODY_LIMIT,
            body_timeout_ms: setup.body_timeout_ms,
            default_model: PLAIN.to_owned(),
            audits_encoders: true,
            gzip_above_bytes: Some(300),
        };
        let gate = Gate::default();
        let (tenancy, cluster, runtime) = quotas(&mut registry).await;
        let sample = setup.calibration_sample;
        let calibrating = CalibrationSettings { sample, ..CalibrationSettings::default() };
        let fleet = EmbeddingFleet::local(embedding)
            .with_loader(loader())
            .with_calibrations(Calibrations::new(cluster.store().clone(), calibrating));
        let (store, sink) = (cluster.store().clone(), Arc::new(MemorySink::default()));
        let embedder = Arc::new(ChargedEmbedder::new(fleet.clone(), tenancy.clone()));
        let collections =
            Collections::new(runtime.clone(), store.clone(), sink.clone(), embedder.clone());
        let audit = setup.audit.map(|lake| audited(lake, &runtime, &mut registry));
        let gateway = setup.chat.map(|model| chats(model, &runtime, &tenancy, &mut registry));
        gateway.iter().zip(&audit).for_each(|(gateway, audit)| gateway.record_to(audit.clone()));
        let gateway_versions = gateway.as_ref().map(|one| versions(one, &runtime, &store));
        let identity = known_keys(&runtime, cluster.store(), setup.stale_ms, &mut registry).await;
        let authority = if setup.open { Authority::open() } else { Authority::signed(&key) };
        let authority = authority.with_issuers(setup.issuers).with_keys(identity.clone());
        let prompts = written_prompts(&runtime, &store, &mut registry);
        gateway.iter().for_each(|gateway| prompts.ask_through(gateway.clone(), embedder.clone()));
        let heard = (audit.as_ref(), gateway.as_ref());
        let (tools, backend) =
            super::tools::served(&runtime, &store, &tenancy, heard, &mut registry).await;
        let ingest =
            setup.ingest.then(|| bulk(runtime, store, &collections, sink, embedder, &mut registry));
        let edge = EdgeParts {
            settings: Arc::new(settings),
            authority: Arc::new(authority),
            identity: identity.clone(),
            gate: gate.clone(),
            embedding: fleet,
            tenancy,
            cluster,
            collections: Some(collections.clone()),
            ingest,
            gateway,
            audit,
            gateway_versions,
            prompts,
            mcp: Arc::new(super::tools::speak),
            tools,
            metrics: EdgeMetrics::register(&mut registry),
            registry: Arc::new(Mutex::new(registry)),
        };
        let (token, operator) = (token_for(&["*"]), operator_token());
        let router = router(edge);
        World { router, gate, plain, nested, token, operator, collections, identity, backend }
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        send(self.router.clone(), request).await
    }

    /// A request with the world's token.
    pub(super) fn request(&self, method: &str, path: &str, body: impl Into<Body>) -> Request<Body> {
        request(method, path, Some(&format!("Bearer {}", self.token)), body)
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path, Body::empty())).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request("POST", path, body.to_string())).await
    }

    pub(super) async fn embeddings(&self, body: &Value) -> Answer {
        self.post("/v1/embeddings", body).await
    }

    /// The value of one line of the metrics.
    pub(super) async fn metric(&self, line: &str) -> Option<f64> {
        let text = self.get("/metrics").await.text();
        let line = format!("{line} ");
        text.lines()
            .find_map(|found| found.strip_prefix(&line))
            .map(|value| value.parse().expect("a number"))
    }
}

/// The two models that are always there, and the setup's others.
async fn encoders(
    setup: &Setup,
    plain: &DoubleModel,
    nested: &DoubleModel,
    registry: &mut Registry,
) -> EmbeddingHandle {
    let batch = BatchSettings { restart_pause_ms: 1, ..Default::default() };
    let served = |model: &DoubleModel, alias: &str| ServedModel {
        model: Arc::new(model.clone()),
        aliases: vec![alias.to_owned()],
        replicas: 1,
        threads: 1,
        batch: batch.clone(),
        pools: ModelPools::borrowing(0),
    };
    let mut models = vec![served(plain, "ada"), served(nested, "babbage")];
    let alias = |model: &DoubleModel| format!("{}-alias", model.card().name);
    models.extend(setup.others.iter().map(|model| served(model, &alias(model))));
    let settings = EmbeddingSettings {
        queue_tokens: setup.queue_tokens,
        request_timeout_ms: setup.request_timeout_ms,
        limits: InputLimits { texts: 4, tokens: 40 },
        cache: CacheSettings { bytes: setup.cache_bytes, ..CacheSettings::default() },
        pools: NodePools::default(),
    };
    let metrics = EmbeddingMetrics::register(registry);
    let embedding = start(models, &settings, &metrics).await.expect("starts");
    timeout(PATIENCE, embedding.loaded()).await.expect("loads");
    embedding
}

/// Versions of a gateway that begins with none.
fn versions(gateway: &GatewayHandle, runtime: &Runtime, store: &Retry) -> GatewayVersions {
    let none = ConfigDocument::default();
    GatewayVersions::new(runtime.clone(), store.clone(), gateway.clone(), none)
}

/// An audit that writes as soon as there is something.
fn audited(lake: MemoryAudit, runtime: &Runtime, registry: &mut Registry) -> AuditHandle {
    let policy = ContentPolicy {
        standard: ContentMode::None,
        by_team: Default::default(),
        key: HashKey::new(KEY),
    };
    let metrics = AuditMetrics::register(registry);
    let settings = AuditSettings::default();
    let audit = AuditHandle::new(runtime.clone(), Arc::new(lake), settings, policy, metrics);
    runtime.spawn(audit.clone().write());
    audit
}

/// Knows one model that is not loaded, and one whose weights are missing.
fn loader() -> ModelLoader {
    ModelLoader::new(|name| match name {
        LATER => Some(Box::pin(async {
            Ok(ServedModel {
                model: Arc::new(DoubleModel::new(LATER, 8, 16)),
                aliases: Vec::new(),
                replicas: 1,
                threads: 1,
                batch: BatchSettings::default(),
                pools: ModelPools::default(),
            })
        }) as Opening),
        BROKEN => Some(Box::pin(async { Err("there are no weights".to_owned()) })),
        _ => None,
    })
}

pub(super) fn operator_token() -> String {
    let grant = Grant::new("ops", "operator", &["*"]);
    let key = SigningKey::new(KEY.to_vec()).expect("long enough");
    key.mint(&grant, 600).expect("mints")
}

/// A token of a team, or of one of its users.
pub(super) fn token_of(team: &str, user: Option<&str>) -> String {
    let grant = Grant { user: user.map(str::to_owned), ..Grant::new(team, "standard", &["*"]) };
    let key = SigningKey::new(KEY.to_vec()).expect("long enough");
    key.mint(&grant, 600).expect("mints")
}

pub(super) fn token_for(models: &[&str]) -> String {
    let grant = Grant::new("acme", "standard", models);
    let key = SigningKey::new(KEY.to_vec()).expect("long enough");
    key.mint(&grant, 600).expect("mints")
}

pub(super) fn request(
    method: &str,
    path: &str,
    authorization: Option<&str>,
    body: impl Into<Body>,
) -> Request<Body> {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let mut request = Request::builder().method(method).uri(path);
    if let Some(value) = authorization {
        request = request.header(header::AUTHORIZATION, value);
    }
    request.body(body.into()).expect("a request")
}

pub(super) async fn send(router: Router, request: Request<Body>) -> Answer {
    let response = timeout(PATIENCE, router.oneshot(request)).await.expect("hangs");
    let (parts, body) = response.expect("never fails").into_parts();
    let bytes = timeout(PATIENCE, body.collect()).await.expect("hangs").expect("a body");
    Answer { status: parts.status, headers: parts.headers, bytes: bytes.to_bytes().to_vec() }
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) bytes: Vec<u8>,
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.bytes.clone()).expect("UTF-8")
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).expect("JSON")
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    /// The body of a 200.
    pub(super) fn ok(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        self.json()
    }

    /// Checks an error in OpenAI's shape: exactly these four fields, and a message with
    /// all these words.
    pub(super) fn is_error(&self, status: u16, code: &str, param: Option<&str>, words: &[&str]) {
        let body = self.json();
        let message = body["error"]["message"].as_str().expect("a message").to_owned();
        let kind = match status {
            502..=504 => "service_unavailable",
            429 => "rate_limit_error",
            _ => "invalid_request_error",
        };
        let expected = json!({"error": {
            "message": message, "type": kind, "param": param, "code": code,
        }});
        assert_eq!((self.status.as_u16(), body), (status, expected));
        self.names(&message, words);
    }

    /// Checks an error in TEI's shape.
    pub(super) fn is_tei_error(&self, status: u16, error_type: &str, words: &[&str]) {
        let body = self.json();
        let message = body["error"].as_str().expect("a message").to_owned();
        let expected = json!({"error": message, "error_type": error_type});
        assert_eq!((self.status.as_u16(), body), (status, expected));
        self.names(&message, words);
    }

    fn names(&self, message: &str, words: &[&str]) {
        assert_eq!(self.header("content-type"), Some("application/json"));
        for word in words {
            assert!(message.contains(word), "{message:?} does not name {word:?}");
        }
    }
}

/// One vector of an answer.
pub(super) fn floats(value: &Value) -> Vec<f32> {
    let values = value.as_array().expect("a list");
    values.iter().map(|value| value.as_f64().expect("a number") as f32).collect()
}
