//! The tenants that this node owns: claims them when asked, runs their owners, hands them over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_cluster::{Claimant, MemberState, NodeId};
use headwater_storage::retry::Retry;
use headwater_tenancy::{
    Answer, GrantSettings, Operation, OwnerProblem, OwnerSettings, Thresholds,
};
use ractor::{ActorRef, ActorRuntime, SpawnErr};
use tokio::sync::{mpsc, oneshot};

use super::actor::{OwnerActor, SupervisorMessage, mailbox, start_supervisor};
use super::messages::OwnerMessage;
use super::owner::{Flow, Mailbox, OwnerContext, OwnerShell};
use super::transaction::tenant_key;
use super::wire::{Question, Reply, decode_question, encode_question, encode_reply};
use crate::caller::{Caller, Service};
use crate::cluster::{Claim, Leases, Members};

/// How owners live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnersSettings {
    pub grants: GrantSettings,
    pub owner: OwnerSettings,
    /// Of limits of a day or a month that are told of; whoever sets them runs [`Notices`].
    ///
    /// [`Notices`]: super::notices::Notices
    pub thresholds: Thresholds,
    /// A tenant that nobody asked for so long is let go, in ms.
    pub idle_ms: u64,
    /// For so long another node must be the better place before a tenant moves there, in ms.
    pub rebalance_ms: u64,
    /// How long the next owner gets to take a tenant over, in ms.
    pub adopt_ms: u64,
}

impl Default for OwnersSettings {
    fn default() -> Self {
        OwnersSettings {
            grants: GrantSettings::default(),
            owner: OwnerSettings::default(),
            thresholds: Thresholds::NONE,
            idle_ms: 60_000,
            rebalance_ms: 5_000,
            adopt_ms: 1_000,
        }
    }
}

/// How often idle and misplaced tenants are looked for, in ms.
const LOOK_MS: u64 = 500;
/// How many tenants are handed over at a time when a node leaves.
const HANDOVERS: usize = 64;

/// What runs the owners.
#[derive(Clone)]
pub enum OwnerHost {
    /// Actors under one supervisor.
    Actors(ActorRef<SupervisorMessage>),
    /// Tasks of the runtime, where there is no actor system: simulation, tier 1.
    Tasks,
}

impl OwnerHost {
    /// Starts the supervisor.
    ///
    /// # Errors
    /// When it cannot be spawned.
    pub async fn actors() -> Result<OwnerHost, SpawnErr> {
        start_supervisor().await.map(OwnerHost::Actors)
    }
}

struct Seat {
    mailbox: Mailbox,
    epoch: u64,
    used_ms: u64,
    /// Since when another node is the better place.
    misplaced_since_ms: Option<u64>,
}

/// The node's owners; cheap to clone.
#[derive(Clone)]
pub struct Owners {
    shared: Arc<Shared>,
}

struct Shared {
    caller: Caller,
    members: Members,
    leases: Leases,
    host: OwnerHost,
    settings: OwnersSettings,
    context: Arc<OwnerContext>,
    seats: Mutex<BTreeMap<String, Seat>>,
}

impl Owners {
    /// Answers [`Service::Tenancy`] from now on. `retry` should give up while edges still wait.
    pub fn new(
        caller: Caller,
        members: Members,
        leases: Leases,
        retry: Retry,
        host: OwnerHost,
        settings: OwnersSettings,
    ) -> Owners {
        let runtime = caller.runtime().clone();
        let OwnersSettings { grants, owner, thresholds, .. } = settings;
        let context = Arc::new(OwnerContext { runtime, retry, grants, owner, thresholds });
        let seats = Mutex::default();
        let shared = Shared { caller, members, leases, host, settings, context, seats };
        let owners = Owners { shared: Arc::new(shared) };
        let losing = owners.clone();
        owners.shared.leases.on_lost(move |key, epoch| losing.lose(key, epoch));
        let answering = owners.clone();
        owners.shared.caller.serve(Service::Tenancy, move |from, request| {
            let owners = answering.clone();
            async move { owners.answer(&from, &request).await }
        });
        owners
    }

    /// Tenants owned here, with their epochs.
    pub fn tenants(&self) -> Vec<(String, u64)> {
        self.lock().iter().map(|(tenant, seat)| (tenant.clone(), seat.epoch)).collect()
    }

    async fn answer(&self, from: &NodeId, request: &[u8]) -> Vec<u8> {
        let reply = match decode_question(request) {
            Ok((tenant, Question::Do(operation))) => self.handle(&tenant, operation).await,
            Ok((tenant, Question::Adopt)) => match self.seat(&tenant).await {
                Ok(_) => Reply::Answered(Ok(headwater_tenancy::Outcome::Written)),
                Err(reply) => reply,
            },
            Err(error) => {
                tracing::warn!(%from, %error, "a question about a tenant cannot be read");
                Reply::Unreadable
            }
        };
        // Every reply can be encoded. No bytes at all would be unreadable: the asker asks again.
        encode_reply(&reply).unwrap_or_default()
    }

