//! All routes in one place, and the layers that every request passes.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::Uri;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use headwater_actors::cluster::ClusterHandle;
use headwater_actors::collection::Collections;
use headwater_actors::embedding::EmbeddingFleet;
use headwater_actors::gateway::{AuditHandle, GatewayHandle, GatewayVersions};
use headwater_actors::identity::IdentityHandle;
use headwater_actors::ingest::IngestHandle;
use headwater_actors::prompts::PromptsHandle;
use headwater_actors::tenancy::TenancyHandle;
use headwater_actors::tools::ToolsHandle;
use prometheus_client::registry::Registry;

use crate::error::ApiError;
use crate::gate::{self, Gate, Guard};
use crate::gzip;
use crate::identity::Authority;
use crate::metrics::EdgeMetrics;
use crate::routes::{Route, Scope, routes};
use crate::status;
use crate::tools::mcp::McpAnswers;

/// What the edge enforces by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeSettings {
    /// Largest request body, in bytes.
    pub body_limit_bytes: usize,
    /// Longest time for a client to send its body, in ms.
    pub body_timeout_ms: u64,
    /// The model that routes without a `model` field use.
    pub default_model: String,
    /// Whether requests to encoders leave audit records, too.
    pub audits_encoders: bool,
    /// Answers from this size on, in bytes, are sent compressed to clients that take it; none is
    /// without it. Streams never are.
    pub gzip_above_bytes: Option<usize>,
}

/// What the routes share.
pub struct EdgeParts {
    pub settings: Arc<EdgeSettings>,
    pub authority: Arc<Authority>,
    /// Virtual keys and revocations, for operators to change.
    pub identity: IdentityHandle,
    pub gate: Gate,
    pub embedding: EmbeddingFleet,
    pub tenancy: TenancyHandle,
    pub cluster: ClusterHandle,
    /// None on a node without a vector sink.
    pub collections: Option<Collections>,
    /// None without a vector sink, too.
    pub ingest: Option<IngestHandle>,
    /// None on a node without backends of chat models.
    pub gateway: Option<GatewayHandle>,
    /// With a gateway.
    pub gateway_versions: Option<GatewayVersions>,
    pub prompts: PromptsHandle,
    pub tools: ToolsHandle,
    /// The same tools, for clients of MCP.
    pub mcp: McpAnswers,
    /// None on a node that keeps no audit.
    pub audit: Option<AuditHandle>,
    pub metrics: EdgeMetrics,
    pub registry: Arc<Mutex<Registry>>,
}

/// The parts as the routes see them. Each request clones it for each layer that it passes, so it
/// is one pointer.
#[derive(Clone)]
pub(crate) struct Edge(Arc<EdgeParts>);

impl Deref for Edge {
    type Target = EdgeParts;

    fn deref(&self) -> &EdgeParts {
        &self.0
    }
}

/// The whole edge as one router: every route of the table behind the guard of its scope.
pub fn router(parts: EdgeParts) -> Router {
    let edge = Edge(Arc::new(parts));
    let guard = |scope| from_fn_with_state(Guard { edge: edge.clone(), scope }, gate::guard);
    let mut paths: BTreeMap<&str, Path> = BTreeMap::new();
    for Route { path, method, scope, handler, .. } in routes() {
        let handler = match scope {
            Scope::Open => handler,
            guarded => handler.layer(guard(guarded)),
        };
        let place = paths.entry(path).or_default();
        place.handlers = std::mem::take(&mut place.handlers).merge(handler);
        place.methods.push(method.name());
        place.is_open |= scope == Scope::Open;
    }
    // An unknown path is told to nobody who may know none.
    let mut all = Router::new().fallback(unknown_route).layer(guard(Scope::Identity));
    for (path, Path { handlers, methods, is_open }) in paths {
        let other = wrong_method(methods.join(" and "));
        let other = if is_open { other } else { other.layer(guard(Scope::Identity)) };
        all = all.route(path, handlers.merge(other));
    }
    let all = match edge.settings.gzip_above_bytes {
        Some(least_bytes) => all.layer(gzip::answers(least_bytes)),
        None => all,
    };
    all.layer(gzip::requests()).layer(from_fn_with_state(edge.clone(), gate::pass)).with_state(edge)
}

/// What is known of one path.
#[derive(Default)]
struct Path {
    handlers: MethodRouter<Edge>,
    methods: Vec<&'static str>,
    is_open: bool,
}

/// A known path with another method is told which one to use.
fn wrong_method(allowed: String) -> MethodRouter<Edge> {
    MethodRouter::new().fallback(move |uri: Uri| async move {
        ApiError::wrong_method(&allowed).respond(gate::shape_of(uri.path()))
    })
}

async fn unknown_route(uri: Uri) -> Response {
    ApiError::unknown_route(uri.path()).respond(gate::shape_of(uri.path()))
}

/// The routes of a node that still loads: alive, and not ready for anything else.
pub fn starting(gate: Gate) -> Router {
    let refuse = move |uri: Uri| {
        let error = if gate.draining() { ApiError::draining() } else { ApiError::not_ready() };
        let response = error.respond(gate::shape_of(uri.path()));
        async move { response }
    };
    Router::new().route("/health", get(status::health)).fallback(refuse)
}
