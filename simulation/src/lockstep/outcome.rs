//! What a run came to: its story, its counts and what was broken.

use std::collections::BTreeMap;
use std::fmt;

use super::schedule::ScheduledFault;

/// One run of one seed of one scenario.
#[derive(Debug, Clone)]
pub struct LockstepOutcome {
    pub scenario: String,
    pub seed: u64,
    pub nodes: usize,
    pub duration_ms: u64,
    pub heal_ms: u64,
    /// What the seed drew, for people.
    pub options: String,
    pub faults: Vec<ScheduledFault>,
    /// How often what happened.
    pub counts: BTreeMap<String, u64>,
    /// Broken invariants, by name, each with what was seen.
    pub violations: Vec<String>,
    /// All that happened, in order of virtual time.
    pub trace: Vec<Line>,
    /// A hash of every byte that the nodes sent, with its time: a difference between two runs
    /// shows here even where the trace does not tell of it.
    pub fingerprint: u64,
    /// What the run took of this machine; differs from run to run.
    pub cost: Cost,
}

/// One line of the story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub at_ms: u64,
    /// A node's name, or `net`, `store`, `client` or `fault`.
    pub who: String,
    pub kind: LineKind,
    pub text: String,
}

/// Where two runs differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Divergence {
    /// In this line of the trace, from 0.
    Line(usize),
    /// Only in bytes between the nodes.
    Bytes,
}

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineKind {
    Fault,
    Network,
    Store,
    Node,
    Client,
    Violation,
}

/// What a run took of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    pub wall_ms: u64,
    /// Of the coordinator and all of its nodes.
    pub cpu_ms: u64,
}

impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:>7} {:<6} {}", self.at_ms, self.who, self.text)
    }
}

impl LockstepOutcome {
    /// Where two runs of a seed differ first.
    pub fn divergence(&self, other: &LockstepOutcome) -> Option<Divergence> {
        let lines = self.trace.len().max(other.trace.len());
        let line = (0..lines).find(|at| self.trace.get(*at) != other.trace.get(*at));
        match line {
            Some(at) => Some(Divergence::Line(at)),
            None => (self.fingerprint != other.fingerprint).then_some(Divergence::Bytes),
        }
    }

    /// The names of the broken invariants, each once.
    pub fn broken(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.violations.iter().map(|text| invariant_name(text).to_owned()).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// A violation's text begins with the invariant's name.
fn invariant_name(violation: &str) -> &str {
    violation.split(':').next().unwrap_or(violation)
}

/// Collects the story. Lines of one stretch come in any order and are sorted by time.
#[derive(Debug, Default)]
pub(super) struct Trace {
    lines: Vec<Line>,
    stretch: Vec<Line>,
    pub(super) counts: BTreeMap<String, u64>,
    pub(super) violations: Vec<String>,
}

impl Trace {
    pub(super) fn add(&mut self, at_ms: u64, who: &str, kind: LineKind, text: impl Into<String>) {
        self.stretch.push(Line { at_ms, who: who.to_owned(), kind, text: text.into() });
    }

    pub(super) fn count(&mut self, what: &str) {
        match self.counts.get_mut(what) {
            Some(count) => *count += 1,
            None => {
                self.counts.insert(what.to_owned(), 1);
            }
        }
    }

    pub(super) fn violated(&mut self, at_ms: u64, who: &str, text: &str) {
        self.add(at_ms, who, LineKind::Violation, format!("VIOLATED {text}"));
        self.violations.push(format!("{text} (at {at_ms} ms, {who})"));
    }

    /// Ends a stretch of time.
    pub(super) fn sort(&mut self) {
        self.stretch.sort_by_key(|line| line.at_ms);
        self.lines.append(&mut self.stretch);
    }

    pub(super) fn take_lines(&mut self) -> Vec<Line> {
        self.sort();
        std::mem::take(&mut self.lines)
    }
}

/// Takes some bytes into a fingerprint, eight at a time.
pub(super) fn fingerprint(before: u64, bytes: &[u8]) -> u64 {
    let step = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(29);
    let words = bytes
        .chunks(8)
        .map(|chunk| chunk.iter().fold(0, |word: u64, byte| (word << 8) | u64::from(*byte)));
    words.fold(step(before, bytes.len() as u64), step)
}
