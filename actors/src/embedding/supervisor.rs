//! Starts one model actor per served model, starts it again should it fail, and is the only one
//! that changes the table of names.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_embedding::{Alias, PoolPlan};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::Duration;

use super::actor::{ModelActor, ModelArguments};
use super::background::Background;
use super::cache::VectorCache;
use super::handle::ModelHandle;
use super::messages::ModelMessage;
use super::metrics::EmbeddingMetrics;
use super::precedence::Precedence;
use super::start::{EmbeddingSettings, ServedModel};
use super::table::{ChangeError, Phase, Table};
use crate::environment::Clock;

/// Pause before a failed model actor is started again. It holds no weights, so a short one.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// What all models of a node share.
pub(super) struct Shared {
    pub(super) settings: EmbeddingSettings,
    pub(super) metrics: EmbeddingMetrics,
    pub(super) precedence: Precedence,
    pub(super) background: Background,
    pub(super) clock: Clock,
}

pub(super) struct Supervisor;

pub(super) struct SupervisorState {
    shared: Shared,
    children: BTreeMap<String, Child>,
    table: watch::Sender<Arc<Table>>,
}

struct Child {
    arguments: ModelArguments,
    /// Where the handles read the actor's address.
    slot: watch::Sender<Option<ActorRef<ModelMessage>>>,
    actor: Option<ActorRef<ModelMessage>>,
}

type Changed<T> = oneshot::Sender<Result<T, ChangeError>>;

/// To the supervisor. Each change is answered when the table has it.
pub(super) enum SupervisorMessage {
    /// Start the model actor of this name.
    Start(String),
    Load(Box<ServedModel>, Changed<Arc<ModelHandle>>),
    /// Refuse new work for the model.
    Drain(String, Changed<Arc<ModelHandle>>),
    /// End the model, which was drained before.
    Remove(String, Changed<()>),
    SetAlias {
        name: String,
        alias: Alias,
        /// Models of other nodes, which targets may be, too.
        elsewhere: Vec<String>,
        done: Changed<()>,
    },
    RemoveAlias(String, Changed<()>),
}

impl ractor::Message for SupervisorMessage {}

impl Actor for Supervisor {
    type Msg = SupervisorMessage;
    type State = SupervisorState;
    type Arguments = (Shared, watch::Sender<Arc<Table>>, Vec<ServedModel>);

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMessage>,
        (shared, table, models): Self::Arguments,
    ) -> Result<SupervisorState, ActorProcessingErr> {
        let mut state = SupervisorState { shared, children: BTreeMap::new(), table };
        for served in models {
            state.load(&myself, served, true)?;
        }
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<SupervisorMessage>,
        message: SupervisorMessage,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        // Whoever asked may be gone; the change stands all the same.
        match message {
            SupervisorMessage::Start(name) => state.start(&myself, name).await,
            SupervisorMessage::Load(served, done) => {
                let _ = done.send(state.load(&myself, *served, false));
            }
            SupervisorMessage::Drain(name, done) => {
                let _ = done.send(state.drain(&name));
            }
            SupervisorMessage::Remove(name, done) => {
                let _ = done.send(state.remove(&name));
            }
            SupervisorMessage::SetAlias { name, alias, elsewhere, done } => {
                let _ = done.send(state.set_alias(name, alias, &elsewhere));
            }
            SupervisorMessage::RemoveAlias(name, done) => {
                let _ = done.send(state.remove_alias(&name));
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<SupervisorMessage>,
        event: SupervisionEvent,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, why) = match event {
            SupervisionEvent::ActorFailed(cell, error) => (cell, error.to_string()),
            SupervisionEvent::ActorTerminated(cell, _, why) => (cell, why.unwrap_or_default()),
            _ => return Ok(()),
        };
        let is_lost = |child: &Child| {
            child.actor.as_ref().is_some_and(|actor| actor.get_id() == cell.get_id())
        };
        // One that was removed is not known any more and stays away.
        let lost = state.children.iter_mut().find(|(_, child)| is_lost(child));
        if let Some((model, child)) = lost {
            tracing::error!(model, why, "a model actor failed and is started again");
            child.actor = None;
            child.slot.send_replace(None);
            // Its replicas and its queues went with it.
            for pool in headwater_embedding::Pool::ALL {
                let metrics = child.arguments.metrics.of(pool);
                metrics.queue(0, 0);
                metrics.replicas(0, metrics.wanted_replicas());
            }
            let model = model.clone();
            myself.send_after(RESTART_PAUSE, move || SupervisorMessage::Start(model));
        }
        Ok(())
    }
}

impl SupervisorState {
    async fn start(&mut self, myself: &ActorRef<SupervisorMessage>, name: String) {
        let Some(child) = self.children.get_mut(&name) else { return };
        let arguments = child.arguments.clone();
        match Actor::spawn_linked(None, ModelActor, arguments, myself.get_cell()).await {
            Ok((actor, _task)) => {
                child.actor = Some(actor.clone());
                child.slot.send_replace(Some(actor));
            }
            Err(error) => {
                tracing::error!(%error, "a model actor did not start");
                myself.send_after(RESTART_PAUSE, move || SupervisorMessage::Start(name));
            }
        }
    }

