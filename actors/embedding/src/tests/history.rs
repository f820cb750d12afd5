//! A shell in miniature: it plays a random history against a dispatcher, carries out the
//! effects, keeps accounts of its own and holds every effect against the invariants.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    BatchId, BatchSettings, Dispatcher, Effect, Failure, ItemId, Pool, PoolPlan, ReplicaIndex,
    RequestId,
};

/// One thing that happens. Numbers choose among what exists, modulo its count.
#[derive(Debug, Clone)]
pub(super) enum Event {
    Arrive(Pool, Vec<usize>),
    /// Brings a pool to this many replicas.
    Resize(Pool, usize),
    Cancel(usize),
    Load(usize),
    Finish(usize),
    Refuse(usize),
    Lose(usize),
    /// Answers a batch that was given up long ago.
    LateAnswer(usize),
    Pass(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Waiting,
    Running,
    Done,
}

#[derive(Debug, Clone, Copy)]
struct Text {
    pool: Pool,
    tokens: usize,
    arrived_ms: u64,
    order_ms: u64,
    place: Place,
    losses: u32,
    suspect: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Slot {
    Stopped,
    Starting,
    Idle,
    Running { batch: BatchId, pool: Pool, items: Vec<ItemId>, deadline_ms: u64, killed: bool },
}

pub(super) struct World {
    plan: PoolPlan,
    dispatcher: Dispatcher,
    now_ms: u64,
    alarm_ms: Option<u64>,
    slots: Vec<Slot>,
    /// The pool of each slot.
    homes: Vec<Pool>,
    /// Replicas that each pool shall have.
    wanted: [usize; 2],
    texts: BTreeMap<ItemId, Text>,
    open: BTreeSet<RequestId>,
    requests: u64,
    batches: BTreeSet<BatchId>,
    /// What the event at hand explains.
    may_fail: BTreeMap<RequestId, Failure>,
    pub(super) trace: Vec<Vec<Effect>>,
}

impl World {
    pub(super) fn new(plan: PoolPlan) -> Self {
        let (dispatcher, starts) = Dispatcher::new(plan.clone());
        let wanted = [plan.replicas, plan.ingest_replicas];
        let homes: Vec<Pool> =
            Pool::ALL.into_iter().flat_map(|pool| vec![pool; wanted[pool.index()]]).collect();
        let expected: Vec<Effect> = (0..homes.len())
            .map(|index| Effect::Start { replica: ReplicaIndex(index), after_ms: 0 })
            .collect();
        assert_eq!(starts, expected);
        World {
            plan,
            dispatcher,
            now_ms: 0,
            alarm_ms: None,
            slots: vec![Slot::Starting; homes.len()],
            homes,
            wanted,
            texts: BTreeMap::new(),
            open: BTreeSet::new(),
            requests: 0,
            batches: BTreeSet::new(),
            may_fail: BTreeMap::new(),
            trace: Vec::new(),
        }
    }

    pub(super) fn play(&mut self, event: &Event) {
        self.may_fail.clear();
        match event {
            Event::Arrive(pool, lengths) => self.arrive(*pool, lengths),
            Event::Resize(pool, replicas) => self.resize(*pool, *replicas),
            Event::Cancel(choice) => self.cancel(*choice),
            Event::Load(choice) => {
                if let Some(index) = self.pick(*choice, |slot| *slot == Slot::Starting) {
                    self.slots[index] = Slot::Idle;
                    let effects = self.dispatcher.ready(ReplicaIndex(index), self.now_ms);
                    self.carry_out(effects);
                }
            }
            Event::Finish(choice) => self.end_batch(*choice, None),
            Event::Refuse(choice) => self.end_batch(*choice, Some("bad".to_owned())),
            Event::Lose(choice) => self.lose(*choice),
            Event::LateAnswer(choice) => {
                let index = choice % self.slots.len();
                let stale = BatchId(u64::MAX);
                let effects = self.dispatcher.finish(ReplicaIndex(index), stale, None, self.now_ms);
                assert_eq!(effects, [], "an answer for a batch that was given up is ignored");
            }
            Event::Pass(ms) => self.pass(*ms),
        }
        self.accounts_agree();
        for pool in Pool::ALL {
            self.nothing_waits_beside_an_idle_replica(pool);
        }
        self.every_deadline_is_watched();
    }

