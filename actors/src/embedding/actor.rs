//! The model actor: turns messages into the dispatcher's events and runs its effects.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_embedding::{
    BatchId, BatchSettings, Dispatcher, Effect, Failure, ItemId, ReplicaIndex, RequestId,
};
use headwater_models::{Model, Sequence, TokenBatch, Vectors};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::time::Duration;

use super::messages::{ModelMessage, RunBatch, Work};
use super::metrics::ModelMetrics;
use super::replica::{ReplicaActor, ReplicaArguments};
use crate::environment::Clock;

pub(super) struct ModelActor;

#[derive(Clone)]
pub(super) struct ModelArguments {
    pub(super) model: Arc<dyn Model>,
    pub(super) replicas: usize,
    pub(super) threads: usize,
    pub(super) batch: BatchSettings,
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
    replicas: Vec<Option<ActorRef<RunBatch>>>,
    pending: BTreeMap<RequestId, Pending>,
    /// What each replica is running, by slot.
    running: Vec<Option<(BatchId, Vec<ItemId>)>>,
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
        let (dispatcher, effects) = Dispatcher::new(settings.batch.clone(), settings.replicas);
        let replicas = (0..settings.replicas).map(|_| None).collect();
        let running = (0..settings.replicas).map(|_| None).collect();
        let mut state = ModelState {
            settings,
            dispatcher,
            replicas,
            pending: BTreeMap::new(),
            running,
            alarm_ms: None,
        };
        state.perform(&myself, effects);
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<ModelMessage>,
        message: ModelMessage,
        state: &mut ModelState,
    ) -> Result<(), ActorProcessingErr> {
        let now_ms = state.settings.clock.now_ms();
        match message {
            ModelMessage::Embed(work) => state.accept(&myself, work, now_ms),
            ModelMessage::Cancel(request) => {
                state.dispatcher.cancel(request);
                state.pending.remove(&request);
            }
            ModelMessage::StartReplica(replica) => {
                state.start_replica(&myself, replica, now_ms).await;
            }
            ModelMessage::ReplicaReady { replica, actor } => {
                if state.actor_of(replica).is_some_and(|known| known.get_id() == actor) {
                    let effects = state.dispatcher.ready(replica, now_ms);
                    state.perform(&myself, effects);
                }
            }
            ModelMessage::BatchFinished { replica, batch, outcome, encode_seconds } => {
                state.settings.metrics.encode_seconds(encode_seconds);
                state.finish(&myself, replica, batch, outcome, now_ms);
            }
            ModelMessage::Wake(at_ms) => {
                if state.alarm_ms == Some(at_ms) {
                    state.alarm_ms = None;
                }
                let effects = state.dispatcher.wake(now_ms);
                state.perform(&myself, effects);
            }
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
        let request = work.request;
        let lengths: Vec<usize> = work.texts.iter().map(Sequence::tokens).collect();
        let vectors = vec![Vec::new(); lengths.len()];
        self.pending.insert(request, Pending { work, vectors, arrived_ms: now_ms });
        let effects = self.dispatcher.arrive(request, &lengths, now_ms);
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
        let slot = self.running.get_mut(replica.0);
        let Some((_, items)) = slot.and_then(|run| run.take_if(|(known, _)| *known == batch))
        else {
            return;
        };
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
        let arguments = ReplicaArguments {
            replica,
            model: Arc::clone(&self.settings.model),
            threads: self.settings.threads,
            owner: myself.clone(),
        };
        match Actor::spawn_linked(None, ReplicaActor, arguments, myself.get_cell()).await {
            Ok((actor, _task)) => self.replicas[replica.0] = Some(actor),
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
        self.running[index] = None;
        self.settings.metrics.replica_lost();
        let effects = self.dispatcher.lose(ReplicaIndex(index), self.settings.clock.now_ms());
        self.perform(myself, effects);
    }

    fn perform(&mut self, myself: &ActorRef<ModelMessage>, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Run { replica, batch, items } => self.run(replica, batch, items),
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

    fn run(&mut self, replica: ReplicaIndex, batch: BatchId, items: Vec<ItemId>) {
        let now_ms = self.settings.clock.now_ms();
        let mut sequences = Vec::with_capacity(items.len());
        for item in &items {
            // The dispatcher names items of open requests only, so none is missing; an
            // empty row would be refused by the encoder and never shift another's vector.
            let pending = self.pending.get(&item.request);
            if let Some(pending) = pending {
                self.settings.metrics.waited_ms(now_ms.saturating_sub(pending.arrived_ms));
            }
            let text = pending.and_then(|pending| pending.work.texts.get(item.index));
            sequences.push(text.cloned().unwrap_or_else(|| Sequence::from(Vec::new())));
        }
        let tokens = TokenBatch { sequences };
        self.settings.metrics.batch(&tokens);
        self.running[replica.0] = Some((batch, items));
        if let Some(actor) = self.actor_of(replica) {
            // A replica that is gone already is reported by supervision, which retries.
            let _ = actor.cast(RunBatch { batch, tokens });
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

    fn show(&self) {
        let queue = self.dispatcher.queue();
        let live = self.dispatcher.live_replicas();
        self.settings.metrics.queue(queue.len(), queue.tokens(), live);
    }
}