    /// Does one operation as the tenant's owner, after claiming it if nobody has it.
    async fn handle(&self, tenant: &str, operation: Operation) -> Reply {
        for _ in 0..2 {
            let mailbox = match self.seat(tenant).await {
                Ok(mailbox) => mailbox,
                Err(reply) => return reply,
            };
            let (reply, answer) = oneshot::channel();
            if mailbox(OwnerMessage::Take(operation.clone(), reply)) {
                // An owner that dies with the operation inside may have done it.
                let answer: Answer = answer.await.unwrap_or(Err(OwnerProblem::StoreDown));
                return Reply::Answered(answer);
            }
            self.remove_ended(tenant, &mailbox);
        }
        Reply::Answered(Err(OwnerProblem::NotOwner))
    }

    /// Removes an owner that has ended, unless another has its seat by now.
    fn remove_ended(&self, tenant: &str, ended: &Mailbox) {
        let mut seats = self.lock();
        if seats.get(tenant).is_some_and(|seat| Arc::ptr_eq(&seat.mailbox, ended)) {
            seats.remove(tenant);
        }
    }

    async fn seat(&self, tenant: &str) -> Result<Mailbox, Reply> {
        let key = tenant_key(tenant);
        let now_ms = self.shared.caller.runtime().now_ms();
        if let Some(epoch) = self.shared.leases.epoch(&key)
            && let Some(seat) = self.lock().get_mut(tenant)
            && seat.epoch == epoch
        {
            seat.used_ms = now_ms;
            return Ok(Arc::clone(&seat.mailbox));
        }
        if let Some(to) = self.elsewhere(&key) {
            return Err(Reply::Moved { to, remaining_ms: self.shared.settings.adopt_ms });
        }
        match self.shared.leases.claim(&key).await {
            Claim::Mine { epoch } => {
                self.sit(tenant, epoch).ok_or(Reply::Answered(Err(OwnerProblem::NotOwner)))
            }
            Claim::Held { by, remaining_ms } => Err(Reply::Moved { to: by, remaining_ms }),
            Claim::Unknown => Err(Reply::Answered(Err(OwnerProblem::StoreDown))),
        }
    }

    /// Where to claim the tenant instead. A node that drains keeps what it has until it hands it
    /// over, and claims nothing while another node can: a question that comes in the middle of a
    /// handover must not bring the tenant back.
    fn elsewhere(&self, key: &[u8]) -> Option<NodeId> {
        let drains = self.shared.members.me().state != MemberState::Alive;
        let claims = drains && self.shared.leases.epoch(key).is_none();
        if claims { self.shared.members.candidates(key, 1).pop() } else { None }
    }

    /// The owner of this epoch, started if it does not run yet. None when the lease was lost
    /// since it was granted: its listener found nobody to stop.
    fn sit(&self, tenant: &str, epoch: u64) -> Option<Mailbox> {
        let used_ms = self.shared.caller.runtime().now_ms();
        let key = tenant_key(tenant);
        let mut seats = self.lock();
        if self.shared.leases.epoch(&key) != Some(epoch) {
            return None;
        }
        if let Some(seat) = seats.get(tenant).filter(|seat| seat.epoch == epoch) {
            return Some(Arc::clone(&seat.mailbox));
        }
        let proof = self.shared.leases.proof(&key, epoch);
        let context = Arc::clone(&self.shared.context);
        let mailbox = self.host(OwnerShell::new(context, tenant.to_owned(), proof));
        let seat = Seat { mailbox: Arc::clone(&mailbox), epoch, used_ms, misplaced_since_ms: None };
        let replaced = seats.insert(tenant.to_owned(), seat);
        drop(seats);
        if let Some(replaced) = replaced {
            (replaced.mailbox)(OwnerMessage::Resign);
        }
        tracing::info!(tenant, epoch, "owning a tenant");
        Some(mailbox)
    }

    fn host(&self, shell: OwnerShell) -> Mailbox {
        match &self.shared.host {
            OwnerHost::Actors(supervisor) => {
                let supervisor = supervisor.get_cell();
                let spawned =
                    ActorRuntime::spawn_linked_instant(None, OwnerActor, shell, supervisor);
                match spawned {
                    Ok((actor, _task)) => mailbox(&actor),
                    Err(error) => {
                        tracing::error!(%error, "a tenant's owner did not start");
                        Arc::new(|_| false)
                    }
                }
            }
            OwnerHost::Tasks => {
                let (sender, inbox) = mpsc::unbounded_channel();
                let mailbox: Mailbox = Arc::new(move |message| sender.send(message).is_ok());
                let own = Arc::clone(&mailbox);
                self.shared.caller.runtime().spawn(run_as_task(shell, inbox, own));
                mailbox
            }
        }
    }