    /// Faults stop: replicas load and finish what they run, until nothing happens any
    /// more. Every request that was admitted must have ended by then.
    pub(super) fn settle(&mut self) {
        let rounds = 10 + 4 * self.texts.len();
        for _ in 0..rounds {
            for index in 0..self.slots.len() {
                self.play(&Event::Load(index));
                self.play(&Event::Finish(index));
            }
            let patience_ms = self.plan.query.batch_wait_ms.max(self.plan.ingest.batch_wait_ms);
            self.play(&Event::Pass(patience_ms));
        }
        assert!(self.open.is_empty(), "requests without an end: {:?}", self.open);
        assert!(Pool::ALL.iter().all(|pool| self.dispatcher.queue(*pool).is_empty()));
        assert!(self.texts.values().all(|text| text.place == Place::Done));
    }

    fn pick(&self, choice: usize, wanted: impl Fn(&Slot) -> bool) -> Option<usize> {
        let found: Vec<usize> =
            (0..self.slots.len()).filter(|index| wanted(&self.slots[*index])).collect();
        (!found.is_empty()).then(|| found[choice % found.len()])
    }

    fn resize(&mut self, pool: Pool, replicas: usize) {
        if pool == Pool::Query || !self.plan.lends() {
            self.wanted[pool.index()] = replicas.max(1);
        }
        let effects = self.dispatcher.resize(pool, replicas, self.now_ms);
        for effect in &effects {
            if let Effect::Start { replica, after_ms: 0 } = effect {
                if replica.0 == self.slots.len() {
                    self.slots.push(Slot::Stopped);
                    self.homes.push(pool);
                }
                assert_eq!(self.slots[replica.0], Slot::Stopped, "started twice");
                assert_eq!(self.homes[replica.0], pool, "a slot keeps its pool");
                self.slots[replica.0] = Slot::Starting;
            }
        }
        self.carry_out(effects);
    }

    fn arrive(&mut self, pool: Pool, lengths: &[usize]) {
        let request = RequestId(self.requests);
        self.requests += 1;
        let pace = self.plan.batch(pool).fair_tokens_per_ms;
        let mut before = 0;
        for (index, tokens) in lengths.iter().enumerate() {
            let text = Text {
                pool,
                tokens: *tokens,
                arrived_ms: self.now_ms,
                order_ms: self.now_ms + (before / pace) as u64,
                place: Place::Waiting,
                losses: 0,
                suspect: false,
            };
            self.texts.insert(ItemId { request, index }, text);
            before += tokens;
        }
        self.open.insert(request);
        let effects = self.dispatcher.arrive(request, pool, lengths, self.now_ms);
        self.carry_out(effects);
    }

    fn cancel(&mut self, choice: usize) {
        let Some(request) = self.open.iter().nth(choice % self.open.len().max(1)).copied() else {
            return;
        };
        let effects = self.dispatcher.cancel(request, self.now_ms);
        self.end_request(request);
        self.carry_out(effects);
    }

    fn end_batch(&mut self, choice: usize, refusal: Option<String>) {
        let running = |slot: &Slot| matches!(slot, Slot::Running { .. });
        let Some(index) = self.pick(choice, running) else { return };
        let taken = std::mem::replace(&mut self.slots[index], Slot::Idle);
        let Slot::Running { batch, items, .. } = taken else { return };
        let shared = items.iter().any(|item| item.request != items[0].request);
        for item in &items {
            let open = self.open.contains(&item.request);
            let text = self.texts.get_mut(item).expect("known");
            match &refusal {
                Some(why) if !shared => {
                    self.may_fail.insert(item.request, Failure::Refused(why.clone()));
                    text.place = Place::Done;
                }
                Some(_) if open => {
                    text.place = Place::Waiting;
                    text.suspect = true;
                }
                _ => text.place = Place::Done,
            }
        }
        let effects = self.dispatcher.finish(ReplicaIndex(index), batch, refusal, self.now_ms);
        self.carry_out(effects);
    }

    fn lose(&mut self, choice: usize) {
        let index = choice % self.slots.len();
        if self.slots[index] == Slot::Stopped {
            assert_eq!(self.dispatcher.lose(ReplicaIndex(index), self.now_ms), []);
            return;
        }
        let lost = std::mem::replace(&mut self.slots[index], Slot::Starting);
        if let Slot::Running { items, .. } = lost {
            for item in items {
                let open = self.open.contains(&item.request);
                let text = self.texts.get_mut(&item).expect("known");
                text.losses += 1;
                text.suspect = true;
                text.place = if open { Place::Waiting } else { Place::Done };
                if text.losses > 1 && open {
                    self.may_fail.insert(item.request, Failure::ReplicaLost);
                }
            }
        }
        let effects = self.dispatcher.lose(ReplicaIndex(index), self.now_ms);
        let starts: Vec<_> =
            effects.iter().filter(|effect| matches!(effect, Effect::Start { .. })).collect();
        match starts[..] {
            [Effect::Start { replica, .. }] => assert_eq!(replica.0, index),
            // It was to stop after its batch; the accounts tell whether that is right.
            [] => self.slots[index] = Slot::Stopped,
            _ => panic!("a lost replica is started once: {starts:?}"),
        }
        self.carry_out(effects);
    }

