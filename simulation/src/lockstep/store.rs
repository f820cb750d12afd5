//! The store that all nodes share: the coordinator hosts it, with seeded faults.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_storage::Pair;
use headwater_storage::memory::{Fault, FaultPoint, MemoryStore};
use headwater_storage::remote::{ServerLimits, StoreServer};

use super::chance::Chance;
use super::conditions::Conditions;
use super::executor::Executor;
use super::links::IDLE_TIMEOUT_MS;
use super::queues::Queues;
use super::schedule::{ScheduledFault, Strike};
use super::wire::ToNode;

const LIMITS: ServerLimits = ServerLimits {
    transactions_per_client: 256,
    transactions: 2_048,
    outcomes: 65_536,
    watches_per_client: 256,
    watches: 2_048,
    staged_bytes: 64 << 20,
};
/// How often the server throws out what is too old.
const SWEEP_MS: u64 = 1_000;

/// A request on its way.
struct Request {
    node: usize,
    incarnation: u64,
    call: u64,
    sent_ms: u64,
    bytes: Vec<u8>,
}

/// An answer on its way.
struct Answer {
    incarnation: u64,
    call: u64,
    left_ms: u64,
    bytes: Vec<u8>,
}

type Answers = Arc<Mutex<Vec<(usize, Answer)>>>;

pub(super) struct StoreHost {
    store: MemoryStore,
    server: StoreServer,
    executor: Executor,
    faults: Faults,
    chance: Chance,
    delay_ms: [u64; 2],
    numbered: u64,
    requests: BTreeMap<(u64, u64), Request>,
    answered: Answers,
    answers: BTreeMap<(usize, u64, u64), Answer>,
    cut_since_ms: BTreeMap<usize, u64>,
}

impl StoreHost {
    pub(super) fn new(seed: u64, delay_ms: [u64; 2], scheduled: &[ScheduledFault]) -> StoreHost {
        let executor = Executor::new(seed);
        let faults = Faults::new(seed, scheduled);
        let environment = executor.clock().environment(Chance::of(seed, "store"));
        let (met, clock) = (faults.clone(), executor.clock());
        let meet = move |point| met.meet(point, clock.now_ms());
        let store = MemoryStore::with_faults(environment.clone(), meet);
        let server = StoreServer::new(Arc::new(store.clone()), environment, LIMITS);
        StoreHost {
            store,
            server,
            executor,
            faults,
            chance: Chance::of(seed, "delay to the store"),
            delay_ms,
            numbered: 0,
            requests: BTreeMap::new(),
            answered: Answers::default(),
            answers: BTreeMap::new(),
            cut_since_ms: BTreeMap::new(),
        }
    }

    pub(super) fn contents(&self) -> Vec<Pair> {
        self.store.contents()
    }

    /// What went wrong in the store, with its time, since this was last asked.
    pub(super) fn take_struck(&self) -> Vec<(u64, u32, &'static str)> {
        std::mem::take(&mut self.faults.lock().struck)
    }

    fn arrival_ms(&mut self, sent_ms: u64) -> (u64, u64) {
        self.numbered += 1;
        (sent_ms + self.chance.between(self.delay_ms[0], self.delay_ms[1]), self.numbered)
    }

    pub(super) fn ask(
        &mut self,
        (node, incarnation): (usize, u64),
        call: u64,
        sent_ms: u64,
        bytes: Vec<u8>,
    ) {
        let due = self.arrival_ms(sent_ms);
        self.requests.insert(due, Request { node, incarnation, call, sent_ms, bytes });
    }

    /// Lives through a stretch: takes requests, works on them, and hands out answers that
    /// arrive after the stretch.
    pub(super) fn live(
        &mut self,
        (from_ms, until_ms): (u64, u64),
        conditions: &Conditions,
        queues: &mut Queues,
    ) {
        self.cut_since_ms.retain(|node, _| conditions.store_cuts.contains(node));
        for node in &conditions.store_cuts {
            self.cut_since_ms.entry(*node).or_insert(from_ms);
        }
        for now_ms in from_ms..until_ms {
            self.begin_due(now_ms, queues);
            if now_ms % SWEEP_MS == 0 {
                self.server.sweep();
            }
            self.executor.run(now_ms);
            self.send_answers(now_ms);
            self.deliver(now_ms, conditions, queues);
        }
    }

    fn begin_due(&mut self, now_ms: u64, queues: &mut Queues) {
        let mut held = Vec::new();
        while let Some(entry) = self.requests.first_entry().filter(|it| it.key().0 <= now_ms) {
            let (key, request) = entry.remove_entry();
            let Some(cut_ms) = self.cut_since_ms.get(&request.node).copied() else {
                self.begin(request);
                continue;
            };
            let call = request.call;
            if request.sent_ms >= cut_ms + IDLE_TIMEOUT_MS {
                queues.tell(request.node, now_ms, ToNode::StoreLost { call, sent: false });
            } else if now_ms >= request.sent_ms + IDLE_TIMEOUT_MS {
                queues.tell(request.node, now_ms, ToNode::StoreLost { call, sent: true });
            } else {
                held.push((key, request));
            }
        }
        self.requests.extend(held);
    }

