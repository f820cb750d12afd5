//! Clients in a node's process: each reserves a share, works, and settles, or leaves before.

use headwater_actors::tenancy::{Refusal, Share};
use headwater_tenancy::Amounts;

use super::diary::{Diary, Request, Unverified};
use super::node::{Cluster, Life, Place};
use super::receiver::{Receiver, holds_slots};
use super::witness::Books;
use crate::world::World;

/// Models that tenants ask for.
pub(super) const MODELS: [&str; 2] = ["small", "large"];

/// What the clients share; cheap to clone.
#[derive(Clone)]
pub(super) struct Crowd {
    pub(super) world: World,
    pub(super) cluster: Cluster,
    pub(super) diary: Diary,
    pub(super) books: Books,
    pub(super) receiver: Receiver,
}

impl Crowd {
    /// Starts a process with its clients.
    pub(super) fn start(&self, place: &Place) {
        let life = self.cluster.start(place);
        for _ in 0..self.cluster.options.clients {
            let (crowd, life) = (self.clone(), life.clone());
            self.world.spawn_in(life.group, async move { crowd.ask_for_shares(life).await });
        }
        for _ in 0..self.cluster.options.slot_holders {
            let (crowd, life) = (self.clone(), life.clone());
            self.world.spawn_in(life.group, async move { holds_slots(crowd, life).await });
        }
    }

    async fn ask_for_shares(self, life: Life) {
        let options = &self.cluster.options;
        loop {
            let (least_ms, most_ms) = options.pause_ms;
            self.world.sleep(self.world.between(least_ms, most_ms)).await;
            if self.world.now_ms() >= options.stop_ms || life.is_leaving() {
                return;
            }
            let place = self.world.between(0, options.tenants.len() as u64 - 1) as usize;
            let tenant = &options.tenants[place];
            if tenant.limits.is_empty() || self.books.are_limits_set(&tenant.name) {
                self.ask_for_share(&life, &tenant.name).await;
            }
        }
    }

    async fn ask_for_share(&self, life: &Life, tenant: &str) {
        let world = &self.world;
        let model = MODELS[world.between(0, 1) as usize];
        let tag = self.diary.begins(life.number);
        let tokens = world.between(1, if world.percent(10) { 120 } else { 40 });
        let estimate = Amounts { requests: 1, tokens, micro_usd: tag };
        let reserving = life.handle.reserve(tenant, model, estimate);
        let outcome = if world.percent(5) {
            let outcome = world.within(world.between(0, 300), reserving).await;
            if outcome.is_none() {
                world.count("client left while waiting");
            }
            outcome
        } else {
            Some(reserving.await)
        };
        self.diary.ends(tag);
        match outcome {
            Some(Ok(share)) => {
                self.admit(life, tenant, model, tag, estimate, &share);
                self.work(life, tenant, tag, estimate, share).await;
            }
            Some(Err(refusal)) => self.refuse(life, tenant, tag, &refusal).await,
            None => {}
        }
    }

    /// Notes an admission at its instant, and holds it against the rules for an outage.
    pub(super) fn admit(
        &self,
        life: &Life,
        tenant: &str,
        model: &str,
        tag: u64,
        estimate: Amounts,
        share: &Share,
    ) {
        let unverified = share.is_unverified();
        let admitted_ms = self.world.now_ms();
        self.world.note(format_args!(
            "{} admits {tag} of {tenant} {model}{}",
            life.number,
            if unverified { " unverified" } else { "" }
        ));
        self.world.count(if unverified { "admitted in an outage" } else { "admitted" });
        let tenant = tenant.to_owned();
        if unverified {
            self.diary.unverified(&Unverified {
                life: life.number,
                tenant: &tenant,
                model,
                estimate,
                wall_ms: life.place.wall_ms(&self.world),
                answers: life.answers(),
                budget: self.books.outage_budget(&tenant, model),
                outage_ms: self.cluster.options.tenancy.edge.outage_ms,
            });
        }
        let (life, used) = (life.number, None);
        let request = Request { tenant, life, admitted_ms, unverified, estimate, used };
        self.diary.admitted(tag, request);
    }

    async fn work(&self, life: &Life, tenant: &str, tag: u64, estimate: Amounts, share: Share) {
        let world = &self.world;
        let longest_ms = match world.between(0, 9) {
            0 => 8_000,
            1 | 2 => 3_000,
            _ => 300,
        };
        world.sleep(world.between(1, longest_ms)).await;
        if world.percent(8) {
            world.count("share given back unused");
            return;
        }
        let tokens = match world.between(0, 9) {
            0 | 1 => estimate.tokens,
            2 | 3 => estimate.tokens + world.between(1, 2 * estimate.tokens),
            _ => world.between(0, estimate.tokens),
        };
        let used = Amounts { tokens, ..estimate };
        self.settle(life, tenant, tag, used, share).await;
    }

    /// Settles, and expects the entry in the ledger if the edge says that it is.
    pub(super) async fn settle(
        &self,
        life: &Life,
        tenant: &str,
        tag: u64,
        used: Amounts,
        share: Share,
    ) {
        let unverified = share.is_unverified();
        let began_ms = self.world.now_ms();
        self.diary.settles(tag, used);
        share.settle(used).await;
        let took_ms = self.world.now_ms() - began_ms;
        if unverified || took_ms >= self.cluster.options.tenancy.written_ms {
            self.world.count("settled without a word");
            return;
        }
        self.world.count("settled and written");
        if !self.books.has(tenant, tag) {
            let seen = format!("{} said so of request {tag} after {took_ms} ms", life.number);
            self.world.violated("an_acknowledged_entry_is_in_the_ledger", seen);
        }
    }

    async fn refuse(&self, life: &Life, tenant: &str, tag: u64, refusal: &Refusal) {
        let (what, retry_after_ms) = match refusal {
            Refusal::UsedUp { retry_after_ms, .. } => ("used up", *retry_after_ms),
            Refusal::Unanswered { retry_after_ms } => ("unanswered", *retry_after_ms),
            Refusal::Overloaded { retry_after_ms } => ("overloaded", *retry_after_ms),
        };
        self.world.count(what);
        self.world.note(format_args!("{} refuses {tag} of {tenant}: {what}", life.number));
        // Some obey, some do not.
        let most_ms = if self.world.percent(50) { retry_after_ms.min(5_000) } else { 100 };
        self.world.sleep(most_ms).await;
    }
}
