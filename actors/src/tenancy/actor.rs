//! A tenant's owner as an actor, and its supervisor.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};

use super::messages::OwnerMessage;
use super::owner::{Flow, Mailbox, OwnerShell};

pub(super) struct OwnerActor;

impl Actor for OwnerActor {
    type Msg = OwnerMessage;
    type State = OwnerShell;
    type Arguments = OwnerShell;

    async fn pre_start(
        &self,
        _myself: ActorRef<OwnerMessage>,
        shell: OwnerShell,
    ) -> Result<OwnerShell, ActorProcessingErr> {
        Ok(shell)
    }

    async fn handle(
        &self,
        myself: ActorRef<OwnerMessage>,
        message: OwnerMessage,
        shell: &mut OwnerShell,
    ) -> Result<(), ActorProcessingErr> {
        if shell.handle(message, &mailbox(&myself)) == Flow::Stop {
            myself.stop(None);
        }
        Ok(())
    }
}

pub(super) fn mailbox(actor: &ActorRef<OwnerMessage>) -> Mailbox {
    let actor = actor.clone();
    Arc::new(move |message| actor.cast(message).is_ok())
}

/// Supervises the owners of this node. One that fails holds no state that is not in the store:
/// its lease stands, and the next request for its tenant starts another.
pub(super) struct OwnersSupervisor;

/// The supervisor hears of its children only.
pub enum SupervisorMessage {}

impl ractor::Message for SupervisorMessage {}

impl Actor for OwnersSupervisor {
    type Msg = SupervisorMessage;
    type State = ();
    type Arguments = ();

    async fn pre_start(
        &self,
        _myself: ActorRef<SupervisorMessage>,
        _arguments: (),
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<SupervisorMessage>,
        event: SupervisionEvent,
        _state: &mut (),
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(_, error) = event {
            tracing::error!(%error, "a tenant's owner failed; the next request starts another");
        }
        Ok(())
    }
}

/// Starts the supervisor.
///
/// # Errors
/// When it cannot be spawned.
pub(super) async fn start_supervisor() -> Result<ActorRef<SupervisorMessage>, SpawnErr> {
    let (supervisor, _task) = Actor::spawn(None, OwnersSupervisor, ()).await?;
    Ok(supervisor)
}
