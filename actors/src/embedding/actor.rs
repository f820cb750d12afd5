//! The model actor: turns messages into the dispatcher's events and runs its effects.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_embedding::{
    BatchId, Dispatcher, Effect, Failure, ItemId, Pool, PoolPlan, ReplicaIndex, RequestId,
    ScaleSettings,
};
use headwater_models::{Model, Sequence, TokenBatch, Vectors};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::watch;
use tokio::time::Duration;

use super::messages::{ModelMessage, RunBatch, Work};
use super::metrics::ModelMetrics;
use super::precedence::Precedence;
use super::replica::{ReplicaActor, ReplicaArguments};
use super::scaling::Controller;
use super::table::Phase;
use crate::environment::Clock;

pub(super) struct ModelActor;

#[derive(Clone)]
pub(super) struct ModelArguments {
    pub(super) model: Arc<dyn Model>,
    pub(super) plan: PoolPlan,
    /// CPU threads of one replica, by [`Pool::index`].
    pub(super) threads: [usize; 2],
    /// By [`Pool::index`].
    pub(super) scale: [ScaleSettings; 2],
    /// Time between two steps of the replica controllers.
    pub(super) control_step: Duration,
    pub(super) phase: Arc<watch::Sender<Phase>>,
    pub(super) precedence: Precedence,
    pub(super) metrics: ModelMetrics,
    pub(super) clock: Clock,
}

/// A request that waits for its vectors.
struct Pending {
    work: Work,
    vectors: Vec<Vec<f32>>,
    arrived_ms: u64,
}

pub(super) struct ModelState {
    settings: ModelArguments,
    dispatcher: Dispatcher,
    controller: Controller,
    replicas: Vec<Option<ActorRef<RunBatch>>>,
    pending: BTreeMap<RequestId, Pending>,
    /// What each replica is running.
    running: BTreeMap<ReplicaIndex, (BatchId, Vec<ItemId>)>,
    /// The earliest alarm that is armed, in ms.
    alarm_ms: Option<u64>,
}

impl Actor for ModelActor {
    type Msg = ModelMessage;
    type State = ModelState;
    type Arguments = ModelArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<ModelMessage>,
        settings: ModelArguments,
    ) -> Result<ModelState, ActorProcessingErr> {
        let now_ms = settings.clock.now_ms();
        let (dispatcher, effects) = Dispatcher::new(settings.plan.clone());
        let controller = Controller::new(settings.scale.clone(), now_ms);
        let mut state = ModelState {
            settings,
            dispatcher,
            controller,
            replicas: Vec::new(),
            pending: BTreeMap::new(),
            running: BTreeMap::new(),
            alarm_ms: None,
        };
        myself.send_interval(state.settings.control_step, || ModelMessage::Control);
        state.perform(&myself, effects);
        state.show();
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<ModelMessage>,
        message: ModelMessage,
        state: &mut ModelState,
    ) -> Result<(), ActorProcessingErr> {
        let now_ms = state.settings.clock.now_ms();
        state.controller.pass(&state.dispatcher, now_ms);
        match message {
            ModelMessage::Embed(work) => state.accept(&myself, work, now_ms),
            ModelMessage::Cancel(request) => {
                let effects = state.dispatcher.cancel(request, now_ms);
                state.pending.remove(&request);
                state.perform(&myself, effects);
            }
            ModelMessage::StartReplica(replica) => {
                state.start_replica(&myself, replica, now_ms).await;
            }
            ModelMessage::ReplicaReady { replica, actor } => {
                if state.actor_of(replica).is_some_and(|known| known.get_id() == actor) {
                    let effects = state.dispatcher.ready(replica, now_ms);
                    state.perform(&myself, effects);
                    state.offer();
                }
            }
            ModelMessage::BatchFinished { replica, batch, pool, outcome, encode_seconds } => {
                state.settings.metrics.of(pool).encode_seconds(encode_seconds);
                state.finish(&myself, replica, batch, outcome, now_ms);
            }
            ModelMessage::Wake(at_ms) => {
                if state.alarm_ms == Some(at_ms) {
                    state.alarm_ms = None;
                }
                let effects = state.dispatcher.wake(now_ms);
                state.perform(&myself, effects);
            }
            ModelMessage::Control => state.control(&myself, now_ms),
            ModelMessage::KillReplica(replica) => {
                if let Some(actor) = state.actor_of(replica) {
                    actor.kill();
                }
            }
        }
        state.show();
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<ModelMessage>,
        event: SupervisionEvent,
        state: &mut ModelState,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, why) = match event {
            SupervisionEvent::ActorFailed(cell, error) => (cell, error.to_string()),
            SupervisionEvent::ActorTerminated(cell, _, why) => (cell, why.unwrap_or_default()),
            _ => return Ok(()),
        };
        state.replica_lost(&myself, &cell, &why);
        state.show();
        Ok(())
    }
}

