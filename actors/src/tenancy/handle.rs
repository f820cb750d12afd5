//! The edge's way into quotas: a share is reserved before the work and settled after it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_tenancy::{
    Admission, Amounts, Ask, Books, Clocks, EdgeBook, EdgeEffect, EdgeSettings, EntryId, Limits,
    Operation, Outcome, Refusal, Report, Reservation, Standing, TicketId,
};
use tokio::sync::oneshot;

use super::limited::Limited;
use super::messages::TenancyError;
use super::metrics::TenancyMetrics;
use super::routes::Routes;
use crate::caller::Caller;
use crate::cluster::Members;
use crate::mutants::{Mutant, planted};
use crate::runtime::Runtime;

/// How an edge waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenancySettings {
    pub edge: EdgeSettings,
    /// How long the owner is looked for before it counts as silent, in ms: longer than a lease,
    /// so that the loss of a node is no outage.
    pub patience_ms: u64,
    /// How long a request waits for its share, in ms: longer than the owner is looked for.
    pub wait_ms: u64,
    /// How long an answer waits until its entry is written down, in ms.
    pub written_ms: u64,
}

impl Default for TenancySettings {
    fn default() -> Self {
        TenancySettings {
            edge: EdgeSettings::default(),
            patience_ms: 4_000,
            wait_ms: 6_000,
            written_ms: 2_000,
        }
    }
}

/// What a request that waited in vain is told to wait, in ms.
const RETRY_MS: u64 = 1_000;
/// How often the book looks for what is due, in ms.
const LOOK_MS: u64 = 50;

/// The edge's quotas; cheap to clone.
#[derive(Clone)]
pub struct TenancyHandle {
    shared: Arc<Shared>,
}

struct Shared {
    runtime: Runtime,
    routes: Routes,
    settings: TenancySettings,
    metrics: TenancyMetrics,
    next_ticket: AtomicU64,
    /// Drawn once: the upper half of every id that this edge gives.
    instance: u64,
    next_id: AtomicU64,
    limited: Limited,
    desk: Mutex<Desk>,
}

impl Shared {
    /// An id that no other edge gives. Those of one edge follow each other, so that the ledger
    /// finds the entries of one report by one read.
    fn next_id(&self) -> u128 {
        let number = self.next_id.fetch_add(1, Ordering::Relaxed);
        u128::from(self.instance) << 64 | u128::from(number)
    }
}

struct Desk {
    book: EdgeBook,
    waiting: BTreeMap<TicketId, oneshot::Sender<Result<Reservation, Refusal>>>,
    unwritten: BTreeMap<EntryId, oneshot::Sender<()>>,
}

impl TenancyHandle {
    pub fn new(
        caller: Caller,
        members: Members,
        settings: TenancySettings,
        metrics: TenancyMetrics,
    ) -> TenancyHandle {
        let runtime = caller.runtime().clone();
        let book = EdgeBook::new(caller.node().as_str(), settings.edge);
        let desk = Desk { book, waiting: BTreeMap::new(), unwritten: BTreeMap::new() };
        let instance = runtime.environment().draw();
        let shared = Shared {
            runtime,
            routes: Routes::new(caller, members),
            settings,
            metrics,
            next_ticket: AtomicU64::new(0),
            instance,
            next_id: AtomicU64::new(0),
            limited: Limited::default(),
            desk: Mutex::new(desk),
        };
        TenancyHandle { shared: Arc::new(shared) }
    }

    /// Reserves from one team, project or user.
    pub(super) async fn reserve_from(
        &self,
        tenant: &str,
        model: &str,
        estimate: Amounts,
    ) -> Result<Reservation, Refusal> {
        let Shared { runtime, metrics, next_ticket, .. } = &*self.shared;
        let ticket = TicketId(next_ticket.fetch_add(1, Ordering::Relaxed));
        let (reply, answer) = oneshot::channel();
        let mut effects = Vec::new();
        let admission = {
            let mut desk = self.lock();
            let clocks = self.clocks();
            let mut draw = || self.shared.next_id();
            let admission =
                desk.book.reserve(clocks, tenant, model, estimate, ticket, &mut draw, &mut effects);
            if admission == Admission::Waiting {
                desk.waiting.insert(ticket, reply);
            }
            admission
        };
        let began_ms = runtime.now_ms();
        let outcome = match admission {
            Admission::Reserved(reservation) => Ok(reservation),
            Admission::Refused(refusal) => Err(refusal),
            Admission::Waiting => {
                let mut leave = Leave { handle: self, tenant, model, ticket, answer };
                self.perform(std::mem::take(&mut effects));
                let waited = runtime.within(self.shared.settings.wait_ms, &mut leave.answer).await;
                metrics.waited_ms(runtime.now_ms().saturating_sub(began_ms));
                match waited {
                    Some(Ok(outcome)) => outcome,
                    Some(Err(_)) => Err(Refusal::Unanswered { retry_after_ms: RETRY_MS }),
                    // Others of its tenant wait before it, and the owner gives out little at a
                    // time.
                    None => Err(Refusal::Overloaded { retry_after_ms: RETRY_MS }),
                }
            }
        };
        self.perform(effects);
        outcome
    }

