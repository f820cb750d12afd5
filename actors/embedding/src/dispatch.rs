//! The state of one served model: its queue, its replicas, its open requests.
//!
//! Every event returns the effects that follow from it. The rules:
//! an item is in exactly one place (waiting, running, done) until its request ends;
//! a request ends exactly once, by [`Effect::Complete`], [`Effect::Fail`] or `cancel`;
//! an item that loses its replica is tried once more, then its request fails;
//! a batch of several requests that the encoder refuses is tried again request by request,
//! so that only the one at fault fails;
//! a batch holds items of one pool, and borrowed ingest starts when no query waits and while
//! the reserved replicas stay free of it.

use std::collections::BTreeMap;

use crate::effects::{BatchId, Effect, Failure, ItemId, ReplicaIndex, RequestId};
use crate::mutants::{Mutant, planted};
use crate::pool::Pool;
use crate::queue::{Item, Queue};
use crate::settings::PoolPlan;
use crate::slots::{Replica, Slots};

/// How often an item may lose its replica and still be tried again.
const RETRIES: u32 = 1;
/// The pause before a restart grows by doubling, this many times at most (to 64 times).
const RESTART_DOUBLINGS: u32 = 6;

#[derive(Debug)]
struct Request {
    pool: Pool,
    /// Items without a vector yet.
    open_items: usize,
}

/// One model's dispatcher. See the module's rules.
#[derive(Debug)]
pub struct Dispatcher {
    plan: PoolPlan,
    /// By [`Pool::index`].
    queues: [Queue; 2],
    slots: Slots,
    requests: BTreeMap<RequestId, Request>,
    next_batch: u64,
}

impl Dispatcher {
    /// A dispatcher over the plan's replicas, none of which is started yet; the effects start
    /// them. The query pool's have the first slots.
    pub fn new(plan: PoolPlan) -> (Self, Vec<Effect>) {
        let mut slots = Slots::default();
        let mut starts = slots.resize(Pool::Query, plan.replicas);
        starts.extend(slots.resize(Pool::Ingest, plan.ingest_replicas));
        let (queues, requests) = (Default::default(), BTreeMap::new());
        (Dispatcher { plan, queues, slots, requests, next_batch: 0 }, starts)
    }

    /// The waiting items of a pool.
    pub fn queue(&self, pool: Pool) -> &Queue {
        &self.queues[pool.index()]
    }

    /// Number of requests that were neither answered nor cancelled.
    pub fn open_requests(&self) -> usize {
        self.requests.len()
    }

    /// Number of this pool's replicas that can run or do run a batch.
    pub fn live_replicas(&self, pool: Pool) -> usize {
        self.slots.live(pool)
    }

    /// Number of this pool's replicas that shall exist.
    pub fn wanted_replicas(&self, pool: Pool) -> usize {
        self.slots.wanted(pool)
    }

    /// Number of replicas, of whichever pool, that run a batch of this one.
    pub fn running(&self, pool: Pool) -> usize {
        self.slots.running(pool)
    }

    /// The pool that this replica belongs to.
    pub fn home(&self, replica: ReplicaIndex) -> Option<Pool> {
        self.slots.get(replica).map(|slot| slot.home)
    }

    /// The pool that this replica belongs to, while the slot waits for a replica to be started.
    pub fn starting(&self, replica: ReplicaIndex) -> Option<Pool> {
        let slot = self.slots.get(replica)?;
        matches!(slot.replica, Replica::Starting).then_some(slot.home)
    }

    /// Brings a pool to this many replicas, at least one. Ingest that borrows has none of its own
    /// and keeps to that.
    pub fn resize(&mut self, pool: Pool, replicas: usize, now_ms: u64) -> Vec<Effect> {
        if pool == Pool::Ingest && self.plan.lends() {
            return Vec::new();
        }
        let mut effects = self.slots.resize(pool, replicas.max(1));
        effects.extend(self.dispatch(now_ms));
        effects
    }

