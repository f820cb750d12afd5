//! A pool of slots: an actor that does what the pure planner says, and supervises its slots.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_sandbox::{Engine, Image, ImageName, SlotSpec, Way};
use headwater_tools::call::Refusal;
use headwater_tools::pool::{Effect, Event, Pool, PoolSettings, Reason, SlotId, Ticket};
use headwater_tools::{Egress, Tier};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;
use tokio::time::Duration;

use super::guard::{Leave, SlotGuard, refusal};
use super::metrics::SandboxMetrics;
use super::slot::{Held, SlotActor, SlotArguments, SlotMessage};
use super::{OpenWay, Ways};
use crate::runtime::Runtime;

/// How often the pool looks for what is due, in ms.
const LOOK_MS: u64 = 20;

/// What a pool is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PoolKey {
    pub(super) engine: &'static str,
    pub(super) image: ImageName,
    /// An image that was made anew has slots of its own.
    pub(super) digest: String,
    pub(super) tier: Tier,
    /// Its slots keep their files, each for one session.
    pub(super) is_session: bool,
    /// The team and the tool whose way out its slots have.
    pub(super) way: Option<(String, String)>,
}

/// A slot that was given.
pub(super) struct Given {
    slot: SlotId,
    held: Held,
}

type Reply = oneshot::Sender<Result<Given, (Reason, u64, String)>>;

pub(super) enum PoolMessage {
    Want {
        ticket: Ticket,
        tenant: String,
        deadline_ms: u64,
        reply: Reply,
    },
    Happened(Event),
    StartFailed(SlotId, String),
    /// No slot is given any more, all are closed; told once they are gone.
    Leave(oneshot::Sender<()>),
    /// A slot left something behind: what earlier processes left is looked for.
    Leaked,
    Look,
}

impl ractor::Message for PoolMessage {}

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct PoolHandle {
    runtime: Runtime,
    messages: tokio::sync::mpsc::UnboundedSender<PoolMessage>,
}

struct PoolActor;

struct PoolArguments {
    runtime: Runtime,
    key: PoolKey,
    settings: PoolSettings,
    engine: Arc<dyn Engine>,
    image: Image,
    ways: Option<(Ways, Vec<Egress>)>,
    metrics: SandboxMetrics,
}

struct PoolState {
    arguments: PoolArguments,
    pool: Pool,
    slots: BTreeMap<SlotId, (ActorRef<SlotMessage>, Held)>,
    waiting: BTreeMap<Ticket, Reply>,
    /// Why the last slot did not start.
    failure: String,
    leaving: Option<oneshot::Sender<()>>,
}

/// Starts a pool, which starts its warm slots.
pub(super) fn start(
    runtime: &Runtime,
    key: PoolKey,
    mut settings: PoolSettings,
    engine: Arc<dyn Engine>,
    image: Image,
    ways: Option<(Ways, Vec<Egress>)>,
    metrics: &SandboxMetrics,
) -> PoolHandle {
    settings.recycles = engine.abilities().recycles;
    if key.way.is_some() || key.is_session {
        // Nobody else may have them, so none is held for a call that may never come.
        settings.warm_min = 0;
    }
    let (messages, mut incoming) = tokio::sync::mpsc::unbounded_channel();
    let metrics = metrics.clone();
    let arguments =
        PoolArguments { runtime: runtime.clone(), key, settings, engine, image, ways, metrics };
    runtime.spawn(async move {
        let (actor, _task) = match Actor::spawn(None, PoolActor, arguments).await {
            Ok(spawned) => spawned,
            Err(error) => {
                tracing::error!(%error, "a pool of sandbox slots did not start");
                return;
            }
        };
        while let Some(message) = incoming.recv().await {
            if actor.cast(message).is_err() {
                return;
            }
        }
        actor.stop(None);
    });
    PoolHandle { runtime: runtime.clone(), messages }
}

impl PoolHandle {
    pub(super) fn is_alive(&self) -> bool {
        !self.messages.is_closed()
    }

