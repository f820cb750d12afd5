//! A shell in miniature: it plays a random history against a dispatcher, carries out the
//! effects, keeps accounts of its own and holds every effect against the invariants.

use std::collections::{BTreeMap, BTreeSet};

use crate::{BatchId, BatchSettings, Dispatcher, Effect, Failure, ItemId, ReplicaIndex, RequestId};

/// One thing that happens. Numbers choose among what exists, modulo its count.
#[derive(Debug, Clone)]
pub(super) enum Event {
    Arrive(Vec<usize>),
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
    tokens: usize,
    arrived_ms: u64,
    order_ms: u64,
    place: Place,
    losses: u32,
    suspect: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Slot {
    Starting,
    Idle,
    Running { batch: BatchId, items: Vec<ItemId>, deadline_ms: u64, killed: bool },
}

pub(super) struct World {
    settings: BatchSettings,
    dispatcher: Dispatcher,
    now_ms: u64,
    alarm_ms: Option<u64>,
    slots: Vec<Slot>,
    texts: BTreeMap<ItemId, Text>,
    open: BTreeSet<RequestId>,
    requests: u64,
    batches: BTreeSet<BatchId>,
    /// What the event at hand explains.
    may_fail: BTreeMap<RequestId, Failure>,
    pub(super) trace: Vec<Vec<Effect>>,
}

impl World {
    pub(super) fn new(settings: BatchSettings, replicas: usize) -> Self {
        let (dispatcher, starts) = Dispatcher::new(settings.clone(), replicas);
        let expected: Vec<Effect> = (0..replicas)
            .map(|index| Effect::Start { replica: ReplicaIndex(index), after_ms: 0 })
            .collect();
        assert_eq!(starts, expected);
        World {
            settings,
            dispatcher,
            now_ms: 0,
            alarm_ms: None,
            slots: vec![Slot::Starting; replicas],
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
            Event::Arrive(lengths) => self.arrive(lengths),
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
        self.nothing_waits_beside_an_idle_replica();
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
            self.play(&Event::Pass(self.settings.batch_wait_ms));
        }
        assert!(self.open.is_empty(), "requests without an end: {:?}", self.open);
        assert!(self.dispatcher.queue().is_empty());
        assert!(self.texts.values().all(|text| text.place == Place::Done));
    }

    fn pick(&self, choice: usize, wanted: impl Fn(&Slot) -> bool) -> Option<usize> {
        let found: Vec<usize> =
            (0..self.slots.len()).filter(|index| wanted(&self.slots[*index])).collect();
        (!found.is_empty()).then(|| found[choice % found.len()])
    }

    fn arrive(&mut self, lengths: &[usize]) {
        let request = RequestId(self.requests);
        self.requests += 1;
        let mut before = 0;
        for (index, tokens) in lengths.iter().enumerate() {
            let text = Text {
                tokens: *tokens,
                arrived_ms: self.now_ms,
                order_ms: self.now_ms + (before / self.settings.fair_tokens_per_ms) as u64,
                place: Place::Waiting,
                losses: 0,
                suspect: false,
            };
            self.texts.insert(ItemId { request, index }, text);
            before += tokens;
        }
        self.open.insert(request);
        let effects = self.dispatcher.arrive(request, lengths, self.now_ms);
        self.carry_out(effects);
    }

    fn cancel(&mut self, choice: usize) {
        let Some(request) = self.open.iter().nth(choice % self.open.len().max(1)).copied() else {
            return;
        };
        self.dispatcher.cancel(request);
        self.end_request(request);
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
        assert!(
            matches!(starts[..], [Effect::Start { replica, .. }] if replica.0 == index),
            "a lost replica is started once"
        );
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
                Effect::Run { replica, batch, items } => self.run(replica, batch, items),
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

    fn run(&mut self, replica: ReplicaIndex, batch: BatchId, items: Vec<ItemId>) {
        assert_eq!(self.slots[replica.0], Slot::Idle, "a busy replica gets a batch");
        assert!(self.batches.insert(batch), "{batch:?} is used twice");
        let rows: Vec<Text> = items.iter().map(|item| self.texts[item]).collect();
        let BatchSettings { batch_tokens, batch_rows, padding_percent, .. } = self.settings;
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
        assert_eq!(Some(items[0]), self.first_in_line(), "the first in line leads");
        for item in &items {
            assert!(self.open.contains(&item.request), "{item:?} of an ended request runs");
            let text = self.texts.get_mut(item).expect("known");
            assert_eq!(text.place, Place::Waiting, "{item:?} runs and does not wait");
            text.place = Place::Running;
        }
        let deadline_ms = self.now_ms + self.settings.batch_timeout_ms;
        self.slots[replica.0] = Slot::Running { batch, items, deadline_ms, killed: false };
    }

    fn waiting(&self) -> impl Iterator<Item = (&ItemId, &Text)> {
        self.texts.iter().filter(|(_, text)| text.place == Place::Waiting)
    }

    /// Suspects before others, then by place in line.
    fn first_in_line(&self) -> Option<ItemId> {
        self.waiting()
            .min_by_key(|(id, text)| (!text.suspect, text.order_ms, **id))
            .map(|(id, _)| *id)
    }

    fn accounts_agree(&self) {
        let queue = self.dispatcher.queue();
        assert_eq!(queue.len(), self.waiting().count());
        assert_eq!(queue.tokens(), self.waiting().map(|(_, text)| text.tokens).sum::<usize>());
        assert_eq!(self.dispatcher.open_requests(), self.open.len());
        let live = self.slots.iter().filter(|slot| **slot != Slot::Starting).count();
        assert_eq!(self.dispatcher.live_replicas(), live);
    }

    fn nothing_waits_beside_an_idle_replica(&self) {
        if !self.slots.contains(&Slot::Idle) {
            return;
        }
        let Some(first_ms) = self.dispatcher.queue().oldest_ms() else { return };
        let patience_ends_ms = first_ms + self.settings.batch_wait_ms;
        assert!(patience_ends_ms > self.now_ms, "texts wait beside an idle replica");
        assert!(
            self.alarm_ms.is_some_and(|at_ms| at_ms <= patience_ends_ms),
            "texts wait beside an idle replica and no alarm is set"
        );
        let oldest_ms = self.waiting().map(|(_, text)| text.arrived_ms).min();
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
