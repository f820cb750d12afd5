//! Collections, their vector sink and bulk ingest, as the settings choose them.

use std::sync::Arc;

use headwater_actors::collection::{
    CollectionMetrics, Collections, ReembedSettings, Reembedding, Sink,
};
use headwater_actors::embedding::{ChargedEmbedder, EmbeddingFleet};
use headwater_actors::ingest::{
    AttemptSettings, DocumentSource, HoldSettings, IngestHandle, IngestMetrics, IngestSettings,
    IngestWorkers,
};
use headwater_actors::runtime::Runtime;
use headwater_actors::tools::VectorSearches;
use headwater_storage::retry::Retry;
use headwater_vectors_embedded::{EmbeddedSink, EmbeddedVectorsSettings};
use headwater_vectors_qdrant::{ApiKey, QdrantSettings, QdrantSink};
use prometheus_client::registry::Registry;

use crate::cluster::Services;
use crate::config::{HOLD_LATE_MS, Settings, VectorEngine};
use crate::failure::Failure;
use crate::ingest::places::Places;

const MIB: usize = 1 << 20;
const HOUR_MS: u64 = 60 * 60 * 1000;
/// Collections whose builds one node with models works on at once.
const BUILDS: usize = 2;

/// What the edge, the tools and the drain need of retrieval.
pub(crate) struct Retrieval {
    pub(crate) collections: Collections,
    pub(crate) searches: VectorSearches,
    pub(crate) ingest: IngestHandle,
    pub(crate) workers: IngestWorkers,
}

/// Opens the sink and starts this node's workers and builds.
///
/// # Errors
/// Kind `Settings` when a key file, or a root or store of ingest, cannot be read, or the sink
/// refuses its settings.
pub(crate) fn start(
    settings: &Settings,
    runtime: &Runtime,
    store: &Retry,
    services: &Services,
    fleet: &EmbeddingFleet,
    registry: &mut Registry,
) -> Result<Retrieval, Failure> {
    let Services { leases, tenancy, .. } = services;
    let sink = open_sink(settings, store)?;
    let embedder = Arc::new(ChargedEmbedder::new(fleet.clone(), tenancy.clone()));
    let metrics = CollectionMetrics::register(registry);
    let collections = Collections::observed(
        runtime.clone(),
        store.clone(),
        Arc::clone(&sink),
        embedder.clone(),
        metrics,
    );
    let builds = ReembedSettings {
        jobs: settings.vectors.builds.unwrap_or(match settings.ingest_workers() {
            0 => 0,
            _ => BUILDS,
        }),
        chunks_per_s: settings.vectors.build_chunks_per_s,
        ..ReembedSettings::default()
    };
    runtime.spawn(Reembedding::new(collections.clone(), leases.clone(), builds).run());
    let ingest = IngestHandle::new(
        runtime.clone(),
        store.clone(),
        collections.clone(),
        ingest_settings(settings),
    );
    let source = Places::open(&settings.ingest)?;
    let source = source.map(|places| Arc::new(places) as Arc<dyn DocumentSource>);
    let metrics = IngestMetrics::register(registry);
    let workers = IngestWorkers::start(ingest.clone(), sink, embedder, source, metrics);
    let searches = VectorSearches::new(collections.clone(), fleet.clone(), tenancy.clone());
    Ok(Retrieval { collections, searches, ingest, workers })
}

fn open_sink(settings: &Settings, store: &Retry) -> Result<Arc<dyn Sink>, Failure> {
    let vectors = &settings.vectors;
    match vectors.engine {
        VectorEngine::Embedded => {
            let chosen = EmbeddedVectorsSettings {
                exact_records_max: vectors.exact_records_max,
                memory_bytes_max: vectors.memory_mb.saturating_mul(MIB),
                ..Default::default()
            };
            Ok(Arc::new(EmbeddedSink::new(store.clone(), chosen)))
        }
        VectorEngine::Qdrant => {
            let api_key = vectors.qdrant_key_file.as_ref().map(|file| {
                let read = std::fs::read_to_string(file);
                let key = read.map_err(|error| {
                    let file = file.display();
                    Failure::settings(format!("vectors.qdrant_key_file: {file}: {error}"))
                })?;
                Ok::<_, Failure>(ApiKey::new(key.trim()))
            });
            let chosen = QdrantSettings {
                address: vectors.qdrant_url.clone(),
                api_key: api_key.transpose()?,
                collection_prefix: vectors.qdrant_prefix.clone(),
                ..QdrantSettings::default()
            };
            let sink = QdrantSink::new(chosen);
            let sink = sink.map_err(|error| Failure::settings(format!("vectors: {error}")))?;
            Ok(Arc::new(sink))
        }
    }
}

fn ingest_settings(settings: &Settings) -> IngestSettings {
    let section = &settings.ingest;
    IngestSettings {
        workers: settings.ingest_workers(),
        documents: section.documents,
        embed_texts: section.embed_texts,
        hold: HoldSettings {
            ttl_ms: section.hold_ms,
            renew_ms: section.hold_ms / 6,
            max_skew_ms: settings.cluster.max_skew_ms,
            late_ms: HOLD_LATE_MS,
        },
        attempts: AttemptSettings { attempts: section.attempts, ..AttemptSettings::default() },
        retention_ms: section.retention_hours * HOUR_MS,
        jobs: section.jobs,
        line_bytes: section.line_bytes,
        ..IngestSettings::default()
    }
}
