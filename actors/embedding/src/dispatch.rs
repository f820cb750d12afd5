//! The state of one served model: its queue, its replicas, its open requests.
//!
//! Every event returns the effects that follow from it. The rules:
//! an item is in exactly one place (waiting, running, done) until its request ends;
//! a request ends exactly once, by [`Effect::Complete`], [`Effect::Fail`] or `cancel`;
//! an item that loses its replica is tried once more, then its request fails;
//! a batch of several requests that the encoder refuses is tried again request by request,
//! so that only the one at fault fails.

use std::collections::BTreeMap;

use crate::effects::{BatchId, Effect, Failure, ItemId, ReplicaIndex, RequestId};
use crate::queue::{Item, Queue};
use crate::settings::BatchSettings;

/// How often an item may lose its replica and still be tried again.
const RETRIES: u32 = 1;
/// The pause before a restart grows by doubling, this many times at most (to 64 times).
const RESTART_DOUBLINGS: u32 = 6;

#[derive(Debug)]
enum Replica {
    /// Being started, or waiting to be.
    Starting,
    Idle,
    Running {
        batch: BatchId,
        items: Vec<Item>,
        deadline_ms: u64,
    },
}

#[derive(Debug)]
struct Slot {
    replica: Replica,
    /// Losses since the last finished batch.
    losses_in_a_row: u32,
}

#[derive(Debug)]
struct Request {
    /// Items without a vector yet.
    open_items: usize,
}

/// One model's dispatcher. See the module's rules.
#[derive(Debug)]
pub struct Dispatcher {
    settings: BatchSettings,
    queue: Queue,
    slots: Vec<Slot>,
    requests: BTreeMap<RequestId, Request>,
    next_batch: u64,
}

impl Dispatcher {
    /// A dispatcher over this many replicas, none of which is started yet; the effects
    /// start them.
    pub fn new(settings: BatchSettings, replicas: usize) -> (Self, Vec<Effect>) {
        let slot = || Slot { replica: Replica::Starting, losses_in_a_row: 0 };
        let slots = (0..replicas).map(|_| slot()).collect();
        let starts = (0..replicas)
            .map(|index| Effect::Start { replica: ReplicaIndex(index), after_ms: 0 })
            .collect();
        let queue = Queue::default();
        let requests = BTreeMap::new();
        (Dispatcher { settings, queue, slots, requests, next_batch: 0 }, starts)
    }

    /// The waiting items.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Number of requests that were neither answered nor cancelled.
    pub fn open_requests(&self) -> usize {
        self.requests.len()
    }

    /// Number of replicas that can run or do run a batch.
    pub fn live_replicas(&self) -> usize {
        self.slots.iter().filter(|slot| !matches!(slot.replica, Replica::Starting)).count()
    }

    /// A request came, with the length of each of its texts in tokens.
    pub fn arrive(&mut self, request: RequestId, lengths: &[usize], now_ms: u64) -> Vec<Effect> {
        if lengths.is_empty() {
            return vec![Effect::Complete { request }];
        }
        self.requests.insert(request, Request { open_items: lengths.len() });
        let pace = self.settings.fair_tokens_per_ms.max(1);
        let mut tokens_before = 0usize;
        for (index, tokens) in lengths.iter().enumerate() {
            let order_ms = now_ms + (tokens_before / pace) as u64;
            let id = ItemId { request, index };
            let item = Item {
                id,
                tokens: *tokens,
                arrived_ms: now_ms,
                order_ms,
                losses: 0,
                suspect: false,
            };
            self.queue.push(item);
            tokens_before += tokens;
        }
        self.dispatch(now_ms)
    }

    /// The client left: nothing of it is started any more. What already runs is finished
    /// and thrown away.
    pub fn cancel(&mut self, request: RequestId) {
        if self.requests.remove(&request).is_some() {
            self.queue.remove_request(request);
        }
    }

