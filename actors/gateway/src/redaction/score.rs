//! How well findings fit a labelled text: precision, recall and F2, entity by entity.

use std::collections::BTreeMap;
use std::ops::Range;

use super::entity::Entity;

/// How much of what two spans cover together they must share to be the same one.
const SHARED: f64 = 0.9;

/// What was labelled, found, and found rightly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    pub labelled: u64,
    pub found: u64,
    pub right: u64,
}

impl Tally {
    pub fn precision(&self) -> f64 {
        share(self.right, self.found)
    }

    pub fn recall(&self) -> f64 {
        share(self.right, self.labelled)
    }

    /// Recall counts four times as much as precision: what is missed leaves the house.
    pub fn f2(&self) -> f64 {
        let (precision, recall) = (self.precision(), self.recall());
        let below = 4.0 * precision + recall;
        if below > 0.0 { 5.0 * precision * recall / below } else { 0.0 }
    }

    pub fn add(&mut self, other: &Tally) {
        self.labelled += other.labelled;
        self.found += other.found;
        self.right += other.right;
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// A span of an entity.
pub type Span = (Entity, Range<usize>);

/// Compares the spans of one text with its labels. Two are the same when they are of one entity
/// and share nine tenths of what they cover together; signs and blanks at their ends do not count.
/// What lies on an ignored range, and on no label, is neither right nor wrong.
pub fn tally(
    text: &str,
    labelled: &[Span],
    ignored: &[Range<usize>],
    found: &[Span],
    tallies: &mut BTreeMap<Entity, Tally>,
) {
    for (entity, _) in labelled {
        tallies.entry(*entity).or_default().labelled += 1;
    }
    let mut open: Vec<Span> =
        labelled.iter().map(|(entity, range)| (*entity, trimmed(text, range))).collect();
    let meets =
        |one: &Range<usize>, other: &Range<usize>| one.start < other.end && other.start < one.end;
    for (entity, range) in found {
        if ignored.iter().any(|own| meets(own, range))
            && !labelled.iter().any(|(_, own)| meets(own, range))
        {
            continue;
        }
        let own = trimmed(text, range);
        let tally = tallies.entry(*entity).or_default();
        tally.found += 1;
        let same = open.iter().position(|(label, range)| label == entity && fits(range, &own));
        if let Some(place) = same {
            open.swap_remove(place);
            tally.right += 1;
        }
    }
}

fn fits(one: &Range<usize>, other: &Range<usize>) -> bool {
    let shared = one.end.min(other.end).saturating_sub(one.start.max(other.start));
    let together = one.end.max(other.end) - one.start.min(other.start);
    together > 0 && shared as f64 >= SHARED * together as f64
}

fn trimmed(text: &str, range: &Range<usize>) -> Range<usize> {
    let own = text.get(range.clone()).unwrap_or_default();
    let is_edge = |own: char| !own.is_alphanumeric();
    let start = range.start + (own.len() - own.trim_start_matches(is_edge).len());
    let end = range.start + own.trim_end_matches(is_edge).len();
    if start < end { start..end } else { range.clone() }
}
