//! One tenant's owner as a shell: runs the pure machine's transactions and hands out its answers.

use std::sync::Arc;

use headwater_storage::retry::Retry;
use headwater_tenancy::{
    Answer, GrantSettings, Operation, Outcome, Owner, OwnerEffect, OwnerProblem, OwnerSettings,
    Thresholds,
};
use tokio::sync::oneshot;

use super::messages::OwnerMessage;
use super::told::Told;
use super::transaction::{Batch, commit};
use crate::cluster::LeaseProof;
use crate::runtime::Runtime;

/// What the owners of one node share.
pub(super) struct OwnerContext {
    pub(super) runtime: Runtime,
    /// Gives up while the edges still wait.
    pub(super) retry: Retry,
    pub(super) grants: GrantSettings,
    pub(super) owner: OwnerSettings,
    pub(super) thresholds: Thresholds,
}

/// How an owner speaks to itself; false when it is gone.
pub(super) type Mailbox = Arc<dyn Fn(OwnerMessage) -> bool + Send + Sync>;

/// Whether the owner goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Continue,
    Stop,
}

pub(super) struct OwnerShell {
    context: Arc<OwnerContext>,
    tenant: String,
    proof: LeaseProof,
    machine: Owner<oneshot::Sender<Answer>>,
    told: Told,
    /// The lease is gone; only the transaction under way is waited for.
    resigned: bool,
}

impl OwnerShell {
    pub(super) fn new(context: Arc<OwnerContext>, tenant: String, proof: LeaseProof) -> Self {
        let machine = Owner::new(context.owner);
        OwnerShell { context, tenant, proof, machine, told: Told::default(), resigned: false }
    }

    /// Takes in one message. Answers go out at once, transactions run beside it.
    pub(super) fn handle(&mut self, message: OwnerMessage, to_self: &Mailbox) -> Flow {
        let wall_ms = self.context.runtime.wall_ms();
        let mut effects = Vec::new();
        match message {
            OwnerMessage::Take(_, reply) if self.resigned => {
                let _ = reply.send(Err(OwnerProblem::NotOwner));
            }
            OwnerMessage::Take(operation, reply) => {
                self.machine.take(reply, operation, wall_ms, &mut effects);
            }
            OwnerMessage::Committed(outcomes) => {
                self.machine.committed(outcomes, wall_ms, &mut effects);
            }
            OwnerMessage::Resign => self.machine.resign(&mut effects),
        }
        for effect in effects {
            match effect {
                OwnerEffect::Commit(operations) => self.commit(operations, to_self),
                OwnerEffect::Answer(reply, answer) => _ = reply.send(answer),
                OwnerEffect::Resign => self.resigned = true,
            }
        }
        match self.resigned && self.machine.is_idle() {
            true => Flow::Stop,
            false => Flow::Continue,
        }
    }

    fn commit(&self, operations: Vec<Operation>, to_self: &Mailbox) {
        let batch = Batch {
            tenant: self.tenant.clone(),
            proof: self.proof.clone(),
            operations,
            grants: self.context.grants,
            thresholds: self.context.thresholds,
            told: self.told.clone(),
        };
        let (context, to_self) = (Arc::clone(&self.context), Arc::clone(to_self));
        let work = async move {
            let outcomes: Result<Vec<Outcome>, OwnerProblem> =
                commit(&context.retry, &context.runtime, batch).await;
            to_self(OwnerMessage::Committed(outcomes));
        };
        self.context.runtime.spawn(work);
    }
}
