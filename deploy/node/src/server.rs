//! The life of a serving node: bind, load, serve, drain.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use headwater_actors::embedding::{
    self, CacheSettings, CalibrationSettings, Calibrations, EmbeddingFleet, EmbeddingHandle,
    EmbeddingMetrics, EmbeddingSettings, NodePools, Phase, RemoteEmbedding, ServedElsewhere,
    StoredVectors, offer_of, serve_embedding,
};
use headwater_actors::gateway::AuditHandle;
use headwater_actors::ingest::IngestWorkers;
use headwater_actors::tools::ToolsHandle;
use headwater_edge::{EdgeMetrics, EdgeParts, EdgeSettings, Gate, router, starting};
use headwater_storage::retry::Retry;
use prometheus_client::registry::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::{ServiceExt, service_fn};

use crate::cluster::{Place, Services};
use crate::config::{EmbeddingSection, Settings};
use crate::failure::{Failure, FailureKind};
use crate::process::ProcessMetrics;
use crate::retrieval::Retrieval;
use crate::sockets::Sockets;
use crate::{
    audit, gateway, identity, issuers, models, notices, prompts, retrieval, store, token, tools,
};

/// How often the node looks which of its models serve, in ms.
const OFFERS_MS: u64 = 500;
/// How long the last answers get to leave the sockets after the drain, in ms.
const FLUSH_MS: u64 = 2000;
/// How long what was used gets to be written down after the drain, in ms.
const LEAVE_MS: u64 = 5_000;

/// A node that serves; dropping it does not stop it, [`Node::drain`] does.
pub struct Node {
    address: SocketAddr,
    embedding: EmbeddingHandle,
    /// Open as long as the node serves, so that no second node takes its file.
    store: Retry,
    place: Place,
    services: Services,
    served: ServedElsewhere,
    workers: IngestWorkers,
    audit: Option<AuditHandle>,
    tools: ToolsHandle,
    gate: Gate,
    stop: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
    drain_timeout: Duration,
}

/// `headwater serve`: runs a node until SIGTERM or Ctrl-C.
///
/// # Errors
/// See [`Node::start`] and [`Node::drain`].
pub fn serve(settings: Settings) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(settings.server.threads)
        .enable_all()
        .build()
        .map_err(Failure::broken)?;
    let outcome = runtime.block_on(async {
        let stop = stop_signal()?;
        tokio::pin!(stop);
        let node = tokio::select! {
            node = Node::start(settings) => node?,
            () = &mut stop => return Ok(()),
        };
        stop.await;
        node.drain().await
    });
    // A device thread in the middle of a batch must not hold up the end of the process.
    runtime.shutdown_background();
    outcome
}

/// Resolves at the first SIGTERM or SIGINT. The handlers are in place when this returns.
fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::broken)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::broken)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
            _ = interrupt.recv() => tracing::info!("interrupted: draining"),
        }
    })
}

