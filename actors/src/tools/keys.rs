//! Keys of the tool service's rows.

use headwater_storage::KeyRange;
use headwater_storage::tuple::{self, Element};

const TOOLS: &str = "tools";

fn key(kind: &str, rest: &[Element]) -> Vec<u8> {
    tuple::pack(&[&[TOOLS.into(), kind.into()], rest].concat())
}

fn below(kind: &str, rest: &[Element]) -> KeyRange {
    tuple::below(&[&[TOOLS.into(), kind.into()], rest].concat())
}

fn number(number: u64) -> Element {
    Element::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

/// How many changes of tools and grants there were: what every node watches.
pub(super) fn revision() -> Vec<u8> {
    key("revision", &[])
}

/// What is known of a version beside its definition.
pub(super) fn version(name: &str, version: u32) -> Vec<u8> {
    key("version", &[name.into(), Element::from(version)])
}

pub(super) fn versions() -> KeyRange {
    below("version", &[])
}

pub(super) fn versions_of(name: &str) -> KeyRange {
    below("version", &[name.into()])
}

/// The version that a tool's name alone means.
pub(super) fn pointer(name: &str) -> Vec<u8> {
    key("pointer", &[name.into()])
}

pub(super) fn pointers() -> KeyRange {
    below("pointer", &[])
}

/// Pieces of a version's definition, in their order.
pub(super) fn definition(name: &str, version: u32) -> Place {
    Place { kind: "definition", path: vec![name.into(), version.into()] }
}

pub(super) fn grant(id: &str) -> Vec<u8> {
    key("grant", &[id.into()])
}

pub(super) fn grants() -> KeyRange {
    below("grant", &[])
}

/// A row, or a run of pieces, that belongs to one call, session or run of a team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    kind: &'static str,
    path: Vec<Element>,
}

impl Place {
    /// The row itself.
    pub(super) fn row(&self) -> Vec<u8> {
        key(self.kind, &self.path)
    }

    pub(super) fn piece(&self, place: u64) -> Vec<u8> {
        key(self.kind, &[self.path.as_slice(), &[number(place)]].concat())
    }

    pub(super) fn pieces(&self) -> KeyRange {
        below(self.kind, &self.path)
    }
}

/// Names a call among all teams'.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CallKey {
    pub(super) team: String,
    /// Ids of calls in a session are its own.
    pub(super) session: Option<String>,
    pub(super) id: String,
}

impl CallKey {
    fn place(&self, kind: &'static str) -> Place {
        let session = self.session.as_deref().unwrap_or("");
        let path = vec![self.team.as_str().into(), session.into(), self.id.as_str().into()];
        Place { kind, path }
    }

    pub(super) fn row(&self) -> Vec<u8> {
        self.place("call").row()
    }

    /// What the call was answered, in pieces.
    pub(super) fn answer(&self) -> Place {
        self.place("answer")
    }
}

/// An asynchronous call, by the id that its team polls.
pub(super) fn waiting(team: &str, id: &str) -> Place {
    Place { kind: "async", path: vec![team.into(), id.into()] }
}

/// An asynchronous call that has not ended: until when somebody is believed to make it.
pub(super) fn open_call(team: &str, id: &str) -> Vec<u8> {
    key("async_open", &[team.into(), id.into()])
}

pub(super) fn open_calls() -> KeyRange {
    below("async_open", &[])
}

/// An asynchronous call that has ended, in the order of the ends.
pub(super) fn ended_call(ended_ms: u64, team: &str, id: &str) -> Vec<u8> {
    key("async_ended", &[number(ended_ms), team.into(), id.into()])
}

/// Asynchronous calls that ended before this.
pub(super) fn ended_calls(before_ms: u64) -> KeyRange {
    before("async_ended", before_ms)
}

/// Its arguments and its answer, in pieces.
pub(super) fn waiting_texts(team: &str, id: &str, kind: &'static str) -> Place {
    Place { kind, path: vec![team.into(), id.into()] }
}

pub(super) fn session(team: &str, id: &str) -> Vec<u8> {
    key("session", &[team.into(), id.into()])
}

pub(super) fn sessions(team: &str) -> KeyRange {
    below("session", &[team.into()])
}

/// A note of a session's scratchpad, in pieces.
pub(super) fn note(team: &str, session: &str, name: &str) -> Place {
    Place { kind: "note", path: vec![team.into(), session.into(), name.into()] }
}

pub(super) fn notes(team: &str, session: &str) -> KeyRange {
    below("note", &[team.into(), session.into()])
}

pub(super) fn step(team: &str, session: &str, place: u64) -> Vec<u8> {
    key("step", &[team.into(), session.into(), number(place)])
}

pub(super) fn steps(team: &str, session: &str) -> KeyRange {
    below("step", &[team.into(), session.into()])
}

pub(super) fn approval(team: &str, id: &str) -> Vec<u8> {
    key("approval", &[team.into(), id.into()])
}

pub(super) fn approvals(team: &str) -> KeyRange {
    below("approval", &[team.into()])
}

/// A run of an agent.
pub(super) fn run(team: &str, id: &str) -> Vec<u8> {
    key("agent_run", &[team.into(), id.into()])
}

pub(super) fn runs(team: &str) -> KeyRange {
    below("agent_run", &[team.into()])
}

/// An entry of a run's journal, in pieces.
pub(super) fn run_entry(team: &str, id: &str, index: u64) -> Place {
    Place { kind: "agent_entry", path: vec![team.into(), id.into(), number(index)] }
}

/// The entries of a run's journal from this one on, and before that one.
pub(super) fn run_entries(team: &str, id: &str, from: u64, until: u64) -> KeyRange {
    let at = |index| run_entry(team, id, index).pieces().begin;
    KeyRange { begin: at(from), end: at(until) }
}

/// Who holds a run that has not ended.
pub(super) fn run_lease(team: &str, id: &str) -> Vec<u8> {
    key("agent_lease", &[team.into(), id.into()])
}

pub(super) fn run_leases() -> KeyRange {
    below("agent_lease", &[])
}

/// A run that has ended, in the order of the ends.
pub(super) fn ended_run(ended_ms: u64, team: &str, id: &str) -> Vec<u8> {
    key("agent_ended", &[number(ended_ms), team.into(), id.into()])
}

/// Runs that ended before this.
pub(super) fn ended_runs(before_ms: u64) -> KeyRange {
    before("agent_ended", before_ms)
}

fn before(kind: &str, before_ms: u64) -> KeyRange {
    KeyRange { begin: below(kind, &[]).begin, end: key(kind, &[number(before_ms)]) }
}
