//! What the run's witness knows: every line of every job, from the rows that commits change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_storage::tuple::{self, Element};

use super::lines::Content;
use crate::shared_store::Commit;
use crate::world::World;

/// Where a document's line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Waits,
    Begun,
    Done,
    Dead,
    Skipped,
}

/// One document's line.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) phase: Phase,
    /// Its place in the order in which lines came in, over all jobs.
    pub(super) order: u64,
    pub(super) revived: u64,
    /// Whether it ever began: then its document may hold it, even if it died or was dropped.
    pub(super) began: bool,
}

type Name = (String, u64);

#[derive(Default)]
struct State {
    bodies: BTreeMap<String, Vec<Content>>,
    lines: BTreeMap<Name, Line>,
    /// Jobs that may begin nothing.
    stopped: BTreeSet<String>,
    next: u64,
}

/// See the module; cheap to clone.
#[derive(Clone)]
pub(super) struct Book {
    world: World,
    state: Arc<Mutex<State>>,
}

/// What one commit did to a line's rows.
#[derive(Default, Clone, Copy)]
struct Change {
    /// Set or cleared.
    waits: Option<bool>,
    begun: Option<bool>,
    dead: Option<bool>,
}

impl Book {
    pub(super) fn new(world: &World) -> Book {
        Book { world: world.clone(), state: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add_body(&self, job: &str, lines: Vec<Content>) {
        self.lock().bodies.insert(job.to_owned(), lines);
    }

    /// The store has said that the job begins nothing any more.
    pub(super) fn stop(&self, job: &str) {
        self.lock().stopped.insert(job.to_owned());
    }

    /// Somebody is about to let it begin again.
    pub(super) fn go_on(&self, job: &str) {
        self.lock().stopped.remove(job);
    }

    pub(super) fn bodies(&self) -> BTreeMap<String, Vec<Content>> {
        self.lock().bodies.clone()
    }

    pub(super) fn lines(&self) -> BTreeMap<Name, Line> {
        self.lock().lines.clone()
    }

    pub(super) fn see(&self, commit: &Commit<'_>) {
        let mut changes: BTreeMap<Name, Change> = BTreeMap::new();
        for (key, value) in commit.writes {
            let Ok(elements) = tuple::unpack(key) else { continue };
            let is_set = Some(value.is_some());
            match elements.as_slice() {
                [Element::Text(space), Element::Text(kind), _, Element::Text(job), rest @ ..]
                    if space == "ingest" =>
                {
                    match (kind.as_str(), rest) {
                        ("task", [_, Element::Integer(class), Element::Integer(line)]) => {
                            let change = changes.entry((job.clone(), *line as u64)).or_default();
                            match class {
                                0 => change.begun = is_set,
                                _ => change.waits = is_set,
                            }
                        }
                        ("dead", [Element::Integer(line)]) => {
                            changes.entry((job.clone(), *line as u64)).or_default().dead = is_set;
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        for (name, change) in changes {
            self.apply(name, change);
        }
    }

    fn apply(&self, name: Name, change: Change) {
        let mut state = self.lock();
        let before = state.lines.get(&name).map(|line| line.phase);
        let after = match change {
            Change { begun: Some(true), .. } => Phase::Begun,
            Change { begun: Some(false), dead: Some(true), .. } => Phase::Dead,
            Change { begun: Some(false), .. } => Phase::Done,
            Change { waits: Some(true), .. } => Phase::Waits,
            Change { waits: Some(false), .. } => Phase::Skipped,
            // A bad line's dead letter.
            Change { .. } => return,
        };
        let allowed = matches!(
            (before, after),
            (None | Some(Phase::Dead), Phase::Waits)
                | (Some(Phase::Waits), Phase::Begun | Phase::Skipped)
                | (Some(Phase::Begun), Phase::Begun | Phase::Done | Phase::Dead)
        );
        let mut violations = Vec::new();
        if !allowed {
            let seen = format!("{name:?} goes from {before:?} to {after:?}");
            violations.push(("a_document_ends_once", seen));
        }
        if before == Some(Phase::Waits) && after == Phase::Begun {
            if state.stopped.contains(&name.0) {
                violations.push(("a_stopped_job_begins_nothing", format!("{name:?} begins")));
            }
            if let Some(other) = state.begun_beside(&name) {
                let seen = format!("{name:?} begins while {other:?} runs");
                violations.push(("a_document_has_one_writer", seen));
            }
        }
        if before == Some(Phase::Begun) && after == Phase::Begun {
            self.world.count("document begun again");
        }
        let next = state.next + 1;
        let line = state.lines.entry(name.clone()).or_insert_with(|| Line {
            phase: after,
            order: next,
            revived: 0,
            began: false,
        });
        line.phase = after;
        line.began |= after == Phase::Begun;
        line.revived += u64::from(before == Some(Phase::Dead));
        state.next = next;
        let document = state.document(&name).unwrap_or("-").to_owned();
        drop(state);
        self.world.note(format_args!("line {} of {}, {document}: {after:?}", name.1, name.0));
        self.world.count(match after {
            Phase::Waits if before == Some(Phase::Dead) => "dead letter queued again",
            Phase::Waits => "document came in",
            Phase::Begun => "document began",
            Phase::Done => "document done",
            Phase::Dead => "document died",
            Phase::Skipped => "document skipped",
        });
        for (invariant, seen) in violations {
            self.world.violated(invariant, seen);
        }
    }
}

impl State {
    fn document(&self, name: &Name) -> Option<&str> {
        match self.bodies.get(&name.0)?.get((name.1 as usize).checked_sub(1)?)? {
            Content::Document { id, .. } => Some(id),
            _ => None,
        }
    }

    /// Another line of the same document that has begun.
    fn begun_beside(&self, name: &Name) -> Option<Name> {
        let document = self.document(name)?;
        let begun = self.lines.iter().filter(|(_, line)| line.phase == Phase::Begun);
        let mut others = begun.map(|(other, _)| other).filter(|other| *other != name);
        others.find(|other| self.document(other) == Some(document)).cloned()
    }
}
