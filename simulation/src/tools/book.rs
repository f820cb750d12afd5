//! What was asked, what the service did, and what agents were told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_actors::tools::{Ending, Refusal};
use headwater_storage::retry::Retry;
use serde_json::Value;

use super::catalog::{Entry, Nature};
use crate::world::World;

/// Which process of which node.
pub(super) type Place = (u64, u64);

/// A call that some agent asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ask {
    pub(super) id: String,
    pub(super) tool: Entry,
    pub(super) number: u64,
    pub(super) session: Option<String>,
    pub(super) is_async: bool,
}

/// What the service knows of a call.
#[derive(Debug, Clone, Default)]
pub(super) struct Done {
    /// Processes whose asking may have been heard.
    pub(super) reached: BTreeSet<Place>,
    pub(super) effects: u64,
    /// The tools and numbers that it was done for.
    pub(super) did: Vec<(Entry, u64)>,
    pub(super) last_reached_ms: u64,
}

/// What agents were told of a call.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// So often was it asked for.
    pub(super) asked: u64,
    /// The first answer.
    pub(super) answer: Option<Value>,
    /// Who gave answers.
    pub(super) by: BTreeSet<Place>,
    /// Who was asked.
    pub(super) of: BTreeSet<Place>,
    pub(super) approval_asked_by: Option<Place>,
    pub(super) cancelled_ms: Option<u64>,
}

/// A session and what it may use up.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    pub(super) session: String,
    pub(super) calls: u64,
    pub(super) money: u64,
}

/// See the module; cheap to clone.
#[derive(Clone)]
pub(super) struct Book {
    world: World,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    asks: Vec<Ask>,
    done: BTreeMap<String, Done>,
    told: BTreeMap<String, Told>,
    approving: BTreeSet<String>,
    dead: BTreeSet<Place>,
    /// Calls under way.
    open: BTreeMap<(Place, String), u64>,
    sessions: Vec<Budget>,
    books: Vec<Retry>,
    published: bool,
}