    /// Replaces a tenant's limits; edges follow as their allowances run out.
    ///
    /// # Errors
    /// [`TenancyError`]; after it the limits may have changed.
    pub async fn set_limits(&self, tenant: &str, limits: Limits) -> Result<u64, TenancyError> {
        match self.ask(tenant, Operation::SetLimits(limits)).await? {
            Outcome::LimitsSet { revision } => Ok(revision),
            _ => Err(TenancyError::StoreDown),
        }
    }

    /// A tenant's limits, and what was handed out of each in its window.
    ///
    /// # Errors
    /// [`TenancyError`].
    pub async fn look(&self, tenant: &str) -> Result<Books, TenancyError> {
        match self.ask(tenant, Operation::Look).await? {
            Outcome::Looked(books) => Ok(books),
            _ => Err(TenancyError::StoreDown),
        }
    }

    /// Gives allowances back and waits until every entry is written down, at most so long.
    /// False when entries are left.
    pub async fn drain(&self, most_ms: u64) -> bool {
        let runtime = &self.shared.runtime;
        let deadline_ms = runtime.now_ms().saturating_add(most_ms);
        loop {
            let mut effects = Vec::new();
            let told = {
                let mut desk = self.lock();
                desk.book.retire_all(runtime.now_ms(), &mut effects);
                desk.book.is_told() || planted(Mutant::DrainDoesNotWait)
            };
            self.perform(effects);
            if told || runtime.now_ms() >= deadline_ms {
                return told;
            }
            runtime.pause(LOOK_MS).await;
        }
    }

    /// Does what is due by itself until the node ends.
    pub async fn run(self) {
        loop {
            let Shared { runtime, metrics, .. } = &*self.shared;
            let mut effects = Vec::new();
            {
                let mut desk = self.lock();
                let mut draw = || self.shared.next_id();
                desk.book.wake(self.clocks(), &mut draw, &mut effects);
                metrics.unwritten(desk.book.unwritten());
            }
            self.perform(effects);
            runtime.pause(LOOK_MS).await;
        }
    }

    async fn ask(&self, tenant: &str, operation: Operation) -> Result<Outcome, TenancyError> {
        let Shared { routes, settings, .. } = &*self.shared;
        routes.ask(tenant, operation, settings.patience_ms).await
    }

    /// Settles with what was used; resolves when it is written down. None in an outage.
    pub(super) fn charge(
        &self,
        reservation: &Reservation,
        used: Amounts,
    ) -> Option<oneshot::Receiver<()>> {
        let (reply, written) = oneshot::channel();
        let mut effects = Vec::new();
        {
            let mut desk = self.lock();
            if !reservation.is_unverified() {
                desk.unwritten.insert(reservation.entry, reply);
            }
            desk.book.settle(self.clocks(), reservation, Some(used), &mut effects);
        }
        self.perform(effects);
        (!reservation.is_unverified()).then_some(written)
    }

    /// Waits until all these entries are written down, at most `written_ms`.
    pub(super) async fn wait_until_written(&self, unwritten: Vec<oneshot::Receiver<()>>) {
        let Shared { runtime, settings, .. } = &*self.shared;
        let all = async {
            for written in unwritten {
                let _ = written.await;
            }
        };
        let _ = runtime.within(settings.written_ms, all).await;
    }

    pub(super) fn standing(&self, tenant: &str, model: &str) -> Vec<Standing> {
        let now_ms = self.shared.runtime.now_ms();
        self.lock().book.standing(now_ms, tenant, model)
    }