    /// A request came, with the length of each of its texts in tokens.
    pub fn arrive(
        &mut self,
        request: RequestId,
        pool: Pool,
        lengths: &[usize],
        now_ms: u64,
    ) -> Vec<Effect> {
        if lengths.is_empty() {
            return vec![Effect::Complete { request }];
        }
        self.requests.insert(request, Request { pool, open_items: lengths.len() });
        let pace = self.plan.batch(pool).fair_tokens_per_ms.max(1);
        let mut tokens_before = 0usize;
        for (index, tokens) in lengths.iter().enumerate() {
            let item = Item {
                id: ItemId { request, index },
                tokens: *tokens,
                arrived_ms: now_ms,
                order_ms: now_ms + (tokens_before / pace) as u64,
                losses: 0,
                suspect: false,
            };
            self.queues[pool.index()].push(item);
            tokens_before += tokens;
        }
        self.dispatch(now_ms)
    }

    /// The client left: nothing of it is started any more. What already runs is finished
    /// and thrown away.
    pub fn cancel(&mut self, request: RequestId, now_ms: u64) -> Vec<Effect> {
        let Some(Request { pool, .. }) = self.requests.remove(&request) else { return Vec::new() };
        self.queues[pool.index()].remove_request(request);
        // A query that waited for company no longer keeps its replica from ingest.
        self.dispatch(now_ms)
    }

    /// A replica is loaded and waits for work.
    pub fn ready(&mut self, replica: ReplicaIndex, now_ms: u64) -> Vec<Effect> {
        if let Some(slot) = self.slots.get_mut(replica)
            && matches!(slot.replica, Replica::Starting)
        {
            slot.replica = Replica::Idle;
        }
        self.dispatch(now_ms)
    }

    /// A batch ended on its replica, with its vectors or with the encoder's refusal.
    /// An answer for a batch that was given up is ignored.
    pub fn finish(
        &mut self,
        replica: ReplicaIndex,
        batch: BatchId,
        refusal: Option<String>,
        now_ms: u64,
    ) -> Vec<Effect> {
        let Some(slot) = self.slots.get_mut(replica) else { return Vec::new() };
        let Replica::Running { batch: running, items, .. } = &mut slot.replica else {
            return Vec::new();
        };
        if *running != batch {
            return Vec::new();
        }
        let items = std::mem::take(items);
        slot.losses_in_a_row = 0;
        let mut effects = Vec::new();
        if std::mem::take(&mut slot.retiring) {
            slot.replica = Replica::Stopped;
            effects.push(Effect::Stop { replica });
        } else {
            slot.replica = Replica::Idle;
        }
        match refusal {
            None => {
                for item in items {
                    self.close_item(item.id.request, &mut effects);
                }
            }
            Some(why) => self.refuse(items, &why, &mut effects),
        }
        if planted(Mutant::IngestForgotten) {
            self.dispatch_pool(Pool::Query, now_ms, &mut effects);
            return effects;
        }
        effects.extend(self.dispatch(now_ms));
        effects
    }

    /// The encoder does not say which row it refused. A batch of one request fails that
    /// request; a batch of several is tried again request by request.
    fn refuse(&mut self, items: Vec<Item>, why: &str, effects: &mut Vec<Effect>) {
        let shared = items.windows(2).any(|pair| pair[0].id.request != pair[1].id.request);
        for mut item in items {
            let request = item.id.request;
            if !shared {
                self.fail(request, Failure::Refused(why.to_owned()), effects);
            } else if let Some(Request { pool, .. }) = self.requests.get(&request) {
                item.suspect = true;
                self.queues[pool.index()].push(item);
            }
        }
    }

    /// A replica died. Its items are tried once more; the replica is started again, if it is
    /// still wanted.
    pub fn lose(&mut self, replica: ReplicaIndex, now_ms: u64) -> Vec<Effect> {
        let Some(slot) = self.slots.get_mut(replica) else { return Vec::new() };
        if matches!(slot.replica, Replica::Stopped) {
            return Vec::new();
        }
        let lost = std::mem::replace(&mut slot.replica, Replica::Starting);
        let mut effects = Vec::new();
        if std::mem::take(&mut slot.retiring) {
            slot.replica = Replica::Stopped;
        } else {
            // The first loss after good work restarts at once.
            let after_ms = match slot.losses_in_a_row.checked_sub(1) {
                None => 0,
                Some(doublings) => {
                    let times = 1u64 << doublings.min(RESTART_DOUBLINGS);
                    self.plan.batch(slot.home).restart_pause_ms.saturating_mul(times)
                }
            };
            slot.losses_in_a_row = slot.losses_in_a_row.saturating_add(1);
            effects.push(Effect::Start { replica, after_ms });
        }
        if let Replica::Running { items, pool, .. } = lost {
            for mut item in items {
                item.losses += 1;
                if !self.requests.contains_key(&item.id.request) {
                    continue;
                }
                if item.losses > RETRIES {
                    self.fail(item.id.request, Failure::ReplicaLost, &mut effects);
                } else {
                    item.suspect = true;
                    self.queues[pool.index()].push(item);
                }
            }
        }
        effects.extend(self.dispatch(now_ms));
        effects
    }