    /// Time passes; the alarm rings when it is due, as the shell's would.
    fn pass(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        let mut rings = 0;
        while let Some(at_ms) = self.alarm_ms.filter(|at_ms| *at_ms <= until_ms) {
            self.now_ms = self.now_ms.max(at_ms);
            self.alarm_ms = None;
            let effects = self.dispatcher.wake(self.now_ms);
            self.carry_out(effects);
            rings += 1;
            assert!(rings < 1000, "the alarm rings for ever at {} ms", self.now_ms);
        }
        self.now_ms = until_ms;
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        self.trace.push(effects.clone());
        for effect in effects {
            match effect {
                Effect::Run { replica, batch, pool, items } => {
                    self.run(replica, batch, pool, items);
                }
                Effect::Stop { replica } => {
                    let stopped = std::mem::replace(&mut self.slots[replica.0], Slot::Stopped);
                    assert!(matches!(stopped, Slot::Starting | Slot::Idle), "{stopped:?} stops");
                }
                Effect::Complete { request } => {
                    let mut texts = self.texts.iter().filter(|(id, _)| id.request == request);
                    assert!(
                        texts.all(|(_, text)| text.place == Place::Done),
                        "{request:?} is complete with a text undone"
                    );
                    self.end_request(request);
                }
                Effect::Fail { request, failure } => {
                    let reason = self.may_fail.get(&request);
                    assert_eq!(reason, Some(&failure), "{request:?} fails without a reason");
                    self.end_request(request);
                }
                Effect::Start { .. } => {}
                Effect::Kill { replica } => match &mut self.slots[replica.0] {
                    Slot::Running { deadline_ms, killed, .. } => {
                        assert!(*deadline_ms <= self.now_ms, "killed before its time");
                        *killed = true;
                    }
                    other => panic!("a kill for a replica that is {other:?}"),
                },
                Effect::WakeAt { at_ms } => {
                    self.alarm_ms = Some(self.alarm_ms.map_or(at_ms, |armed| armed.min(at_ms)));
                }
            }
        }
    }

    fn end_request(&mut self, request: RequestId) {
        assert!(self.open.remove(&request), "{request:?} ends twice");
        for (_, text) in self.texts.iter_mut().filter(|(id, _)| id.request == request) {
            if text.place == Place::Waiting {
                text.place = Place::Done;
            }
        }
    }

    fn run(&mut self, replica: ReplicaIndex, batch: BatchId, pool: Pool, items: Vec<ItemId>) {
        assert_eq!(self.slots[replica.0], Slot::Idle, "a busy replica gets a batch");
        assert!(self.batches.insert(batch), "{batch:?} is used twice");
        let rows: Vec<Text> = items.iter().map(|item| self.texts[item]).collect();
        assert!(rows.iter().all(|row| row.pool == pool), "two pools share a batch: {items:?}");
        if pool != self.homes[replica.0] {
            assert_eq!(pool, Pool::Ingest, "queries borrow no replica");
            assert!(self.may_borrow(), "ingest borrows what it may not");
        }
        let settings = self.plan.batch(pool);
        let BatchSettings { batch_tokens, batch_rows, padding_percent, .. } = *settings;
        let longest = rows.iter().map(|row| row.tokens).max().expect("a batch has rows");
        let shortest = rows.iter().map(|row| row.tokens).min().expect("a batch has rows");
        assert!(rows.len() == 1 || rows.len() * longest <= batch_tokens, "token budget: {items:?}");
        assert!(rows.len() <= batch_rows.max(1), "row cap: {items:?}");
        assert!((longest - shortest) * 100 <= longest * padding_percent, "padding: {items:?}");
        let suspects = rows.iter().filter(|row| row.suspect).count();
        assert!(suspects == 0 || suspects == rows.len(), "suspects share a batch: {items:?}");
        if suspects > 0 {
            let own = items.iter().all(|item| item.request == items[0].request);
            assert!(own, "suspects of two requests share a batch: {items:?}");
        }
        assert_eq!(Some(items[0]), self.first_in_line(pool), "the first in line leads");
        for item in &items {
            assert!(self.open.contains(&item.request), "{item:?} of an ended request runs");
            let text = self.texts.get_mut(item).expect("known");
            assert_eq!(text.place, Place::Waiting, "{item:?} runs and does not wait");
            text.place = Place::Running;
        }
        let deadline_ms = self.now_ms + self.plan.batch(pool).batch_timeout_ms;
        self.slots[replica.0] = Slot::Running { batch, pool, items, deadline_ms, killed: false };
    }