impl ModelState {
    fn actor_of(&self, replica: ReplicaIndex) -> Option<&ActorRef<RunBatch>> {
        self.replicas.get(replica.0).and_then(Option::as_ref)
    }

    fn accept(&mut self, myself: &ActorRef<ModelMessage>, work: Work, now_ms: u64) {
        if work.reply.is_closed() {
            return;
        }
        let (request, pool) = (work.request, work.pool);
        let lengths: Vec<usize> = work.texts.iter().map(Sequence::tokens).collect();
        let vectors = vec![Vec::new(); lengths.len()];
        self.pending.insert(request, Pending { work, vectors, arrived_ms: now_ms });
        let effects = self.dispatcher.arrive(request, pool, &lengths, now_ms);
        self.perform(myself, effects);
    }

    fn finish(
        &mut self,
        myself: &ActorRef<ModelMessage>,
        replica: ReplicaIndex,
        batch: BatchId,
        outcome: Result<Vectors, String>,
        now_ms: u64,
    ) {
        // A batch that was given up is no longer in its slot; its late answer is dropped.
        if self.running.get(&replica).is_none_or(|(known, _)| *known != batch) {
            return;
        }
        let Some((_, items)) = self.running.remove(&replica) else { return };
        let refusal = match outcome {
            Ok(vectors) => {
                for (item, row) in items.iter().zip(vectors.rows()) {
                    if let Some(pending) = self.pending.get_mut(&item.request)
                        && let Some(place) = pending.vectors.get_mut(item.index)
                    {
                        *place = row.to_vec();
                    }
                }
                None
            }
            Err(why) => Some(why),
        };
        let effects = self.dispatcher.finish(replica, batch, refusal, now_ms);
        self.perform(myself, effects);
    }

    async fn start_replica(
        &mut self,
        myself: &ActorRef<ModelMessage>,
        replica: ReplicaIndex,
        now_ms: u64,
    ) {
        // A start that was told before the slot was given up, or twice, is none.
        let Some(home) = self.dispatcher.starting(replica) else { return };
        if self.actor_of(replica).is_some() {
            return;
        }
        let arguments = ReplicaArguments {
            replica,
            model: Arc::clone(&self.settings.model),
            home,
            threads: self.settings.threads[home.index()],
            pace: self.settings.precedence.pace(),
            start_paced: *self.settings.phase.borrow() == Phase::Loading,
            owner: myself.clone(),
        };
        match Actor::spawn_linked(None, ReplicaActor, arguments, myself.get_cell()).await {
            Ok((actor, _task)) => {
                if self.replicas.len() <= replica.0 {
                    self.replicas.resize(replica.0 + 1, None);
                }
                self.replicas[replica.0] = Some(actor);
            }
            Err(error) => {
                tracing::error!(replica = replica.0, %error, "a replica did not start");
                let effects = self.dispatcher.lose(replica, now_ms);
                self.perform(myself, effects);
            }
        }
    }

    fn replica_lost(&mut self, myself: &ActorRef<ModelMessage>, cell: &ActorCell, why: &str) {
        let is_lost = |slot: &Option<ActorRef<RunBatch>>| {
            slot.as_ref().is_some_and(|actor| actor.get_id() == cell.get_id())
        };
        let Some(index) = self.replicas.iter().position(is_lost) else { return };
        let model = &self.settings.model.card().name;
        tracing::warn!(model, replica = index, why, "a replica was lost and is started again");
        self.replicas[index] = None;
        let replica = ReplicaIndex(index);
        self.running.remove(&replica);
        if let Some(home) = self.dispatcher.home(replica) {
            self.settings.metrics.of(home).replica_lost();
        }
        let effects = self.dispatcher.lose(replica, self.settings.clock.now_ms());
        self.perform(myself, effects);
    }