    fn load(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        served: ServedModel,
        with_the_node: bool,
    ) -> Result<Arc<ModelHandle>, ChangeError> {
        let mut table = Table::clone(&self.table.borrow());
        let name = served.model.card().name.clone();
        let taken = [&name].into_iter().chain(&served.aliases).find(|name| table.has(name));
        if let Some(taken) = taken {
            return Err(ChangeError::NameTaken(taken.clone()));
        }
        table.aliases.extend(served.aliases.iter().map(|alias| (alias.clone(), Alias::of(&name))));
        let (child, handle) = self.shared.child(served, with_the_node);
        let handle = Arc::new(handle);
        table.models.insert(name.clone(), Arc::clone(&handle));
        self.children.insert(name.clone(), child);
        self.table.send_replace(Arc::new(table));
        myself.cast(SupervisorMessage::Start(name)).map_err(|_| ChangeError::Stopped)?;
        Ok(handle)
    }

    fn drain(&mut self, name: &str) -> Result<Arc<ModelHandle>, ChangeError> {
        let table = self.table.borrow();
        let handle = table.models.get(name).cloned();
        let handle = handle.ok_or_else(|| ChangeError::UnknownModel(name.to_owned()))?;
        let aliases = table.aliases_of(name);
        if !aliases.is_empty() {
            return Err(ChangeError::IsTarget { model: name.to_owned(), aliases });
        }
        tracing::info!(model = name, "a model is being unloaded");
        handle.close();
        Ok(handle)
    }

    fn remove(&mut self, name: &str) -> Result<(), ChangeError> {
        let mut table = Table::clone(&self.table.borrow());
        table.models.remove(name);
        self.table.send_replace(Arc::new(table));
        let child = self.children.remove(name);
        let child = child.ok_or_else(|| ChangeError::UnknownModel(name.to_owned()))?;
        if let Some(actor) = child.actor {
            actor.stop(None);
        }
        child.arguments.metrics.forget();
        tracing::info!(model = name, "a model was unloaded");
        Ok(())
    }

    fn set_alias(
        &mut self,
        name: String,
        alias: Alias,
        elsewhere: &[String],
    ) -> Result<(), ChangeError> {
        let mut table = Table::clone(&self.table.borrow());
        if table.models.contains_key(&name) || elsewhere.contains(&name) {
            return Err(ChangeError::NameTaken(name));
        }
        table.check_targets(&alias, elsewhere)?;
        tracing::info!(alias = name, targets = ?alias.targets(), "an alias was set");
        table.aliases.insert(name, alias);
        self.table.send_replace(Arc::new(table));
        Ok(())
    }

    fn remove_alias(&mut self, name: &str) -> Result<(), ChangeError> {
        let mut table = Table::clone(&self.table.borrow());
        if table.aliases.remove(name).is_none() {
            return Err(ChangeError::UnknownAlias(name.to_owned()));
        }
        tracing::info!(alias = name, "an alias was removed");
        self.table.send_replace(Arc::new(table));
        Ok(())
    }
}

impl Shared {
    /// A model's actor to be and the handle to it.
    fn child(&self, served: ServedModel, with_the_node: bool) -> (Child, ModelHandle) {
        let (slot, actor) = watch::channel(None);
        let phase = Arc::new(watch::Sender::new(Phase::Loading));
        let metrics = self.metrics.for_model(&served.model.card().name);
        let ServedModel { model, replicas, threads, batch, pools, .. } = served;
        let plan = PoolPlan {
            query: batch,
            ingest: pools.ingest_batch,
            replicas: replicas.max(1),
            ingest_replicas: pools.ingest_replicas,
            reserved: pools.reserved,
        };
        let fixed = headwater_embedding::ScaleSettings::fixed;
        let arguments = ModelArguments {
            model: Arc::clone(&model),
            threads: [threads, pools.ingest_threads.unwrap_or(threads)],
            scale: [
                pools.query_scale.unwrap_or_else(|| fixed(plan.replicas)),
                pools.ingest_scale.unwrap_or_else(|| fixed(plan.ingest_replicas)),
            ],
            control_step: Duration::from_millis(self.settings.pools.control_step_ms.max(1)),
            phase: Arc::clone(&phase),
            precedence: self.precedence.clone(),
            metrics: metrics.clone(),
            clock: self.clock,
            plan,
        };
        for pool in headwater_embedding::Pool::ALL {
            let wanted = [arguments.plan.replicas, arguments.plan.ingest_replicas][pool.index()];
            metrics.of(pool).replicas(0, wanted);
        }
        let permits = [(); 2].map(|()| Arc::new(Semaphore::new(self.settings.queue_tokens)));
        let cache = VectorCache::new(
            model.card(),
            &self.settings.cache,
            self.settings.queue_tokens,
            metrics.cache(),
        );
        let handle = ModelHandle {
            cache,
            model,
            permits,
            actor,
            phase,
            with_the_node,
            precedence: self.precedence.clone(),
            background: self.background.clone(),
            settings: self.settings.clone(),
            metrics,
        };
        (Child { arguments, slot, actor: None }, handle)
    }
}
