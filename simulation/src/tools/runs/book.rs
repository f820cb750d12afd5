//! What was asked of runs, and what nodes have told of them: whatever is told later must fit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_actors::tools::{
    AgentSettings, Refusal, RunAsk, RunEvent, RunFinish, RunMessage, RunNotice, RunTold, ToolsError,
};
use headwater_storage::StoreError;

use super::RunOptions;
use super::model::{CHAT, question};
use crate::tools::book::{Book, Place};
use crate::tools::node::STALE_MS;
use crate::world::World;

/// How the end of a run begins whose journal cannot be read.
const GIVEN_UP: &str = "what is stored of the run cannot be read";
/// What the end of a run says that ended with its key.
const KEY_ENDED: &str = "the end of its key";
/// When the end of a key must have been heard, in ms: nobody vouches for it for longer, and who was
/// frozen meanwhile goes on with one question.
pub(super) const KEY_HEARD_MS: u64 = STALE_MS + 15_000;

/// A run that some client asks for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) id: String,
    pub(super) settings: AgentSettings,
    /// None for all.
    pub(super) tools: Option<Vec<String>>,
    /// Its model asks for the same again and again.
    pub(super) is_stuck: bool,
    /// What it is begun with.
    pub(super) key: Option<String>,
}

/// A key, and its end.
#[derive(Debug, Clone, Copy, Default)]
struct Key {
    is_ending: bool,
    /// When it was known to have ended, in virtual ms.
    ended_ms: Option<u64>,
}

impl Wanted {
    pub(super) fn ask(&self) -> RunAsk {
        RunAsk {
            id: Some(self.id.clone()),
            model: CHAT.to_owned(),
            messages: vec![RunMessage::User { text: question(&self.id) }],
            tools: self.tools.clone(),
            session: None,
            settings: self.settings.clone(),
            trace_parent: None,
        }
    }
}

/// Where an event stands: its entry, and its place among the events of that one.
pub(super) type Spot = (u64, usize);

/// What is known of a run.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) wanted: Wanted,
    /// As it was told first.
    pub(super) told: Option<RunTold>,
    /// As it was told first when it had ended.
    pub(super) ended: Option<RunTold>,
    end: Option<(RunFinish, String)>,
    pub(super) journal: BTreeMap<Spot, RunEvent>,
    /// Somebody wants it to end, or its key.
    is_cancelled: bool,
    /// Who asked the model last.
    asked_by: Option<Place>,
    /// Who asked it for each step.
    asked: BTreeMap<u64, Place>,
}

/// What a listener has heard of a journal.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) after: Option<u64>,
    pub(super) last: Option<Spot>,
    /// The entry of the last event has no more of them.
    is_entry_over: bool,
}

impl Default for Heard {
    /// Nothing yet, from the first entry on.
    fn default() -> Heard {
        Heard { after: None, last: None, is_entry_over: true }
    }
}

/// See the module; cheap to clone.
#[derive(Clone)]
pub(in crate::tools) struct Runs {
    pub(super) world: World,
    pub(in crate::tools) options: Arc<RunOptions>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    runs: BTreeMap<String, Run>,
    keys: BTreeMap<String, Key>,
    is_checked: bool,
}

/// What a run has from its beginning on.
fn beginning(told: &RunTold) -> (&str, &str, &[String], u64, u64) {
    (&told.model, &told.session, &told.tools, told.created_ms, told.deadline_ms)
}

