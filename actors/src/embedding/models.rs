//! The models of a node by name and alias, and the changes to them while it serves.

use std::sync::Arc;

use headwater_embedding::{Alias, Pool, Target};
use ractor::ActorRef;
use tokio::sync::{oneshot, watch};
use tokio::time::{Duration, sleep, timeout};

use super::handle::ModelHandle;
use super::start::ServedModel;
use super::supervisor::SupervisorMessage;
use super::table::{ChangeError, NotOffered, Phase, Table};

/// How often the start of a node looks whether its replicas are loaded, and the end of a model
/// whether its queues are empty.
const POLL: Duration = Duration::from_millis(5);
/// How long a model that is loaded at run time gets for its first warm replica, in ms.
const WARM_MS: u64 = 600_000;

/// All served models; cheap to clone.
#[derive(Clone)]
pub struct EmbeddingHandle {
    table: watch::Receiver<Arc<Table>>,
    supervisor: ActorRef<SupervisorMessage>,
}

impl EmbeddingHandle {
    pub(super) fn new(
        table: watch::Receiver<Arc<Table>>,
        supervisor: ActorRef<SupervisorMessage>,
    ) -> Self {
        EmbeddingHandle { table, supervisor }
    }

    pub(super) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.borrow())
    }

    /// The model of this name or alias, if it is offered. An alias of several models stands for
    /// the one with the largest share.
    pub fn model(&self, name: &str) -> Option<Arc<ModelHandle>> {
        let table = self.table();
        table.offered(table.resolve(name, None)).ok()
    }

    /// The model of this name or alias for the caller with this key: one caller stays with one
    /// target of an alias.
    ///
    /// # Errors
    /// See [`NotOffered`].
    pub fn find(&self, name: &str, key: &str) -> Result<Arc<ModelHandle>, NotOffered> {
        let table = self.table();
        table.offered(table.resolve(name, Some(key)))
    }

    /// Every model, by name, those included that are not offered yet or any more.
    pub fn models(&self) -> Vec<Arc<ModelHandle>> {
        self.table().models.values().cloned().collect()
    }

    /// Every alias, by name.
    pub fn aliases(&self) -> Vec<(String, Alias)> {
        let table = self.table();
        table.aliases.iter().map(|(name, alias)| (name.clone(), alias.clone())).collect()
    }

    /// Whether every model that should serve has at least one loaded replica. One that is loaded
    /// at run time counts once it is warm.
    pub fn ready(&self) -> bool {
        self.table().models.values().all(|model| match model.phase() {
            Phase::Serving => model.live_replicas() > 0,
            Phase::Loading => !model.with_the_node,
            Phase::Draining => true,
        })
    }

    /// How much of the query pools is taken, in percent: of their queues or of their replicas'
    /// time, whichever is more; 0 without models.
    pub fn busy_percent(&self) -> u32 {
        let share = |model: &Arc<ModelHandle>| {
            let queue = model.settings.queue_tokens.max(1);
            let taken = queue.saturating_sub(model.permits(Pool::Query).available_permits());
            let busy = model.metrics.of(Pool::Query).busy_percent();
            (taken * 100 / queue).max(busy) as u32
        };
        self.table().models.values().map(share).max().unwrap_or(0)
    }

    /// Waits until every model has at least one loaded replica.
    pub async fn loaded(&self) {
        while !self.ready() {
            sleep(POLL).await;
        }
    }

    /// Adds a model beside the others and returns when it serves. Its start makes way for their
    /// queries. When the returned future is dropped, the model is loaded all the same.
    ///
    /// # Errors
    /// [`ChangeError::NameTaken`]; [`ChangeError::NotServing`] when it was unloaded meanwhile; and
    /// [`ChangeError::NeverWarm`] after ten minutes, when the model is removed again.
    pub async fn load(&self, served: ServedModel) -> Result<(), ChangeError> {
        let model = self.change(|done| SupervisorMessage::Load(Box::new(served), done)).await?;
        let mut phase = model.phase.subscribe();
        let is_loaded = phase.wait_for(|phase| *phase != Phase::Loading);
        let loaded = timeout(Duration::from_millis(WARM_MS), is_loaded).await.is_ok();
        let name = model.card().name.clone();
        if loaded {
            return match model.phase() {
                Phase::Serving => Ok(()),
                phase => Err(ChangeError::NotServing { model: name, phase }),
            };
        }
        for (alias, of) in self.aliases() {
            if of.names(&name) {
                self.remove_alias(&alias).await?;
            }
        }
        self.unload(&name).await?;
        Err(ChangeError::NeverWarm { model: name, timeout_ms: WARM_MS })
    }

    /// Refuses new work for the model, lets end what was admitted, and removes it.
    ///
    /// # Errors
    /// [`ChangeError::UnknownModel`], and [`ChangeError::IsTarget`] while an alias points at it.
    pub async fn unload(&self, name: &str) -> Result<(), ChangeError> {
        let model = self.change(|done| SupervisorMessage::Drain(name.to_owned(), done)).await?;
        let (models, name) = (self.clone(), name.to_owned());
        // Goes on when the operator's connection ends before the last request does.
        let removing = tokio::spawn(async move {
            // Whatever is inside ends within its own time limit.
            while !model.is_empty() {
                sleep(POLL).await;
            }
            models.change(|done| SupervisorMessage::Remove(name, done)).await
        });
        removing.await.unwrap_or(Err(ChangeError::Stopped))
    }

    /// Points an alias at models that serve, each with its share of the callers. Requests that
    /// are inside stay with the model that they have.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn set_alias(&self, name: &str, targets: Vec<Target>) -> Result<(), ChangeError> {
        self.set_alias_among(name, targets, Vec::new()).await
    }

    pub(super) async fn set_alias_among(
        &self,
        name: &str,
        targets: Vec<Target>,
        elsewhere: Vec<String>,
    ) -> Result<(), ChangeError> {
        let (name, alias) = (name.to_owned(), Alias::new(targets)?);
        self.change(|done| SupervisorMessage::SetAlias { name, alias, elsewhere, done }).await
    }

    /// # Errors
    /// [`ChangeError::UnknownAlias`].
    pub async fn remove_alias(&self, name: &str) -> Result<(), ChangeError> {
        self.change(|done| SupervisorMessage::RemoveAlias(name.to_owned(), done)).await
    }

    async fn change<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<Result<T, ChangeError>>) -> SupervisorMessage,
    ) -> Result<T, ChangeError> {
        let (done, changed) = oneshot::channel();
        self.supervisor.cast(message(done)).map_err(|_| ChangeError::Stopped)?;
        changed.await.unwrap_or(Err(ChangeError::Stopped))
    }
}