    pub(super) fn refund(&self, reservation: &Reservation) {
        let mut effects = Vec::new();
        self.lock().book.settle(self.clocks(), reservation, None, &mut effects);
        self.perform(effects);
    }

    /// Shares under allowances that are neither settled nor given back.
    pub fn open(&self) -> usize {
        self.lock().book.open()
    }

    pub(super) fn runtime(&self) -> &Runtime {
        &self.shared.runtime
    }

    pub(super) fn metrics(&self) -> &TenancyMetrics {
        &self.shared.metrics
    }

    pub(super) fn limited(&self) -> &Limited {
        &self.shared.limited
    }

    fn clocks(&self) -> Clocks {
        let runtime = &self.shared.runtime;
        Clocks { now_ms: runtime.now_ms(), wall_ms: runtime.wall_ms() }
    }

    fn perform(&self, effects: Vec<EdgeEffect>) {
        for effect in effects {
            match effect {
                EdgeEffect::Ask { tenant, ask } => self.send_ask(tenant, ask),
                EdgeEffect::Report { tenant, report } => self.send_report(tenant, report),
                EdgeEffect::Admit { ticket, reservation } => self.tell(ticket, Ok(reservation)),
                EdgeEffect::Refuse { ticket, refusal } => self.tell(ticket, Err(refusal)),
                EdgeEffect::Written { entries } => {
                    let mut desk = self.lock();
                    for entry in entries {
                        if let Some(reply) = desk.unwritten.remove(&entry) {
                            let _ = reply.send(());
                        }
                    }
                }
                EdgeEffect::Outage { tenant, model, began } => {
                    self.shared.metrics.outage(began);
                    match began {
                        true => tracing::error!(
                            alert = "quota_outage",
                            tenant,
                            model,
                            "the tenant's owner is silent; admitting a bounded amount unverified"
                        ),
                        false => tracing::warn!(tenant, model, "the tenant's owner answers again"),
                    }
                }
            }
        }
    }

    /// A request that was admitted as it left gets its share back.
    fn tell(&self, ticket: TicketId, outcome: Result<Reservation, Refusal>) {
        let reply = self.lock().waiting.remove(&ticket);
        let unheard = match reply {
            Some(reply) => reply.send(outcome).err(),
            None => Some(outcome),
        };
        if let Some(Ok(reservation)) = unheard {
            self.refund(&reservation);
        }
    }

    fn send_ask(&self, tenant: String, ask: Ask) {
        let this = self.clone();
        self.shared.runtime.spawn(async move {
            let outcome = this.ask(&tenant, Operation::Ask(ask.clone())).await;
            let (answer, counted) = match outcome {
                Ok(Outcome::Granted(allowance)) => (Some(Ok(allowance)), "granted"),
                Ok(Outcome::Exhausted(exhausted)) => (Some(Err(exhausted)), "used_up"),
                _ => (None, "unanswered"),
            };
            this.shared.metrics.ask(counted);
            let mut effects = Vec::new();
            {
                let mut draw = || this.shared.next_id();
                let (clocks, mut desk) = (this.clocks(), this.lock());
                desk.book.answered(clocks, &tenant, &ask, answer, &mut draw, &mut effects);
            }
            this.perform(effects);
        });
    }

    fn send_report(&self, tenant: String, report: Report) {
        let this = self.clone();
        self.shared.runtime.spawn(async move {
            let number = report.number;
            let outcome = this.ask(&tenant, Operation::Report(report)).await;
            let written = matches!(outcome, Ok(Outcome::Written));
            let mut effects = Vec::new();
            let now_ms = this.shared.runtime.now_ms();
            this.lock().book.reported(now_ms, &tenant, number, written, &mut effects);
            this.perform(effects);
        });
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.shared.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a request out of the waiting ones when its caller goes away. What it was admitted to in
/// that very moment, and never looked at, is given back.
struct Leave<'a> {
    handle: &'a TenancyHandle,
    tenant: &'a str,
    model: &'a str,
    ticket: TicketId,
    answer: oneshot::Receiver<Result<Reservation, Refusal>>,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.answer.close();
        if let Ok(Ok(reservation)) = self.answer.try_recv() {
            self.handle.refund(&reservation);
        }
        let mut desk = self.handle.lock();
        desk.waiting.remove(&self.ticket);
        desk.book.give_up(self.tenant, self.model, self.ticket);
    }
}