    /// A replica is loaded and waits for work.
    pub fn ready(&mut self, replica: ReplicaIndex, now_ms: u64) -> Vec<Effect> {
        if let Some(slot) = self.slots.get_mut(replica.0)
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
        let Some(slot) = self.slots.get_mut(replica.0) else { return Vec::new() };
        let Replica::Running { batch: running, items, .. } = &mut slot.replica else {
            return Vec::new();
        };
        if *running != batch {
            return Vec::new();
        }
        let items = std::mem::take(items);
        slot.replica = Replica::Idle;
        slot.losses_in_a_row = 0;
        let mut effects = Vec::new();
        match refusal {
            None => {
                for item in items {
                    self.close_item(item.id.request, &mut effects);
                }
            }
            Some(why) => self.refuse(items, &why, &mut effects),
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
            } else if self.requests.contains_key(&request) {
                item.suspect = true;
                self.queue.push(item);
            }
        }
    }

    /// A replica died. Its items are tried once more; the replica is started again.
    pub fn lose(&mut self, replica: ReplicaIndex, now_ms: u64) -> Vec<Effect> {
        let Some(slot) = self.slots.get_mut(replica.0) else { return Vec::new() };
        let lost = std::mem::replace(&mut slot.replica, Replica::Starting);
        // The first loss after good work restarts at once.
        let after_ms = match slot.losses_in_a_row.checked_sub(1) {
            None => 0,
            Some(doublings) => {
                let times = 1u64 << doublings.min(RESTART_DOUBLINGS);
                self.settings.restart_pause_ms.saturating_mul(times)
            }
        };
        slot.losses_in_a_row = slot.losses_in_a_row.saturating_add(1);
        let mut effects = vec![Effect::Start { replica, after_ms }];
        if let Replica::Running { items, .. } = lost {
            for mut item in items {
                item.losses += 1;
                if !self.requests.contains_key(&item.id.request) {
                    continue;
                }
                if item.losses > RETRIES {
                    self.fail(item.id.request, Failure::ReplicaLost, &mut effects);
                } else {
                    item.suspect = true;
                    self.queue.push(item);
                }
            }
        }
        effects.extend(self.dispatch(now_ms));
        effects
    }

    /// The time asked for by [`Effect::WakeAt`] has come.
    pub fn wake(&mut self, now_ms: u64) -> Vec<Effect> {
        let mut effects: Vec<Effect> = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| {
                matches!(slot.replica, Replica::Running { deadline_ms, .. } if deadline_ms <= now_ms)
            })
            .map(|(index, _)| Effect::Kill { replica: ReplicaIndex(index) })
            .collect();
        effects.extend(self.dispatch(now_ms));
        // The shell keeps only its earliest alarm, so the next deadline is told again.
        effects.extend(self.next_deadline_ms(now_ms).map(|at_ms| Effect::WakeAt { at_ms }));
        effects
    }

    fn next_deadline_ms(&self, now_ms: u64) -> Option<u64> {
        let deadline = |slot: &Slot| match slot.replica {
            Replica::Running { deadline_ms, .. } if deadline_ms > now_ms => Some(deadline_ms),
            _ => None,
        };
        self.slots.iter().filter_map(deadline).min()
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
        if self.requests.remove(&request).is_some() {
            self.queue.remove_request(request);
            effects.push(Effect::Fail { request, failure });
        }
    }

    /// Gives work to idle replicas as long as there is any worth starting.
    fn dispatch(&mut self, now_ms: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(index) = self.idle_slot() {
            let Some(oldest_ms) = self.queue.oldest_ms() else { break };
            let full = self.queue.tokens() >= self.settings.batch_tokens
                || self.queue.len() >= self.settings.batch_rows;
            let patience_ends_ms = oldest_ms + self.settings.batch_wait_ms;
            if !full && now_ms < patience_ends_ms {
                effects.push(Effect::WakeAt { at_ms: patience_ends_ms });
                break;
            }
            let items = self.queue.next_batch(&self.settings);
            let batch = BatchId(self.next_batch);
            self.next_batch += 1;
            let deadline_ms = now_ms + self.settings.batch_timeout_ms;
            let ids = items.iter().map(|item| item.id).collect();
            self.slots[index].replica = Replica::Running { batch, items, deadline_ms };
            effects.push(Effect::Run { replica: ReplicaIndex(index), batch, items: ids });
            effects.push(Effect::WakeAt { at_ms: deadline_ms });
        }
        effects
    }

    fn idle_slot(&self) -> Option<usize> {
        self.slots.iter().position(|slot| matches!(slot.replica, Replica::Idle))
    }
}
