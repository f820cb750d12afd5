//! A slot: an actor that starts it, proves it clean and takes it away. Whoever was given the slot
//! runs code in it; to stop waiting for the code is to kill it.

use std::sync::Arc;

use headwater_sandbox::{Engine, EngineError, Slot, SlotSpec};
use headwater_tools::pool::{Event, SlotId};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::Mutex;

use super::OpenWay;
use super::pool::PoolMessage;

/// The slot itself; none before its start and after its end.
pub(super) type Held = Arc<Mutex<Option<Box<dyn Slot>>>>;

pub(super) struct SlotActor;

pub(super) struct SlotArguments {
    pub(super) id: SlotId,
    pub(super) spec: SlotSpec,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) held: Held,
    /// Closed with the slot.
    pub(super) way: Option<Box<dyn OpenWay>>,
    pub(super) pool: ActorRef<PoolMessage>,
}

pub(super) enum SlotMessage {
    Start(Box<SlotSpec>),
    Recycle,
    Close,
}

impl ractor::Message for SlotMessage {}

pub(super) struct SlotState {
    id: SlotId,
    engine: Arc<dyn Engine>,
    held: Held,
    _way: Option<Box<dyn OpenWay>>,
    pool: ActorRef<PoolMessage>,
}

impl Actor for SlotActor {
    type Msg = SlotMessage;
    type State = SlotState;
    type Arguments = SlotArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<SlotMessage>,
        arguments: SlotArguments,
    ) -> Result<SlotState, ActorProcessingErr> {
        let SlotArguments { id, spec, engine, held, way, pool } = arguments;
        myself.cast(SlotMessage::Start(Box::new(spec)))?;
        Ok(SlotState { id, engine, held, _way: way, pool })
    }

    async fn handle(
        &self,
        myself: ActorRef<SlotMessage>,
        message: SlotMessage,
        state: &mut SlotState,
    ) -> Result<(), ActorProcessingErr> {
        let slot = state.id;
        match message {
            SlotMessage::Start(spec) => match state.engine.start(*spec).await {
                Ok(started) => {
                    *state.held.lock().await = Some(started);
                    state.pool.cast(PoolMessage::Happened(Event::Started { slot }))?;
                }
                Err(error) => {
                    tracing::warn!(slot = slot.0, %error, "a sandbox slot did not start");
                    state.pool.cast(PoolMessage::StartFailed(slot, error.to_string()))?;
                    myself.stop(None);
                }
            },
            SlotMessage::Recycle => {
                let mut held = state.held.lock().await;
                let proved = match held.as_mut() {
                    Some(slot) => slot.recycle().await,
                    None => Err(EngineError::Lost { why: "it has ended".to_owned() }),
                };
                if let Err(error) = &proved {
                    tracing::debug!(slot = slot.0, %error, "a sandbox slot is not used again");
                }
                let event = Event::Recycled { slot, is_clean: proved.is_ok() };
                state.pool.cast(PoolMessage::Happened(event))?;
            }
            SlotMessage::Close => {
                let taken = state.held.lock().await.take();
                if let Some(taken) = taken
                    && let Err(error) = taken.close().await
                {
                    tracing::error!(slot = slot.0, %error, "a sandbox slot is not wholly gone");
                    state.pool.cast(PoolMessage::Leaked)?;
                }
                state.pool.cast(PoolMessage::Happened(Event::Closed { slot }))?;
                myself.stop(None);
            }
        }
        Ok(())
    }
}