impl Node {
    /// Binds first, so that a taken port is told at once, and answers `/health` while the
    /// weights are fetched and loaded. Returns when requests are served.
    ///
    /// # Errors
    /// Kind `Address` when the address cannot be bound, `Unavailable` when the store or a
    /// model cannot be opened, `Settings` when the key cannot be read.
    pub async fn start(settings: Settings) -> Result<Node, Failure> {
        let key = token::read_key(&settings)?;
        let (issuers, webhooks) = (issuers::read(&settings)?, notices::read(&settings)?);
        let sockets = Sockets::bind(&settings.server).await?;
        let address = sockets.address();
        let (gate, serving) = (Gate::default(), Arc::new(OnceLock::new()));
        let (stop, stopped) = oneshot::channel::<()>();
        let routes = routes(starting(gate.clone()), Arc::clone(&serving));
        let server = sockets.serve(routes, stopped)?;
        tracing::info!(%address, "listening; loading");
        let mut registry = Registry::default();
        registry.register_collector(Box::new(ProcessMetrics));
        let place = Place::take(&settings).await?;
        let store = store::open(&settings, &place.caller).await?;
        let services = place.start_services(&settings, &store, &mut registry).await?;
        notices::start(webhooks, place.caller.runtime(), &store, &services.leases, &mut registry);
        let embedding = start_embedding(&settings, &store, &mut registry).await?;
        let served = ServedElsewhere::default();
        let fleet = join_fleet(&settings, &place, &embedding, &served, &store);
        let runtime = place.caller.runtime();
        let Retrieval { collections, searches, ingest, workers } =
            retrieval::start(&settings, runtime, &store, &services, &fleet, &mut registry)?;
        let identity = identity::start(&settings, runtime, &store, &mut registry).await;
        let authority =
            identity::authority(&settings, key.as_ref(), issuers, &identity, runtime, address);
        let tenancy = &services.tenancy;
        let gateway = gateway::start(&settings, runtime, &store, tenancy, &fleet, &mut registry);
        let (gateway, gateway_versions) = gateway.await?.unzip();
        let prompts = prompts::start(&settings, runtime, &store, &mut registry).await?;
        prompts::run(&prompts, runtime, gateway.as_ref(), &fleet, &services.leases);
        let audit = audit::start(&settings, runtime, gateway.as_ref(), &mut registry)?;
        let stands = tools::Parts::of(runtime, &store, tenancy, &identity, &gateway, &audit);
        let tools = tools::start(&settings, stands, searches, &mut registry).await?;
        let _ = serving.set(router(EdgeParts {
            settings: Arc::new(edge_settings(&settings)),
            authority: Arc::new(authority),
            identity,
            gate: gate.clone(),
            embedding: fleet,
            tenancy: services.tenancy.clone(),
            cluster: services.cluster.clone(),
            collections: Some(collections),
            ingest: Some(ingest),
            gateway,
            audit: audit.clone(),
            gateway_versions,
            prompts,
            mcp: tools::mcp::answers(&tools, settings.server.body_limit_bytes),
            tools: tools.clone(),
            metrics: EdgeMetrics::register(&mut registry),
            registry: Arc::new(Mutex::new(registry)),
        }));
        offer_models(&place, &embedding).await;
        tracing::info!(%address, "ready");
        Ok(Node {
            address,
            embedding,
            store,
            place,
            services,
            served,
            workers,
            audit,
            tools,
            gate,
            stop,
            server,
            drain_timeout: Duration::from_millis(settings.server.drain_timeout_ms),
        })
    }

    /// Where the node listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn embedding(&self) -> &EmbeddingHandle {
        &self.embedding
    }

    /// Lets running requests finish, answers new ones with 503 and `Retry-After`, then
    /// closes the socket.
    ///
    /// # Errors
    /// Kind `Drain` when requests still ran at the end of `server.drain_timeout_ms`.
    pub async fn drain(self) -> Result<(), Failure> {
        self.gate.drain();
        self.place.start_leaving();
        let ingest_ms = self.drain_timeout.as_millis() as u64;
        let all_done = async {
            // Workers that do not end in time leave their documents to other nodes.
            tokio::join!(self.gate.empty(), self.served.ended(), self.workers.drain(ingest_ms))
        };
        let emptied = tokio::time::timeout(self.drain_timeout, all_done).await;
        let left = self.gate.inside();
        self.place.leave(&self.services, LEAVE_MS).await;
        if let Some(audit) = &self.audit {
            audit.drain(LEAVE_MS).await;
        }
        if let Some(sandbox) = self.tools.sandbox()
            && tokio::time::timeout(Duration::from_millis(LEAVE_MS), sandbox.drain()).await.is_err()
        {
            tracing::warn!("sandboxes were not closed in time; the next start takes them away");
        }
        let _ = self.stop.send(());
        let _ = tokio::time::timeout(Duration::from_millis(FLUSH_MS), self.server).await;
        // The store writes what it still holds as it closes.
        drop(self.store);
        match emptied {
            Ok(_) => {
                tracing::info!("drained");
                Ok(())
            }
            Err(_) => Err(Failure::new(
                FailureKind::Drain,
                format!("{left} requests were still running when the drain's time was up"),
            )),
        }
    }
}