    /// The time asked for by [`Effect::WakeAt`] has come.
    pub fn wake(&mut self, now_ms: u64) -> Vec<Effect> {
        let overdue = self.slots.iter().filter(|(_, slot)| {
            matches!(slot.replica, Replica::Running { deadline_ms, .. } if deadline_ms <= now_ms)
        });
        let mut effects: Vec<Effect> =
            overdue.map(|(replica, _)| Effect::Kill { replica }).collect();
        effects.extend(self.dispatch(now_ms));
        // The shell keeps only its earliest alarm, so the next deadline is told again.
        effects.extend(self.next_deadline_ms(now_ms).map(|at_ms| Effect::WakeAt { at_ms }));
        effects
    }

    fn next_deadline_ms(&self, now_ms: u64) -> Option<u64> {
        let deadlines = self.slots.iter().filter_map(|(_, slot)| match slot.replica {
            Replica::Running { deadline_ms, .. } if deadline_ms > now_ms => Some(deadline_ms),
            _ => None,
        });
        deadlines.min()
    }

    fn close_item(&mut self, request: RequestId, effects: &mut Vec<Effect>) {
        let Some(open) = self.requests.get_mut(&request) else { return };
        open.open_items -= 1;
        if open.open_items == 0 {
            self.requests.remove(&request);
            effects.push(Effect::Complete { request });
        }
    }

    fn fail(&mut self, request: RequestId, failure: Failure, effects: &mut Vec<Effect>) {
        if let Some(Request { pool, .. }) = self.requests.remove(&request) {
            self.queues[pool.index()].remove_request(request);
            effects.push(Effect::Fail { request, failure });
        }
    }

    /// Gives work to idle replicas as long as there is any worth starting, queries first.
    fn dispatch(&mut self, now_ms: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        for pool in Pool::ALL {
            self.dispatch_pool(pool, now_ms, &mut effects);
        }
        effects
    }

    fn dispatch_pool(&mut self, pool: Pool, now_ms: u64, effects: &mut Vec<Effect>) {
        while let Some(replica) = self.free_replica(pool) {
            let settings = self.plan.batch(pool);
            let queue = &mut self.queues[pool.index()];
            let Some(oldest_ms) = queue.oldest_ms() else { break };
            let full =
                queue.tokens() >= settings.batch_tokens || queue.len() >= settings.batch_rows;
            let patience_ends_ms = oldest_ms + settings.batch_wait_ms;
            if !full && now_ms < patience_ends_ms {
                effects.push(Effect::WakeAt { at_ms: patience_ends_ms });
                break;
            }
            let items = queue.next_batch(settings);
            let batch = BatchId(self.next_batch);
            self.next_batch += 1;
            let deadline_ms = now_ms + settings.batch_timeout_ms;
            let ids = items.iter().map(|item| item.id).collect();
            if let Some(slot) = self.slots.get_mut(replica) {
                slot.replica = Replica::Running { batch, pool, items, deadline_ms };
            }
            effects.push(Effect::Run { replica, batch, pool, items: ids });
            effects.push(Effect::WakeAt { at_ms: deadline_ms });
        }
    }

    /// The replica that takes this pool's next batch. Ingest without replicas of its own borrows
    /// one of the query pool when no query waits and the reserved ones stay free of it.
    fn free_replica(&self, pool: Pool) -> Option<ReplicaIndex> {
        if pool == Pool::Query || !self.plan.lends() {
            return self.slots.idle(pool);
        }
        let query_waits = !self.queue(Pool::Query).is_empty();
        if query_waits && !planted(Mutant::IngestOvertakes) {
            return None;
        }
        let wanted = self.slots.wanted(Pool::Query);
        let reserved = self.plan.reserved.min(wanted.saturating_sub(1));
        let free = self.slots.live(Pool::Query).saturating_sub(self.slots.lent());
        if free <= reserved && !planted(Mutant::IngestTakesReserved) {
            return None;
        }
        self.slots.idle(Pool::Query)
    }
}