    fn waiting(&self, pool: Pool) -> impl Iterator<Item = (&ItemId, &Text)> {
        let waits = move |text: &Text| text.place == Place::Waiting && text.pool == pool;
        self.texts.iter().filter(move |(_, text)| waits(text))
    }

    /// The slots of a pool.
    fn of(&self, pool: Pool) -> impl Iterator<Item = &Slot> {
        let homes = self.homes.iter().zip(&self.slots);
        homes.filter(move |(home, _)| **home == pool).map(|(_, slot)| slot)
    }

    fn live(&self, pool: Pool) -> usize {
        self.of(pool).filter(|slot| matches!(slot, Slot::Idle | Slot::Running { .. })).count()
    }

    /// Whether one more batch of ingest may run on a replica of the query pool.
    fn may_borrow(&self) -> bool {
        let lent = |slot: &&Slot| matches!(slot, Slot::Running { pool: Pool::Ingest, .. });
        let free = self.live(Pool::Query) - self.of(Pool::Query).filter(lent).count();
        let reserved = self.plan.reserved.min(self.wanted[0] - 1);
        self.plan.lends() && self.waiting(Pool::Query).next().is_none() && free > reserved
    }

    /// Suspects before others, then by place in line.
    fn first_in_line(&self, pool: Pool) -> Option<ItemId> {
        self.waiting(pool)
            .min_by_key(|(id, text)| (!text.suspect, text.order_ms, **id))
            .map(|(id, _)| *id)
    }

    fn accounts_agree(&self) {
        for pool in Pool::ALL {
            let queue = self.dispatcher.queue(pool);
            assert_eq!(queue.len(), self.waiting(pool).count());
            let tokens: usize = self.waiting(pool).map(|(_, text)| text.tokens).sum();
            assert_eq!(queue.tokens(), tokens);
            let oldest_ms = self.waiting(pool).map(|(_, text)| text.arrived_ms).min();
            assert_eq!(queue.oldest_arrival_ms(), oldest_ms);
            assert_eq!(self.dispatcher.live_replicas(pool), self.live(pool));
            assert_eq!(self.dispatcher.wanted_replicas(pool), self.wanted[pool.index()]);
            let runs = |slot: &&Slot| matches!(slot, Slot::Running { pool: of, .. } if *of == pool);
            assert_eq!(self.dispatcher.running(pool), self.slots.iter().filter(runs).count());
        }
        assert_eq!(self.dispatcher.open_requests(), self.open.len());
    }

    fn nothing_waits_beside_an_idle_replica(&self, pool: Pool) {
        let borrows = pool == Pool::Ingest && self.plan.lends();
        let home = if borrows { Pool::Query } else { pool };
        if !self.of(home).any(|slot| *slot == Slot::Idle) || (borrows && !self.may_borrow()) {
            return;
        }
        let Some(first_ms) = self.dispatcher.queue(pool).oldest_ms() else { return };
        let patience_ends_ms = first_ms + self.plan.batch(pool).batch_wait_ms;
        assert!(patience_ends_ms > self.now_ms, "texts wait beside an idle replica");
        assert!(
            self.alarm_ms.is_some_and(|at_ms| at_ms <= patience_ends_ms),
            "texts wait beside an idle replica and no alarm is set"
        );
        let oldest_ms = self.waiting(pool).map(|(_, text)| text.arrived_ms).min();
        assert!(oldest_ms.is_some_and(|oldest_ms| oldest_ms <= first_ms));
    }

    fn every_deadline_is_watched(&self) {
        for slot in &self.slots {
            if let Slot::Running { deadline_ms, killed: false, .. } = slot {
                assert!(
                    self.alarm_ms.is_some_and(|at_ms| at_ms <= *deadline_ms),
                    "a batch can run for ever"
                );
            }
        }
    }
}