/// The starting routes until the real ones are set.
fn routes(starting: Router, serving: Arc<OnceLock<Router>>) -> Router {
    let service = service_fn(move |request: Request| {
        let routes = serving.get().unwrap_or(&starting).clone();
        async move { Ok::<_, Infallible>(routes.oneshot(request).await.unwrap_or_else(|e| match e {})) }
    });
    Router::new().fallback_service(service)
}

async fn start_embedding(
    settings: &Settings,
    store: &Retry,
    registry: &mut Registry,
) -> Result<EmbeddingHandle, Failure> {
    let served = models::load(settings).await?;
    for model in &served {
        store::record_model(store, model.model.card()).await?;
    }
    let section = &settings.embedding;
    let service = EmbeddingSettings {
        queue_tokens: section.queue_tokens,
        request_timeout_ms: section.request_timeout_ms,
        limits: embedding::InputLimits {
            texts: section.request_texts,
            tokens: section.request_tokens,
        },
        cache: cache_settings(section, store),
        pools: NodePools {
            ingest_timeout_ms: section.ingest_timeout_ms,
            ingest_pause_ms: section.ingest_pause_ms,
            ..NodePools::default()
        },
    };
    let metrics = EmbeddingMetrics::register(registry);
    embedding::start(served, &service, &metrics).await.map_err(Failure::broken)
}

fn cache_settings(section: &EmbeddingSection, store: &Retry) -> CacheSettings {
    let own =
        section.models.iter().filter_map(|model| Some((model.name.clone(), model.cache_bytes?)));
    let stored_bytes = section.cache_stored_bytes;
    let stored = (stored_bytes > 0).then(|| StoredVectors::new(store.clone(), stored_bytes));
    CacheSettings { bytes: section.cache_bytes, by_model: own.collect(), stored }
}

/// This node's models and, in a cluster, those of the others.
fn join_fleet(
    settings: &Settings,
    place: &Place,
    local: &EmbeddingHandle,
    served: &ServedElsewhere,
    store: &Retry,
) -> EmbeddingFleet {
    let calibrations = Calibrations::new(store.clone(), CalibrationSettings::default());
    let whole = |fleet: EmbeddingFleet| {
        fleet.with_loader(models::loader(settings)).with_calibrations(calibrations)
    };
    if settings.cluster.listen.is_none() {
        return whole(EmbeddingFleet::local(local.clone()));
    }
    let (caller, members) = (place.caller.clone(), place.members.clone());
    let timeout_ms = settings.embedding.request_timeout_ms;
    let ingest_timeout_ms = settings.embedding.ingest_timeout_ms;
    let remote = RemoteEmbedding::new(caller.clone(), members, timeout_ms, ingest_timeout_ms);
    caller.runtime().spawn(remote.clone().follow());
    caller.runtime().spawn(serve_embedding(caller.clone(), local.clone(), served.clone()));
    whole(EmbeddingFleet::with_remote(local.clone(), remote))
}

/// Once all are loaded, other nodes may send requests for those of this node's models that serve.
async fn offer_models(place: &Place, embedding: &EmbeddingHandle) {
    embedding.loaded().await;
    let (members, models) = (place.members.clone(), embedding.clone());
    tokio::spawn(async move {
        let mut told = None;
        loop {
            let serving =
                models.models().into_iter().filter(|model| model.phase() == Phase::Serving);
            let offers: BTreeSet<String> = serving.map(|model| offer_of(model.card())).collect();
            if told.as_ref() != Some(&offers) {
                members.update(|me| me.offers = offers.clone());
                told = Some(offers);
            }
            tokio::time::sleep(Duration::from_millis(OFFERS_MS)).await;
        }
    });
    let busy = embedding.clone();
    place.tell_load(move || busy.busy_percent());
}

fn edge_settings(settings: &Settings) -> EdgeSettings {
    EdgeSettings {
        body_limit_bytes: settings.server.body_limit_bytes,
        body_timeout_ms: settings.server.body_timeout_ms,
        default_model: settings
            .embedding
            .models
            .first()
            .map_or_else(String::new, |model| model.name.clone()),
        audits_encoders: settings.audit.encoders,
        gzip_above_bytes: settings.server.gzip_above_bytes,
    }
}