    /// Closes all slots, and waits until they are gone.
    pub(super) async fn close(&self) {
        let (reply, gone) = oneshot::channel();
        if self.messages.send(PoolMessage::Leave(reply)).is_ok() {
            // A pool that ends meanwhile has no slots either.
            let _ = gone.await;
        }
    }

    /// Waits for a slot, at most so long.
    pub(super) async fn get(
        &self,
        tool: &str,
        tenant: &str,
        within_ms: u64,
    ) -> Result<SlotGuard, Refusal> {
        let ticket = Ticket(self.runtime.environment().draw());
        let (reply, answer) = oneshot::channel();
        let deadline_ms = self.runtime.now_ms().saturating_add(within_ms);
        let tenant = tenant.to_owned();
        let want = PoolMessage::Want { ticket, tenant, deadline_ms, reply };
        let gone = || Refusal::Unreachable {
            tool: tool.to_owned(),
            why: "its pool of slots has ended".to_owned(),
            retry_after_ms: 1_000,
        };
        self.messages.send(want).map_err(|_| gone())?;
        // Whoever stops waiting gives up the ticket, or the slot that it got meanwhile.
        let mut leave = Leave { messages: self.messages.clone(), ticket: Some(ticket) };
        let given = answer.await.map_err(|_| gone())?;
        leave.ticket = None;
        match given {
            Ok(Given { slot, held }) => {
                let messages = self.messages.clone();
                Ok(SlotGuard { messages, slot, held, is_clean: false })
            }
            Err((reason, retry_after_ms, failure)) => {
                Err(refusal(tool, reason, retry_after_ms, failure))
            }
        }
    }
}

impl Actor for PoolActor {
    type Msg = PoolMessage;
    type State = PoolState;
    type Arguments = PoolArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<PoolMessage>,
        arguments: PoolArguments,
    ) -> Result<PoolState, ActorProcessingErr> {
        let pool = Pool::new(arguments.settings.clone())?;
        let (slots, waiting) = Default::default();
        let failure = String::new();
        myself.send_interval(Duration::from_millis(LOOK_MS), || PoolMessage::Look);
        // Slots are this node's own, so it has their lease for as long as it lives.
        myself.cast(PoolMessage::Happened(Event::GotLease))?;
        Ok(PoolState { arguments, pool, slots, waiting, failure, leaving: None })
    }

    async fn handle(
        &self,
        myself: ActorRef<PoolMessage>,
        message: PoolMessage,
        state: &mut PoolState,
    ) -> Result<(), ActorProcessingErr> {
        let event = match message {
            PoolMessage::Want { ticket, tenant, deadline_ms, reply } => {
                state.waiting.insert(ticket, reply);
                let is_session = state.arguments.key.is_session;
                Event::Wanted { tenant, ticket, is_session, deadline_ms }
            }
            PoolMessage::Happened(event) => {
                if let Event::Gone { ticket } = event {
                    state.waiting.remove(&ticket);
                }
                event
            }
            PoolMessage::StartFailed(slot, why) => {
                state.failure = why;
                Event::StartFailed { slot }
            }
            PoolMessage::Leave(reply) => {
                state.leaving = Some(reply);
                Event::LostLease
            }
            PoolMessage::Leaked => {
                state.sweep();
                return Ok(());
            }
            PoolMessage::Look => Event::Tick,
        };
        state.take(&myself, event).await;
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<PoolMessage>,
        event: SupervisionEvent,
        state: &mut PoolState,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, failed) = match event {
            SupervisionEvent::ActorFailed(cell, error) => (cell, Some(error.to_string())),
            SupervisionEvent::ActorTerminated(cell, ..) => (cell, None),
            _ => return Ok(()),
        };
        let lost = state.slots.iter().find(|(_, (actor, _))| actor.get_id() == cell.get_id());
        let Some(slot) = lost.map(|(slot, _)| *slot) else { return Ok(()) };
        state.slots.remove(&slot);
        if let Some(error) = failed {
            tracing::error!(slot = slot.0, error, "a sandbox slot's actor failed");
            state.sweep();
            state.take(&myself, Event::StartFailed { slot }).await;
            state.take(&myself, Event::Closed { slot }).await;
        }
        Ok(())
    }
}