    fn perform(&mut self, myself: &ActorRef<ModelMessage>, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Run { replica, batch, pool, items } => {
                    self.run(replica, batch, pool, items);
                }
                Effect::Stop { replica } => {
                    let actor = self.replicas.get_mut(replica.0).and_then(Option::take);
                    if let Some(actor) = actor {
                        actor.stop(None);
                    }
                }
                Effect::Complete { request } => {
                    if let Some(Pending { work, vectors, .. }) = self.pending.remove(&request) {
                        let _ = work.reply.send(Ok(vectors));
                        drop(work.permit);
                    }
                }
                Effect::Fail { request, failure } => self.fail(request, failure),
                Effect::Start { replica, after_ms } => {
                    let pause = Duration::from_millis(after_ms);
                    myself.send_after(pause, move || ModelMessage::StartReplica(replica));
                }
                Effect::Kill { replica } => {
                    if let Some(actor) = self.actor_of(replica) {
                        actor.kill();
                    }
                }
                Effect::WakeAt { at_ms } => self.arm(myself, at_ms),
            }
        }
    }

    fn run(&mut self, replica: ReplicaIndex, batch: BatchId, pool: Pool, items: Vec<ItemId>) {
        let now_ms = self.settings.clock.now_ms();
        let metrics = self.settings.metrics.of(pool);
        let mut sequences = Vec::with_capacity(items.len());
        for item in &items {
            // The dispatcher names items of open requests only, so none is missing; an
            // empty row would be refused by the encoder and never shift another's vector.
            let pending = self.pending.get(&item.request);
            if let Some(pending) = pending {
                metrics.waited_ms(now_ms.saturating_sub(pending.arrived_ms));
            }
            let text = pending.and_then(|pending| pending.work.texts.get(item.index));
            sequences.push(text.cloned().unwrap_or_else(|| Sequence::from(Vec::new())));
        }
        let tokens = TokenBatch { sequences };
        metrics.batch(&tokens, self.settings.plan.batch(pool).batch_tokens);
        self.running.insert(replica, (batch, items));
        if let Some(actor) = self.actor_of(replica) {
            // A replica that is gone already is reported by supervision, which retries.
            let _ = actor.cast(RunBatch { batch, pool, tokens });
        }
    }

    fn fail(&mut self, request: RequestId, failure: Failure) {
        if let Some(Pending { work, .. }) = self.pending.remove(&request) {
            let _ = work.reply.send(Err(failure));
        }
    }

    fn arm(&mut self, myself: &ActorRef<ModelMessage>, at_ms: u64) {
        if self.alarm_ms.is_some_and(|armed_ms| armed_ms <= at_ms) {
            return;
        }
        self.alarm_ms = Some(at_ms);
        let pause = self.settings.clock.until(at_ms);
        myself.send_after(pause, move || ModelMessage::Wake(at_ms));
    }

    /// With its first warm replica a model is offered to clients.
    fn offer(&self) {
        let warm = self.dispatcher.live_replicas(Pool::Query) > 0;
        let model = &self.settings.model.card().name;
        self.settings.phase.send_if_modified(|phase| {
            let first = warm && *phase == Phase::Loading;
            if first {
                tracing::info!(model, "a model is served from now on");
                *phase = Phase::Serving;
            }
            first
        });
    }

    /// Looks at the signals and brings each pool to the number of replicas that they ask for.
    fn control(&mut self, myself: &ActorRef<ModelMessage>, now_ms: u64) {
        for pool in Pool::ALL {
            let metrics = self.settings.metrics.of(pool);
            let signals = self.controller.signals(&self.dispatcher, pool, metrics, now_ms);
            metrics.signals(&signals);
            if pool == Pool::Ingest && self.settings.plan.lends() {
                continue;
            }
            let (from, to) =
                (signals.wanted_replicas, self.controller.desired(pool, &signals, now_ms));
            if from == to {
                continue;
            }
            let (model, pool_name) = (&self.settings.model.card().name, pool.name());
            let (age_ms, tokens) = (signals.oldest_age_ms, signals.queue_tokens);
            let busy_share = signals.busy_share;
            tracing::info!(
                model,
                pool = pool_name,
                from,
                to,
                age_ms,
                tokens,
                busy_share,
                "the number of replicas changes"
            );
            metrics.replicas_changed(from, to);
            let effects = self.dispatcher.resize(pool, to, now_ms);
            self.perform(myself, effects);
        }
    }

    fn show(&self) {
        for pool in Pool::ALL {
            let (queue, metrics) = (self.dispatcher.queue(pool), self.settings.metrics.of(pool));
            metrics.queue(queue.len(), queue.tokens());
            let live = self.dispatcher.live_replicas(pool);
            metrics.replicas(live, self.dispatcher.wanted_replicas(pool));
        }
    }
}
