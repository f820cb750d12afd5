//! What the clients saw: every share with its estimate, its use and its times. Each request
//! carries its number as an amount of money, by which its entry in the ledger is found.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_tenancy::{Amounts, Window};

use crate::world::World;

/// One admitted request, as one of those sees it who pay for it.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) tenant: String,
    /// The process that admitted it.
    pub(super) life: u64,
    pub(super) admitted_ms: u64,
    pub(super) unverified: bool,
    pub(super) estimate: Amounts,
    /// What it really used, once it was settled.
    pub(super) used: Option<Amounts>,
}

/// The clients' diary; cheap to clone.
#[derive(Clone)]
pub(super) struct Diary {
    world: World,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    next_tag: u64,
    /// By number, and by who pays: a team, and its projects and users with limits.
    requests: BTreeMap<(u64, String), Request>,
    /// In which process somebody waits for an admission, and since when.
    waiting: BTreeMap<u64, (u64, u64)>,
    /// Estimates admitted unverified, by process, tenant, model and minute of its clock.
    unverified: BTreeMap<(u64, String, String, u64), Amounts>,
    /// The first unverified admission since the process was last answered: number of answers
    /// then, and time.
    outages: BTreeMap<(u64, String, String), (u64, u64)>,
}

/// An admission without the owner's word.
pub(super) struct Unverified<'a> {
    pub(super) life: u64,
    pub(super) tenant: &'a str,
    pub(super) model: &'a str,
    pub(super) estimate: Amounts,
    /// On the process's clock.
    pub(super) wall_ms: u64,
    /// How often the process was answered by any owner until now.
    pub(super) answers: u64,
    /// Most that it may admit in a minute.
    pub(super) budget: Amounts,
    pub(super) outage_ms: u64,
}

impl Diary {
    pub(super) fn new(world: &World) -> Diary {
        Diary { world: world.clone(), state: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request begins to wait; its number.
    pub(super) fn begins(&self, life: u64) -> u64 {
        let now_ms = self.world.now_ms();
        let mut state = self.lock();
        state.next_tag += 1;
        let tag = state.next_tag;
        state.waiting.insert(tag, (life, now_ms));
        tag
    }

    pub(super) fn ends(&self, tag: u64) {
        self.lock().waiting.remove(&tag);
    }

    pub(super) fn admitted(&self, tag: u64, request: Request) {
        self.lock().requests.insert((tag, request.tenant.clone()), request);
    }

    pub(super) fn settles(&self, tag: u64, used: Amounts) {
        let mut state = self.lock();
        let of_tag = (tag, String::new())..(tag + 1, String::new());
        for (_, request) in state.requests.range_mut(of_tag) {
            request.used = Some(used);
        }
    }

    pub(super) fn request(&self, tag: u64, tenant: &str) -> Option<Request> {
        self.lock().requests.get(&(tag, tenant.to_owned())).cloned()
    }

    /// Those in this process who wait since before this time: numbers and times.
    pub(super) fn waiting_since(&self, life: u64, before_ms: u64) -> Vec<(u64, u64)> {
        let state = self.lock();
        let here = state.waiting.iter().filter(|(_, (waits, _))| *waits == life);
        let old = here.filter(|(_, (_, since_ms))| *since_ms < before_ms);
        old.map(|(tag, (_, since_ms))| (*tag, *since_ms)).collect()
    }

    /// The settled requests of a process, by number.
    pub(super) fn settled(&self, life: u64) -> Vec<(u64, Request)> {
        let state = self.lock();
        let mine = state.requests.iter().filter(|(_, one)| one.life == life && one.used.is_some());
        mine.map(|((tag, _), request)| (*tag, request.clone())).collect()
    }

    /// Holds an admission without the owner's word against the budget and the time for it.
    pub(super) fn unverified(&self, seen: &Unverified<'_>) {
        let Unverified { life, tenant, model, estimate, wall_ms, answers, budget, .. } = *seen;
        let now_ms = self.world.now_ms();
        let of = (life, tenant.to_owned(), model.to_owned());
        let mut state = self.lock();
        let minute = (life, tenant.to_owned(), model.to_owned(), Window::Minute.index(wall_ms));
        let sum = state.unverified.entry(minute).or_default();
        *sum = sum.plus(estimate);
        let sum = *sum;
        let outage = state.outages.entry(of).or_insert((answers, now_ms));
        if outage.0 != answers {
            *outage = (answers, now_ms);
        }
        let lasted_ms = now_ms - outage.1;
        drop(state);
        if !budget.covers(sum) {
            let seen = format!("{tenant} {model}: {sum:?} without a word, {budget:?} are allowed");
            self.world.violated("outage_is_bounded_and_marked", seen);
        }
        if lasted_ms >= seen.outage_ms {
            let seen = format!("{tenant} {model} is admitted {lasted_ms} ms into an outage");
            self.world.violated("outage_is_bounded_and_marked", seen);
        }
    }
}