impl PoolState {
    async fn take(&mut self, myself: &ActorRef<PoolMessage>, event: Event) {
        let now_ms = self.arguments.runtime.now_ms();
        let effects = self.pool.take(event, now_ms);
        for effect in effects {
            self.perform(myself, effect).await;
        }
        let (key, counts) = (&self.arguments.key, self.pool.counts());
        self.arguments.metrics.pool(key.engine, key.image.as_str(), key.tier, counts);
        if !counts.is_live()
            && counts.closing == 0
            && let Some(reply) = self.leaving.take()
        {
            let _ = reply.send(());
        }
    }

    async fn perform(&mut self, myself: &ActorRef<PoolMessage>, effect: Effect) {
        match effect {
            Effect::Start { slot } => self.start(myself, slot).await,
            Effect::Give { slot, ticket } => {
                let held = self.slots.get(&slot).map(|(_, held)| Arc::clone(held));
                let reply = self.waiting.remove(&ticket);
                let given = match (held, reply) {
                    (Some(held), Some(reply)) => reply.send(Ok(Given { slot, held })).is_ok(),
                    _ => false,
                };
                if !given {
                    // Nobody has run anything in it.
                    let ended = Event::Ended { slot, is_clean: true };
                    let _ = myself.cast(PoolMessage::Happened(ended));
                }
            }
            Effect::Recycle { slot } => self.tell(myself, slot, SlotMessage::Recycle),
            Effect::Close { slot } => self.tell(myself, slot, SlotMessage::Close),
            Effect::Refuse { ticket, reason, retry_after_ms } => {
                self.arguments.metrics.refused(reason);
                if let Some(reply) = self.waiting.remove(&ticket) {
                    let _ = reply.send(Err((reason, retry_after_ms, self.failure.clone())));
                }
            }
        }
    }

    fn tell(&self, myself: &ActorRef<PoolMessage>, slot: SlotId, message: SlotMessage) {
        let told = self.slots.get(&slot).is_some_and(|(actor, _)| actor.cast(message).is_ok());
        if !told {
            let _ = myself.cast(PoolMessage::Happened(Event::Closed { slot }));
        }
    }

    async fn start(&mut self, myself: &ActorRef<PoolMessage>, slot: SlotId) {
        let PoolArguments { runtime, key, engine, image, ways, .. } = &self.arguments;
        let way: Result<Option<Box<dyn OpenWay>>, String> = match (ways, &key.way) {
            (Some((ways, egress)), Some((team, tool))) => ways(team, tool, egress).map(Some),
            _ => Ok(None),
        };
        let way = match way {
            Ok(way) => way,
            Err(why) => {
                let _ = myself.cast(PoolMessage::StartFailed(slot, why));
                return;
            }
        };
        let spec = SlotSpec {
            name: format!("{}-{:016x}", key.tier.word(), runtime.environment().draw()),
            image: image.clone(),
            limits: key.tier.limits(),
            way: if key.is_session { Way::Session } else { Way::Single },
            way_out: way.as_ref().map(|way| way.way_out()),
        };
        let held = Held::default();
        let arguments = SlotArguments {
            id: slot,
            spec,
            engine: Arc::clone(engine),
            held: Arc::clone(&held),
            way,
            pool: myself.clone(),
        };
        match Actor::spawn_linked(None, SlotActor, arguments, myself.get_cell()).await {
            Ok((actor, _task)) => {
                self.slots.insert(slot, (actor, held));
            }
            Err(error) => {
                let _ = myself.cast(PoolMessage::StartFailed(slot, error.to_string()));
            }
        }
    }

    /// Takes away what was left behind, beside the pool's work.
    fn sweep(&self) {
        self.arguments.metrics.leaked();
        let engine = Arc::clone(&self.arguments.engine);
        self.arguments.runtime.spawn(async move {
            match engine.sweep().await {
                Ok(swept) => tracing::warn!(?swept, "what sandbox slots left is taken away"),
                Err(error) => tracing::error!(%error, "what sandbox slots left stays"),
            }
        });
    }
}