    fn begin(&mut self, request: Request) {
        let (server, answered) = (self.server.clone(), Arc::clone(&self.answered));
        self.executor.spawn(async move {
            let Request { node, incarnation, call, bytes, .. } = request;
            let bytes = server.answer(&format!("n{}", node + 1), &bytes).await;
            let answer = Answer { incarnation, call, left_ms: 0, bytes };
            answered.lock().unwrap_or_else(PoisonError::into_inner).push((node, answer));
        });
    }

    fn send_answers(&mut self, now_ms: u64) {
        let answered =
            std::mem::take(&mut *self.answered.lock().unwrap_or_else(PoisonError::into_inner));
        for (node, answer) in answered {
            let (due_ms, number) = self.arrival_ms(now_ms);
            self.answers.insert((node, due_ms, number), Answer { left_ms: now_ms, ..answer });
        }
    }

    /// Hands over what leaves the network now: the node meets it at its own time. An answer
    /// that a cut held up for too long is lost, and its caller is told that nothing came.
    fn deliver(&mut self, now_ms: u64, conditions: &Conditions, queues: &mut Queues) {
        let mut kept = BTreeMap::new();
        for ((node, due_ms, number), answer) in std::mem::take(&mut self.answers) {
            let Answer { incarnation, call, left_ms, .. } = answer;
            let is_gone = conditions.dead.contains(&node)
                || conditions.incarnations.get(node) != Some(&incarnation);
            if is_gone {
                continue;
            }
            if !self.cut_since_ms.contains_key(&node) {
                let answered = ToNode::StoreAnswered { call, answer: answer.bytes };
                queues.tell(node, due_ms.max(now_ms + 1), answered);
            } else if now_ms >= left_ms + IDLE_TIMEOUT_MS {
                queues.tell(node, now_ms, ToNode::StoreLost { call, sent: true });
            } else {
                kept.insert((node, due_ms, number), answer);
            }
        }
        self.answers = kept;
    }
}

/// The store's faults, asked at every step of every transaction; cheap to clone.
#[derive(Clone)]
struct Faults(Arc<Mutex<Strikes>>);

struct Strikes {
    scheduled: Vec<(ScheduledFault, Chance)>,
    struck: Vec<(u64, u32, &'static str)>,
}

impl Faults {
    fn new(seed: u64, scheduled: &[ScheduledFault]) -> Faults {
        let chance =
            |fault: &ScheduledFault| Chance::of(seed, &format!("store fault {}", fault.id));
        let scheduled = scheduled.iter().map(|fault| (fault.clone(), chance(fault))).collect();
        Faults(Arc::new(Mutex::new(Strikes { scheduled, struck: Vec::new() })))
    }

    fn lock(&self) -> MutexGuard<'_, Strikes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn meet(&self, point: FaultPoint, now_ms: u64) -> Option<Fault> {
        let mut strikes = self.lock();
        let active = strikes.scheduled.iter_mut().filter(|(fault, _)| fault.is_active(now_ms));
        for (fault, chance) in active {
            let Some((met, what)) = meet_one(&fault.strike, point, chance) else { continue };
            let struck = (now_ms, fault.id, what);
            strikes.struck.push(struck);
            return Some(met);
        }
        None
    }
}

fn meet_one(
    strike: &Strike,
    point: FaultPoint,
    chance: &mut Chance,
) -> Option<(Fault, &'static str)> {
    let is_commit = point == FaultPoint::Commit;
    match *strike {
        Strike::StoreOutage => Some((Fault::Unavailable, "store down")),
        Strike::StoreSlow { percent, most_ms } => {
            let ms = chance.between(1, most_ms);
            chance.percent(percent).then_some((Fault::Delay { ms }, "store slow"))
        }
        Strike::StoreConflict { percent } => {
            let strikes = is_commit && chance.percent(percent);
            strikes.then_some((Fault::Conflict, "store conflict"))
        }
        Strike::StoreTooOld { percent } => {
            let strikes = is_commit && chance.percent(percent);
            strikes.then_some((Fault::TooOld, "store too old"))
        }
        Strike::StoreUnknownCommitted { percent } => {
            let strikes = is_commit && chance.percent(percent);
            strikes.then_some((Fault::UnknownCommitted, "commit unknown, done"))
        }
        Strike::StoreUnknownLost { percent } => {
            let strikes = is_commit && chance.percent(percent);
            strikes.then_some((Fault::UnknownLost, "commit unknown, lost"))
        }
        _ => None,
    }
}
