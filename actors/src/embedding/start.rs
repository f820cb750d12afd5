//! What the embedding service is started with, and its start.

use std::sync::Arc;

use headwater_embedding::{BatchSettings, InputLimits, ScaleSettings};
use headwater_models::Model;
use ractor::{Actor, SpawnErr};
use tokio::sync::{Semaphore, watch};
use tokio::time::Duration;

use super::background::Background;
use super::cache::CacheSettings;
use super::metrics::EmbeddingMetrics;
use super::models::EmbeddingHandle;
use super::precedence::Precedence;
use super::supervisor::{Shared, Supervisor};
use super::table::Table;
use crate::environment::Clock;

/// What the service needs to know beside its models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingSettings {
    /// Most tokens that may wait or run in one pool of one model; beyond it requests are refused
    /// as overloaded. A request with more tokens than this could never be admitted, so
    /// `limits.tokens` counts as at most this.
    pub queue_tokens: usize,
    /// Longest time from a query's arrival to its answer, in ms.
    pub request_timeout_ms: u64,
    pub limits: InputLimits,
    pub cache: CacheSettings,
    pub pools: NodePools,
}

/// How the two pools live together on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePools {
    /// Longest time from the arrival of a request of ingest to its answer, in ms.
    pub ingest_timeout_ms: u64,
    /// Ingest stands still for no longer than this while queries are inside, in ms; then it runs
    /// for half as long on what cores they leave.
    pub ingest_pause_ms: u64,
    /// Time between two looks at the signals that replicas are controlled by, in ms; at least 1.
    pub control_step_ms: u64,
}

impl Default for NodePools {
    fn default() -> Self {
        NodePools { ingest_timeout_ms: 600_000, ingest_pause_ms: 4, control_step_ms: 1_000 }
    }
}

/// A model with its share of the machine.
#[derive(Clone)]
pub struct ServedModel {
    pub model: Arc<dyn Model>,
    /// Other names that clients may use.
    pub aliases: Vec<String>,
    /// Number of the query pool's replicas, each on a device thread of its own.
    pub replicas: usize,
    /// CPU threads that one of them uses for a batch.
    pub threads: usize,
    /// Batches of the query pool.
    pub batch: BatchSettings,
    pub pools: ModelPools,
}

/// A model's second pool, and how many replicas both may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelPools {
    /// Replicas of the ingest pool alone, on threads of the lowest priority that stand still
    /// while a query is inside; for CPUs, where opening one more costs little. With 0 ingest
    /// borrows the query pool's replicas between queries; for accelerators.
    pub ingest_replicas: usize,
    /// CPU threads that one of them uses for a batch; as many as the query pool's without it.
    pub ingest_threads: Option<usize>,
    pub ingest_batch: BatchSettings,
    /// So many loaded replicas of the query pool are never lent to ingest.
    pub reserved: usize,
    /// How the number of the query pool's replicas follows the load; not at all without it.
    pub query_scale: Option<ScaleSettings>,
    /// The same for the ingest pool; without effect when that borrows.
    pub ingest_scale: Option<ScaleSettings>,
}

impl Default for ModelPools {
    fn default() -> Self {
        ModelPools {
            ingest_replicas: 1,
            ingest_threads: None,
            ingest_batch: BatchSettings::for_ingest(),
            reserved: 0,
            query_scale: None,
            ingest_scale: None,
        }
    }
}

impl ModelPools {
    /// Ingest borrows the query pool's replicas and leaves so many of them alone.
    pub fn borrowing(reserved: usize) -> Self {
        ModelPools { ingest_replicas: 0, reserved, ..ModelPools::default() }
    }
}

/// Starts the service's actors and returns the handle to them. Dropping every handle does
/// not stop them; the node's end does.
///
/// # Errors
/// When the supervisor cannot be spawned: two models or aliases have one name, or the operating
/// system gives no thread.
pub async fn start(
    models: Vec<ServedModel>,
    settings: &EmbeddingSettings,
    metrics: &EmbeddingMetrics,
) -> Result<EmbeddingHandle, SpawnErr> {
    let mut settings = settings.clone();
    settings.queue_tokens = settings.queue_tokens.min(Semaphore::MAX_PERMITS);
    settings.limits.tokens = settings.limits.tokens.min(settings.queue_tokens);
    let pause = Duration::from_millis(settings.pools.ingest_pause_ms);
    let background = Background::start().map_err(|error| SpawnErr::StartupFailed(error.into()))?;
    let shared = Shared {
        settings,
        metrics: metrics.clone(),
        precedence: Precedence::new(pause, metrics.ingest_paused()),
        background,
        clock: Clock::start(),
    };
    let (writer, table) = watch::channel(Arc::new(Table::default()));
    let (supervisor, _task) = Actor::spawn(None, Supervisor, (shared, writer, models)).await?;
    Ok(EmbeddingHandle::new(table, supervisor))
}
