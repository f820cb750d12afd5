//! Clients in a node's process: each reserves a share, works, and settles, or leaves before.

use headwater_actors::tenancy::{Payer, Refusal, Share};
use headwater_tenancy::Amounts;

use super::diary::{Diary, Request, Unverified};
use super::node::{Cluster, Life, Place};
use super::receiver::{Receiver, holds_slots};
use super::witness::Books;
use crate::world::World;

/// Models that tenants ask for.
pub(super) const MODELS: [&str; 2] = ["small", "large"];
/// Parts of every team; some have limits.
const PROJECTS: [&str; 2] = ["search", "ads"];
const USERS: [&str; 2] = ["ann", "bob"];

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
            let teams: Vec<_> = options.teams().collect();
            let team = teams[self.world.between(0, teams.len() as u64 - 1) as usize];
            if team.limits.is_empty() || self.books.are_limits_set(&team.name) {
                let (project, user) = (self.any(PROJECTS), self.any(USERS));
                self.ask_for_share(&life, Payer { team: &team.name, project, user }).await;
            }
        }
    }

    fn any(&self, among: [&'static str; 2]) -> Option<&'static str> {
        self.world.percent(60).then(|| among[self.world.between(0, 1) as usize])
    }

    async fn ask_for_share(&self, life: &Life, payer: Payer<'_>) {
        let world = &self.world;
        let model = MODELS[world.between(0, 1) as usize];
        let tag = self.diary.begins(life.number);
        let tokens = world.between(1, if world.percent(10) { 120 } else { 40 });
        let estimate = Amounts { requests: 1, tokens, micro_usd: tag };
        let began_ms = world.now_ms();
        let reserving = life.handle.reserve(payer, model, estimate);
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
                self.admit(life, model, tag, began_ms, estimate, &share);
                self.work(life, tag, estimate, share).await;
            }
            Some(Err(refusal)) => self.refuse(life, payer.team, tag, &refusal).await,
            None => {}
        }
    }

    /// Notes an admission at its instant, and holds it against the rules for an outage.
    pub(super) fn admit(
        &self,
        life: &Life,
        model: &str,
        tag: u64,
        began_ms: u64,
        estimate: Amounts,
        share: &Share,
    ) {
        let now_ms = self.world.now_ms();
        let payers: Vec<(&str, bool)> = share.payers().collect();
        self.world.note(format_args!("{} admits {tag} {model} of {payers:?}", life.number));
        let unverified = share.is_unverified();
        self.world.count(if unverified { "admitted in an outage" } else { "admitted" });
        for (place, (tenant, unverified)) in payers.iter().copied().enumerate() {
            // What was reserved from those before may be older, by what the last one took.
            let is_last = place + 1 == payers.len();
            if place > 0 {
                self.world.count("a project or user paid");
            }
            if unverified && is_last {
                self.diary.unverified(&Unverified {
                    life: life.number,
                    tenant,
                    model,
                    estimate,
                    wall_ms: life.place.wall_ms(&self.world),
                    answers: life.answers(),
                    budget: self.books.outage_budget(tenant, model),
                    outage_ms: self.cluster.options.tenancy.edge.outage_ms,
                });
            }
            let admitted_ms = if is_last { now_ms } else { began_ms };
            let (tenant, life, used) = (tenant.to_owned(), life.number, None);
            let request = Request { tenant, life, admitted_ms, unverified, estimate, used };
            self.diary.admitted(tag, request);
        }
    }

    async fn work(&self, life: &Life, tag: u64, estimate: Amounts, share: Share) {
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
        self.settle(life, tag, used, share).await;
    }

    /// Settles, and expects the entry in the ledger if the edge says that it is.
    pub(super) async fn settle(&self, life: &Life, tag: u64, used: Amounts, share: Share) {
        let payers: Vec<String> = share.payers().map(|(name, _)| name.to_owned()).collect();
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
        for payer in payers.iter().filter(|payer| !self.books.has(payer, tag)) {
            let seen = format!("{} said so of {tag} of {payer} after {took_ms} ms", life.number);
            self.world.violated("an_acknowledged_entry_is_in_the_ledger", seen);
        }
    }

    async fn refuse(&self, life: &Life, tenant: &str, tag: u64, refusal: &Refusal) {
        if let Refusal::UsedUp { tenant: of, .. } = refusal
            && of != tenant
        {
            self.world.count("a limit of a project or user used up");
        }
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