impl Runs {
    pub(super) fn new(world: &World, options: RunOptions) -> Runs {
        Runs { world: world.clone(), options: Arc::new(options), state: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn checked(&self) {
        self.lock().is_checked = true;
    }

    /// Whether the checks have come to their end.
    pub(in crate::tools) fn is_checked(&self) -> bool {
        self.lock().is_checked
    }

    pub(super) fn key_made(&self, id: &str) {
        self.lock().keys.insert(id.to_owned(), Key::default());
    }

    /// Somebody is about to have a key end.
    pub(super) fn revoking(&self, id: &str) {
        let mut state = self.lock();
        state.keys.entry(id.to_owned()).or_default().is_ending = true;
        let its = state.runs.values_mut().filter(|run| run.wanted.key.as_deref() == Some(id));
        its.for_each(|run| run.is_cancelled = true);
    }

    pub(super) fn revoked(&self, id: &str) {
        self.world.count("key revoked");
        self.world.note(format_args!("the key {id} is revoked"));
        let key = Key { is_ending: true, ended_ms: Some(self.world.now_ms()) };
        self.lock().keys.insert(id.to_owned(), key);
    }

    /// Some key, whether it is good or not.
    pub(super) fn some_key(&self) -> Option<String> {
        let state = self.lock();
        let last = state.keys.len().checked_sub(1)? as u64;
        state.keys.keys().nth(self.world.between(0, last) as usize).cloned()
    }

    /// When the key of a run ended, in virtual ms.
    pub(super) fn key_ended_ms(&self, wanted: &Wanted) -> Option<u64> {
        self.lock().keys.get(wanted.key.as_ref()?)?.ended_ms
    }

    pub(super) fn add(&self, wanted: Wanted) {
        let mut state = self.lock();
        let key = wanted.key.as_ref().and_then(|key| state.keys.get(key));
        let is_cancelled = key.is_some_and(|key| key.is_ending);
        let run = Run {
            wanted: wanted.clone(),
            told: None,
            ended: None,
            end: None,
            journal: BTreeMap::new(),
            is_cancelled,
            asked_by: None,
            asked: BTreeMap::new(),
        };
        state.runs.insert(wanted.id, run);
    }

    pub(super) fn all(&self) -> Vec<Run> {
        self.lock().runs.values().cloned().collect()
    }

    pub(super) fn run(&self, id: &str) -> Option<Run> {
        self.lock().runs.get(id).cloned()
    }

    /// Some run that was asked for.
    pub(super) fn some(&self) -> Option<Wanted> {
        let state = self.lock();
        let last = state.runs.len().checked_sub(1)? as u64;
        let run = state.runs.values().nth(self.world.between(0, last) as usize);
        run.map(|run| run.wanted.clone())
    }

    /// Somebody is about to have it end.
    pub(super) fn cancelling(&self, id: &str) {
        if let Some(run) = self.lock().runs.get_mut(id) {
            run.is_cancelled = true;
        }
    }

    /// A process asks the model for a step.
    pub(super) fn asked(&self, place: Place, id: &str, step: u64, book: &Book) {
        let (world, mut state) = (&self.world, self.lock());
        let State { runs, keys, .. } = &mut *state;
        let Some(run) = runs.get_mut(id) else { return };
        world.note(format_args!("{place:?} asks the model for step {step} of {id}"));
        if let Some(before) = run.asked_by.replace(place).filter(|before| *before != place) {
            world.count(match book.is_dead(&before) {
                true => "run taken over after a death",
                false => "run taken over from a node that lives",
            });
        }
        match run.asked.insert(step, place) {
            Some(before) if before != place => world.count("model asked again by another process"),
            Some(_) => world.count("model asked again"),
            None => {}
        }
        let key = run.wanted.key.as_ref().and_then(|key| keys.get(key));
        let ended_ms = key.and_then(|key| key.ended_ms);
        if ended_ms.is_some_and(|ended_ms| world.now_ms() > ended_ms + KEY_HEARD_MS) {
            let seen = format!("{place:?} asks for {id}, and its key ended at {ended_ms:?}");
            world.violated("a_run_ends_with_its_key", seen);
        }
        if step >= run.wanted.settings.iterations_max {
            let seen = format!("{id} asks for step {step}: {:?}", run.wanted);
            world.violated("a_run_keeps_its_caps", seen);
        }
    }

    /// A process refuses to begin a run.
    pub(super) fn refused(&self, place: Place, id: &str, error: &ToolsError) {
        let world = &self.world;
        world.note(format_args!("{place:?} does not begin {id}: {error}"));
        match error {
            ToolsError::Conflict(why) => world.violated("the_same_id_is_the_same_run", why),
            ToolsError::Refused(Refusal::Overloaded { .. }) => world.count("no room for a run"),
            _ => {}
        }
    }

    /// A process tells of a run.
    pub(super) fn told(&self, place: Place, told: &RunTold) {
        let (world, mut state) = (&self.world, self.lock());
        let Some(run) = state.runs.get_mut(&told.id) else {
            let seen = format!("nobody has asked for {told:?}");
            return world.violated("the_same_id_is_the_same_run", seen);
        };
        let first = run.told.get_or_insert_with(|| told.clone());
        if beginning(first) != beginning(told) {
            let seen = format!("{place:?} tells {told:?} and not {first:?}");
            world.violated("the_same_id_is_the_same_run", seen);
        }
        // Lists leave the text out.
        let (Some(finish), Some(text)) = (told.finish, &told.output) else { return };
        self.end(place, run, finish, text);
        let known = run.ended.get_or_insert_with(|| told.clone());
        if *known != *told {
            let seen = format!("{place:?} tells {told:?} and not {known:?}");
            world.violated("an_agent_run_ends_once", seen);
        }
        let is_early = told.ended_ms.is_none_or(|ended_ms| ended_ms < told.deadline_ms);
        if finish == RunFinish::Deadline && is_early {
            let seen = format!("{told:?} is not past its deadline");
            world.violated("a_run_keeps_its_caps", seen);
        }
    }

    /// A process says how a run has ended.
    fn end(&self, place: Place, run: &mut Run, finish: RunFinish, text: &str) {
        let (world, id) = (&self.world, &run.wanted.id);
        let end = (finish, text.to_owned());
        match &run.end {
            Some(known) if *known != end => {
                let seen = format!("{place:?} tells that {id} is {end:?} and not {known:?}");
                world.violated("an_agent_run_ends_once", seen);
            }
            Some(_) => {}
            None => {
                world.note(format_args!("{place:?} tells that {id} is {end:?}"));
                if text.contains(KEY_ENDED) {
                    world.count("run ended with its key");
                }
            }
        }
        if finish == RunFinish::Cancelled && !run.is_cancelled {
            let seen = format!("{id} is cancelled, and nobody wanted that");
            world.violated("an_agent_run_ends_once", seen);
        }
        if text.starts_with(GIVEN_UP) {
            world.violated("a_journal_only_grows", format_args!("{place:?} of {id}: {text}"));
        }
        run.end.get_or_insert(end);
    }

    /// Where a listener may begin: with the first entry, or behind one that somebody has heard.
    pub(super) fn somewhere(&self, id: &str) -> Heard {
        let state = self.lock();
        let beginning = Heard::default();
        let Some(run) = state.runs.get(id) else { return beginning };
        let over: BTreeSet<u64> =
            run.journal.values().filter(|event| event.is_last).map(|event| event.index).collect();
        let Some(last) = over.len().checked_sub(1) else { return beginning };
        if self.world.percent(50) {
            return beginning;
        }
        self.world.count("journal heard from its middle");
        let after = over.iter().nth(self.world.between(0, last as u64) as usize).copied();
        let heard = run.journal.range(..(after.map_or(0, |after| after + 1), 0)).next_back();
        Heard { after, last: heard.map(|(spot, _)| *spot), is_entry_over: true }
    }

    /// A listener hears the next event: it is the one that the others have heard there, and the
    /// first that anybody hears after all others.
    pub(super) fn heard(&self, place: Place, id: &str, heard: &mut Heard, event: RunEvent) {
        let (world, mut state) = (&self.world, self.lock());
        let Some(run) = state.runs.get_mut(id) else { return };
        let (spot, is_new_entry) = match heard.last {
            Some((index, at)) if index == event.index => ((index, at + 1), false),
            _ => ((event.index, 0), true),
        };
        world.note(format_args!("{place:?} tells {spot:?} of {id}"));
        let wrong = |what: &str| {
            let seen = format!("{place:?} tells {event:?} at {spot:?} of {id}, {what}");
            world.violated("a_journal_only_grows", seen);
        };
        if is_new_entry != heard.is_entry_over {
            wrong("where another entry should be told");
        }
        let before = run.journal.range(..spot).next_back().map(|(spot, _)| *spot);
        if before != heard.last {
            wrong(&format!("and told {:?} before where {before:?} stands", heard.last));
        }
        match run.journal.get(&spot) {
            Some(known) if *known != event => wrong(&format!("where others heard {known:?}")),
            Some(_) => {}
            None if run.journal.range(spot..).next().is_some() => wrong("before what others heard"),
            None => {}
        }
        (heard.last, heard.is_entry_over) = (Some(spot), event.is_last);
        match &event.notice {
            RunNotice::Finished { reason, text } => self.end(place, run, *reason, text),
            RunNotice::ApprovalNeeded { .. } => world.count("run waits for an approval"),
            _ => {}
        }
        run.journal.entry(spot).or_insert(event);
    }

    /// A journal cannot be read on: that may pass, unless what is stored makes no sense.
    pub(super) fn unread(&self, place: Place, id: &str, error: &ToolsError) {
        self.world.note(format_args!("{place:?} does not tell {id}: {error}"));
        if let ToolsError::Store(StoreError::Corrupt(_)) = error {
            self.world.violated("a_journal_only_grows", format_args!("{id}: {error}"));
        }
    }
}