impl Book {
    pub(super) fn new(world: &World) -> Book {
        Book { world: world.clone(), state: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Quotas of a process begin to be counted.
    pub(super) fn opened(&self, books: Retry) {
        self.lock().books.push(books);
    }

    pub(super) fn books(&self) -> Vec<Retry> {
        self.lock().books.clone()
    }

    /// The world has ended: what is held here keeps nothing of it alive.
    pub(super) fn close(&self) {
        let books = std::mem::take(&mut self.lock().books);
        drop(books);
    }

    pub(super) fn published(&self) {
        self.lock().published = true;
    }

    pub(super) fn is_published(&self) -> bool {
        self.lock().published
    }

    pub(super) fn died(&self, place: Place) {
        self.lock().dead.insert(place);
    }

    pub(super) fn is_dead(&self, place: &Place) -> bool {
        self.lock().dead.contains(place)
    }

    pub(super) fn add_session(&self, budget: Budget) {
        self.lock().sessions.push(budget);
    }

    pub(super) fn sessions(&self) -> Vec<Budget> {
        self.lock().sessions.clone()
    }

    pub(super) fn add(&self, ask: Ask) {
        self.lock().asks.push(ask);
    }

    pub(super) fn asks(&self) -> Vec<Ask> {
        self.lock().asks.clone()
    }

    pub(super) fn done(&self, id: &str) -> Done {
        self.lock().done.get(id).cloned().unwrap_or_default()
    }

    /// All calls that the service knows of.
    pub(super) fn all_done(&self) -> BTreeMap<String, Done> {
        self.lock().done.clone()
    }

    pub(super) fn told(&self, id: &str) -> Told {
        self.lock().told.get(id).cloned().unwrap_or_default()
    }

    /// Somebody is about to allow a call.
    pub(super) fn approving(&self, id: &str) {
        self.lock().approving.insert(id.to_owned());
    }

    pub(super) fn cancelled(&self, id: &str) {
        let now_ms = self.world.now_ms();
        self.lock().told.entry(id.to_owned()).or_default().cancelled_ms = Some(now_ms);
    }

    /// The service may have heard of a call.
    pub(super) fn reached(&self, place: Place, tool: Entry, id: &str) {
        let (world, mut state) = (&self.world, self.lock());
        let State { asks, done, dead, told, .. } = &mut *state;
        let known = done.entry(id.to_owned()).or_default();
        if known.reached.iter().any(|other| *other != place) {
            world.count("asked again by another process");
            let is_async = asks.iter().any(|ask| ask.id == id && ask.is_async);
            if is_async && known.reached.iter().any(|other| dead.contains(other)) {
                world.count("asynchronous call taken over");
            }
        }
        known.reached.insert(place);
        known.last_reached_ms = world.now_ms();
        let asked_by = told.get(id).and_then(|told| told.approval_asked_by);
        if tool.asks && asked_by.is_some_and(|by| dead.contains(&by)) {
            world.count("approval used after a death");
        }
        let is_cancelled = told.get(id).and_then(|told| told.cancelled_ms);
        let long_ago = |at_ms: u64| world.now_ms() > at_ms + super::checks::STOPS_MS;
        drop(state);
        if is_cancelled.is_some_and(long_ago) {
            world.violated("a_cancelled_call_says_so", format_args!("{id} is made long after"));
        }
    }

    /// The service does what a call asks for. How often it has done it for this call comes back;
    /// where it knows its calls it does it once.
    pub(super) fn acted(&self, place: Place, tool: Entry, id: &str, number: u64) -> u64 {
        let (times, is_allowed, is_wanted) = {
            let mut state = self.lock();
            let State { asks, done, approving, .. } = &mut *state;
            let known = done.entry(id.to_owned()).or_default();
            known.effects = match tool.nature {
                Nature::KnowsIds => 1,
                Nature::Reads | Nature::Forgets => known.effects + 1,
            };
            if !known.did.contains(&(tool, number)) {
                known.did.push((tool, number));
            }
            let is_same = |ask: &Ask| ask.id == id && ask.tool == tool && ask.number == number;
            (known.effects, approving.contains(id), asks.iter().any(is_same))
        };
        let world = &self.world;
        world.note(format_args!("{} does {id} for {place:?}, {times}", tool.name));
        if tool.nature == Nature::Forgets && times > 1 {
            world.violated("a_call_takes_effect_once", format_args!("{id}: {times} times"));
        }
        if !is_wanted {
            let seen = format!("{id} came as {} of {number}, and nobody asked for it", tool.name);
            world.violated("a_call_takes_effect_once", seen);
        }
        if tool.asks && !is_allowed {
            world.violated("an_approval_is_needed", format_args!("{id} was made without one"));
        }
        times
    }

    pub(super) fn began(&self, place: Place, id: &str) {
        let mut state = self.lock();
        *state.open.entry((place, id.to_owned())).or_default() += 1;
        let told = state.told.entry(id.to_owned()).or_default();
        told.asked += 1;
        told.of.insert(place);
    }

    /// Calls that have begun on processes that live, and have not ended.
    pub(super) fn open(&self) -> Vec<(Place, String)> {
        let state = self.lock();
        let lives = |(place, _): &&(Place, String)| !state.dead.contains(place);
        state.open.keys().filter(lives).cloned().collect()
    }

    /// A process answers.
    pub(super) fn ended(&self, place: Place, ask: &Ask, ending: &Ending) {
        let world = &self.world;
        let key = (place, ask.id.clone());
        let first = {
            let mut state = self.lock();
            if let Some(count) = state.open.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    state.open.remove(&key);
                }
            }
            let told = state.told.entry(ask.id.clone()).or_default();
            match ending {
                Ok(result) => {
                    told.by.insert(place);
                    told.answer.get_or_insert_with(|| result.content.clone()).clone()
                }
                Err(Refusal::ApprovalNeeded { .. }) => {
                    told.approval_asked_by.get_or_insert(place);
                    Value::Null
                }
                Err(_) => Value::Null,
            }
        };
        match ending {
            Ok(result) => {
                world.count("call answered");
                world.note(format_args!("{place:?} answers {}: {}", ask.id, result.content));
                let number = result.content.get("n").and_then(Value::as_u64);
                let is_other = ask.tool.nature != Nature::Reads && result.content != first;
                if is_other || number != Some(ask.number) {
                    let seen = format!("{}: {first}, then {}", ask.id, result.content);
                    world.violated("an_answered_call_keeps_its_answer", seen);
                }
            }
            Err(refusal) => {
                world.count(refused(refusal));
                world.note(format_args!("{place:?} refuses {}: {}", ask.id, refusal.code()));
            }
        }
    }
}

/// What the run's counts call it.
fn refused(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::OutcomeUnknown { .. } => "outcome unknown",
        Refusal::BreakerOpen { .. } => "refused: breaker_open",
        Refusal::InProgress { .. } => "refused: in_progress",
        Refusal::OutputInvalid { .. } => "refused: output_invalid",
        Refusal::OutputTooLarge { .. } => "refused: output_too_large",
        Refusal::SessionBudget { .. } => "refused: session_budget",
        Refusal::StorageDown { .. } => "refused: storage_down",
        Refusal::ApprovalNeeded { .. } => "refused: approval_needed",
        _ => "refused: otherwise",
    }
}
