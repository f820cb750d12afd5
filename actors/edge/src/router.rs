//! All routes in one place, and the layers that every request passes.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::Uri;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post, put};
use headwater_actors::cluster::ClusterHandle;
use headwater_actors::collection::Collections;
use headwater_actors::embedding::EmbeddingFleet;
use headwater_actors::gateway::{GatewayHandle, GatewayVersions};
use headwater_actors::ingest::IngestHandle;
use headwater_actors::tenancy::TenancyHandle;
use prometheus_client::registry::Registry;

use crate::error::ApiError;
use crate::gate::{self, Gate};
use crate::identity::Authority;
use crate::metrics::EdgeMetrics;
use crate::{chat, cluster, collection, embedding, gateway, ingest, search, status, tenancy};

/// What the edge enforces by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeSettings {
    /// Largest request body, in bytes.
    pub body_limit_bytes: usize,
    /// Longest time for a client to send its body, in ms.
    pub body_timeout_ms: u64,
    /// The model that routes without a `model` field use.
    pub default_model: String,
}

/// What the routes share; cheap to clone.
#[derive(Clone)]
pub struct Edge {
    pub settings: Arc<EdgeSettings>,
    pub authority: Arc<Authority>,
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
    pub metrics: EdgeMetrics,
    pub registry: Arc<Mutex<Registry>>,
}

/// The whole edge as one router.
pub fn router(edge: Edge) -> Router {
    // Probes and scrapers hold no token; what they see names models and routes, no tenant.
    let open = Router::new()
        .route("/health", only("GET", get(status::health)))
        .route("/ready", only("GET", get(status::ready)))
        .route("/metrics", only("GET", get(status::metrics)));
    let guarded = Router::new()
        .route("/v1/embeddings", only("POST", post(embedding::openai::embeddings)))
        .route(
            "/v1/models",
            only("GET and POST", get(embedding::openai::models).post(embedding::manage::load)),
        )
        .route(
            "/v1/models/{*model}",
            only("GET and DELETE", get(embedding::openai::model).delete(embedding::manage::unload)),
        )
        .route("/v1/aliases", only("GET", get(embedding::manage::aliases)))
        .route(
            "/v1/aliases/{*alias}",
            only(
                "PUT and DELETE",
                put(embedding::manage::set_alias).delete(embedding::manage::remove_alias),
            ),
        )
        .route("/embed", only("POST", post(embedding::tei::embed)))
        .route("/embed_sparse", only("POST", post(embedding::sparse::embed_sparse)))
        .route("/rerank", only("POST", post(embedding::rerank::tei)))
        .route("/v1/rerank", only("POST", post(embedding::rerank::rerank)))
        .route("/tokenize", only("POST", post(embedding::tei::tokenize)))
        .route("/v1/cluster", only("GET", get(cluster::status)))
        .route(
            "/v1/tenants/{tenant}/limits",
            only("GET and PUT", get(tenancy::limits).put(tenancy::set_limits)),
        )
        .route("/v1/tenants/{tenant}/usage", only("GET", get(tenancy::usage)))
        .route("/v1/search", only("POST", post(search::search)))
        .merge(collection_routes())
        .merge(ingest_routes())
        .merge(gateway_routes())
        .fallback(unknown_route)
        .layer(from_fn_with_state(edge.clone(), gate::authenticate));
    open.merge(guarded).layer(from_fn_with_state(edge.clone(), gate::pass)).with_state(edge)
}

fn collection_routes() -> Router<Edge> {
    let one = get(collection::get).delete(collection::delete);
    let versions = get(collection::versions).post(collection::build);
    let document = get(collection::document).delete(collection::delete_document);
    Router::new()
        .route(
            "/v1/collections",
            only("GET and POST", get(collection::list).post(collection::create)),
        )
        .route("/v1/collections/{name}", only("GET and DELETE", one))
        .route("/v1/collections/{name}/versions", only("GET and POST", versions))
        .route(
            "/v1/collections/{name}/versions/{version}/{action}",
            only("POST", post(collection::change_build)),
        )
        .route("/v1/collections/{name}/rollback", only("POST", post(collection::roll_back)))
        .route("/v1/collections/{name}/retire", only("POST", post(collection::retire)))
        .route("/v1/collections/{name}/documents/{*document}", only("GET and DELETE", document))
}

fn ingest_routes() -> Router<Edge> {
    let jobs = get(ingest::list).post(ingest::create);
    Router::new()
        .route("/v1/ingest/jobs", only("GET and POST", jobs))
        .route("/v1/ingest/jobs/{id}", only("GET", get(ingest::get)))
        .route("/v1/ingest/jobs/{id}/documents", only("POST", post(ingest::documents)))
        .route("/v1/ingest/jobs/{id}/dead-letters", only("GET", get(ingest::dead_letters)))
        .route("/v1/ingest/jobs/{id}/{action}", only("POST", post(ingest::act)))
}

fn gateway_routes() -> Router<Edge> {
    let (messages, count) = (chat::anthropic::messages, chat::anthropic::count_tokens);
    Router::new()
        .route("/v1/chat/completions", only("POST", post(chat::openai::completions)))
        .route("/v1/completions", only("POST", post(chat::openai::legacy::completions)))
        .route("/v1/responses", only("POST", post(chat::responses::responses)))
        .route("/v1/messages", only("POST", post(messages)))
        .route("/v1/messages/count_tokens", only("POST", post(count)))
        .route("/v1/gateway/config", only("GET and PUT", get(gateway::current).put(gateway::put)))
        .route("/v1/gateway/config/check", only("POST", post(gateway::check)))
        .route("/v1/gateway/config/rollback", only("POST", post(gateway::roll_back)))
        .route("/v1/gateway/config/versions", only("GET", get(gateway::list)))
        .route("/v1/gateway/config/versions/{version}", only("GET", get(gateway::get)))
}

/// A known path with another method is told which one to use.
fn only(allowed: &'static str, routes: MethodRouter<Edge>) -> MethodRouter<Edge> {
    routes.fallback(move |uri: Uri| async move {
        ApiError::wrong_method(allowed).respond(gate::shape_of(uri.path()))
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
