//! Starts one model actor per served model, and starts it again should it fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_embedding::{BatchSettings, InputLimits};
use headwater_models::Model;
use ractor::{Actor, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tokio::sync::{Semaphore, watch};
use tokio::time::Duration;

use super::actor::{ModelActor, ModelArguments};
use super::cache::{CacheSettings, VectorCache};
use super::handle::{EmbeddingHandle, ModelHandle};
use super::messages::ModelMessage;
use super::metrics::EmbeddingMetrics;
use crate::environment::Clock;

/// Pause before a failed model actor is started again. It holds no weights, so a short one.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// What the service needs to know beside its models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingSettings {
    /// Most tokens that may wait or run for one model; beyond it requests are refused
    /// as overloaded. A request with more tokens than this could never be admitted, so
    /// `limits.tokens` counts as at most this.
    pub queue_tokens: usize,
    /// Longest time from a request's arrival to its answer, in ms.
    pub request_timeout_ms: u64,
    pub limits: InputLimits,
    pub cache: CacheSettings,
}

/// A model with its share of the machine.
#[derive(Clone)]
pub struct ServedModel {
    pub model: Arc<dyn Model>,
    /// Other names that clients may use.
    pub aliases: Vec<String>,
    /// Number of replicas, each on a device thread of its own.
    pub replicas: usize,
    /// CPU threads that one replica uses for a batch.
    pub threads: usize,
    pub batch: BatchSettings,
}

/// Starts the service's actors and returns the handle to them. Dropping every handle does
/// not stop them; the node's end does.
///
/// # Errors
/// Only when the supervisor itself cannot be spawned.
pub async fn start(
    models: Vec<ServedModel>,
    settings: &EmbeddingSettings,
    metrics: &EmbeddingMetrics,
) -> Result<EmbeddingHandle, SpawnErr> {
    let clock = Clock::start();
    let mut settings = settings.clone();
    settings.queue_tokens = settings.queue_tokens.min(Semaphore::MAX_PERMITS);
    settings.limits.tokens = settings.limits.tokens.min(settings.queue_tokens);
    let mut children = Vec::new();
    let mut handles = BTreeMap::new();
    let mut aliases = BTreeMap::new();
    for served in models {
        let name = served.model.card().name.clone();
        let (slot, actor) = watch::channel(None);
        let metrics = metrics.for_model(&name);
        let arguments = ModelArguments {
            model: Arc::clone(&served.model),
            replicas: served.replicas,
            threads: served.threads,
            batch: served.batch,
            metrics: metrics.clone(),
            clock,
        };
        children.push(Child { arguments, slot, actor: None });
        let cache = VectorCache::new(
            served.model.card(),
            &settings.cache,
            settings.queue_tokens,
            metrics.cache(),
        );
        let handle = ModelHandle {
            cache,
            model: served.model,
            replicas: served.replicas,
            permits: Arc::new(Semaphore::new(settings.queue_tokens)),
            actor,
            settings: settings.clone(),
            metrics,
        };
        aliases.extend(served.aliases.into_iter().map(|alias| (alias, name.clone())));
        handles.insert(name, handle);
    }
    Actor::spawn(None, Supervisor, children).await?;
    Ok(EmbeddingHandle::new(handles, aliases))
}

struct Supervisor;

struct Child {
    arguments: ModelArguments,
    /// Where the handles read the actor's address.
    slot: watch::Sender<Option<ActorRef<ModelMessage>>>,
    actor: Option<ActorRef<ModelMessage>>,
}

/// Start the model actor at this place.
struct StartModel(usize);

impl ractor::Message for StartModel {}

impl Actor for Supervisor {
    type Msg = StartModel;
    type State = Vec<Child>;
    type Arguments = Vec<Child>;

    async fn pre_start(
        &self,
        myself: ActorRef<StartModel>,
        children: Vec<Child>,
    ) -> Result<Vec<Child>, ActorProcessingErr> {
        for place in 0..children.len() {
            myself.cast(StartModel(place))?;
        }
        Ok(children)
    }

    async fn handle(
        &self,
        myself: ActorRef<StartModel>,
        StartModel(place): StartModel,
        children: &mut Vec<Child>,
    ) -> Result<(), ActorProcessingErr> {
        let Some(child) = children.get_mut(place) else { return Ok(()) };
        let arguments = child.arguments.clone();
        match Actor::spawn_linked(None, ModelActor, arguments, myself.get_cell()).await {
            Ok((actor, _task)) => {
                child.actor = Some(actor.clone());
                child.slot.send_replace(Some(actor));
            }
            Err(error) => {
                tracing::error!(%error, "a model actor did not start");
                myself.send_after(RESTART_PAUSE, move || StartModel(place));
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<StartModel>,
        event: SupervisionEvent,
        children: &mut Vec<Child>,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, why) = match event {
            SupervisionEvent::ActorFailed(cell, error) => (cell, error.to_string()),
            SupervisionEvent::ActorTerminated(cell, _, why) => (cell, why.unwrap_or_default()),
            _ => return Ok(()),
        };
        let is_lost = |child: &Child| {
            child.actor.as_ref().is_some_and(|actor| actor.get_id() == cell.get_id())
        };
        if let Some(place) = children.iter().position(is_lost) {
            let model = &children[place].arguments.model.card().name;
            tracing::error!(model, why, "a model actor failed and is started again");
            children[place].actor = None;
            children[place].slot.send_replace(None);
            // Its replicas and its queue went with it.
            children[place].arguments.metrics.queue(0, 0, 0);
            myself.send_after(RESTART_PAUSE, move || StartModel(place));
        }
        Ok(())
    }
}