    /// The lease is gone: the owner answers nobody any more.
    fn lose(&self, key: &[u8], epoch: u64) {
        let Some(tenant) = key.strip_prefix(b"tenant/") else { return };
        let tenant = String::from_utf8_lossy(tenant).into_owned();
        let mut seats = self.lock();
        if seats.get(&tenant).is_some_and(|seat| seat.epoch == epoch)
            && let Some(seat) = seats.remove(&tenant)
        {
            drop(seats);
            tracing::info!(tenant, epoch, "no longer owning a tenant");
            (seat.mailbox)(OwnerMessage::Resign);
        }
    }

    /// Lets idle tenants go and moves misplaced ones, until the node ends.
    pub async fn run(self) {
        loop {
            self.shared.caller.runtime().pause(LOOK_MS).await;
            let now_ms = self.shared.caller.runtime().now_ms();
            for (tenant, _) in self.tenants() {
                let key = tenant_key(&tenant);
                if self.is_idle(&tenant, now_ms) {
                    self.shared.leases.release(&key);
                } else if let Some(heir) = self.better_place(&tenant, &key, now_ms) {
                    self.move_to(&tenant, &key, heir).await;
                }
            }
        }
    }

    fn is_idle(&self, tenant: &str, now_ms: u64) -> bool {
        let idle_ms = self.shared.settings.idle_ms;
        self.lock().get(tenant).is_some_and(|seat| now_ms.saturating_sub(seat.used_ms) >= idle_ms)
    }

    /// The node that should own the tenant, once that has been so for long enough.
    fn better_place(&self, tenant: &str, key: &[u8], now_ms: u64) -> Option<Claimant> {
        let best = self.shared.members.candidates(key, 1).pop()?;
        let here = best == *self.shared.caller.node();
        let mut seats = self.lock();
        let seat = seats.get_mut(tenant)?;
        if here {
            seat.misplaced_since_ms = None;
            return None;
        }
        let since_ms = *seat.misplaced_since_ms.get_or_insert(now_ms);
        drop(seats);
        let long = now_ms.saturating_sub(since_ms) >= self.shared.settings.rebalance_ms;
        if long { self.claimant(&best) } else { None }
    }

    fn claimant(&self, node: &NodeId) -> Option<Claimant> {
        let view = self.shared.members.view();
        let member = view.into_iter().find(|seen| seen.member.node == *node)?.member;
        Some(Claimant { node: member.node, incarnation: member.incarnation })
    }

    async fn move_to(&self, tenant: &str, key: &[u8], heir: Claimant) {
        let node = heir.node.clone();
        if !self.shared.leases.hand_over(key, heir).await {
            return;
        }
        tracing::info!(tenant, to = %node, "handed a tenant over");
        if let Ok(question) = encode_question(tenant, &Question::Adopt) {
            let Shared { caller, settings, .. } = &*self.shared;
            // Should this be lost, the first edge that asks brings it about.
            let _ = caller.call(&node, Service::Tenancy, question, settings.adopt_ms).await;
        }
    }

    /// Gives every tenant to its next owner: this node leaves. Its row must say that it drains,
    /// so that no tenant comes back.
    pub async fn hand_all_over(&self) {
        let tenants = self.tenants();
        for some in tenants.chunks(HANDOVERS) {
            let ends: Vec<_> = some.iter().map(|(tenant, _)| self.begin_handover(tenant)).collect();
            for end in ends {
                let _ = end.await;
            }
        }
    }

    /// Hands one tenant over in a task of its own; resolves when that has ended.
    fn begin_handover(&self, tenant: &str) -> oneshot::Receiver<()> {
        let (ended, end) = oneshot::channel();
        let (this, tenant) = (self.clone(), tenant.to_owned());
        self.shared.caller.runtime().spawn(async move {
            this.hand_one_over(&tenant).await;
            let _ = ended.send(());
        });
        end
    }

    async fn hand_one_over(&self, tenant: &str) {
        let key = tenant_key(tenant);
        let others = self.shared.members.view().into_iter().filter(|seen| {
            !seen.is_me && seen.is_reachable() && seen.member.state == MemberState::Alive
        });
        let others: Vec<_> = others.map(|seen| seen.member).collect();
        let best = headwater_cluster::candidates(&key, &others, 1).first().copied().cloned();
        match best.and_then(|node| self.claimant(&node)) {
            Some(heir) => self.move_to(tenant, &key, heir).await,
            None => self.shared.leases.release(&key),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Seat>> {
        self.shared.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The inbox is as bounded as the machine's queue behind it: every message is taken at once.
async fn run_as_task(
    mut shell: OwnerShell,
    mut inbox: mpsc::UnboundedReceiver<OwnerMessage>,
    own: Mailbox,
) {
    while let Some(message) = inbox.recv().await {
        if shell.handle(message, &own) == Flow::Stop {
            return;
        }
    }
}
