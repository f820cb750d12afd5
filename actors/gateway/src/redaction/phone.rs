//! Telephone numbers of many countries: by their plus, their groups, and the words beside them.
//!
//! A list of the ranges that are given out would refuse what people really write, among it
//! numbers of examples and of new ranges, so shape and words decide.

use std::ops::Range;

use regex::Regex;

use super::context;
use super::entity::{Entity, Finding};

pub(super) struct Phones {
    run: Regex,
}

/// Words that say number, but not of what.
const WEAK: &[&str] = &["number", "numbers", "no", "nr", "text", "reach", "contact", "ring"];

/// What other long numbers are called.
const OTHER: &[&str] = &[
    "order",
    "invoice",
    "ticket",
    "id",
    "ref",
    "reference",
    "tracking",
    "serial",
    "isbn",
    "price",
    "amount",
    "case",
    "usd",
    "eur",
    "version",
    "code",
    "zip",
    "account",
    "iban",
    "ssn",
    "card",
    "bytes",
    "port",
    "timestamp",
    "sku",
    "article",
    "population",
    "total",
    "confirmation",
];

/// Country calling codes of one and of two digits; all others have three.
const SHORT_CODES: &[&str] = &[
    "1", "7", "20", "27", "30", "31", "32", "33", "34", "36", "39", "40", "41", "43", "44", "45",
    "46", "47", "48", "49", "51", "52", "53", "54", "55", "56", "57", "58", "60", "61", "62", "63",
    "64", "65", "66", "81", "82", "84", "86", "90", "91", "92", "93", "94", "95", "98",
];
/// First two digits of the codes of three.
const LONG_CODES: &[&str] = &[
    "21", "22", "23", "24", "25", "26", "29", "35", "37", "38", "42", "50", "59", "67", "68", "69",
    "80", "85", "87", "88", "96", "97", "99",
];

/// One group of digits of a run, and what stands before it there.
struct Group {
    range: Range<usize>,
    /// Whether only blanks lie between it and the group before.
    apart: bool,
}

impl Phones {
    pub(super) fn new() -> Result<Phones, regex::Error> {
        let run = r"(?:\(?\+|\()?[0-9](?:[ \u{a0}().\-/]{0,3}[0-9]){5,21}(?:\s{0,2}(?:x|ext\.?|extension|#)\s?[0-9]{1,6})?";
        Ok(Phones { run: Regex::new(run)? })
    }

    /// `dates` are no telephone numbers.
    pub(super) fn find(&self, text: &str, dates: &[Range<usize>], found: &mut Vec<Finding>) {
        for run in self.run.find_iter(text) {
            let range = run.range();
            if !context::stands_alone(text, &range) || context::goes_on(text, &range, &['.', ',']) {
                continue;
            }
            found.extend(best(text, range, dates));
        }
    }
}

/// The best part of a run that is cut at blanks alone: a number may stand beside another.
fn best(text: &str, run: Range<usize>, dates: &[Range<usize>]) -> Option<Finding> {
    let groups = groups(text, &run);
    let mut best: Option<Finding> = None;
    for first in 0..groups.len() {
        if first > 0 && !groups[first].apart {
            continue;
        }
        for last in (first..groups.len().min(first + 8)).rev() {
            if groups.get(last + 1).is_some_and(|next| !next.apart) {
                continue;
            }
            let start = if first == 0 { run.start } else { groups[first].range.start };
            let end = if last + 1 == groups.len() { run.end } else { groups[last].range.end };
            let range = start..end;
            let Some(score) = score(text, &range, &groups[first..=last], dates) else { continue };
            let better = best
                .as_ref()
                .is_none_or(|best| (score, range.len()) > (best.score, best.range.len()));
            if better {
                best = Some(Finding { entity: Entity::Phone, range, score });
            }
        }
    }
    best
}

fn groups(text: &str, run: &Range<usize>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let bytes = text.as_bytes();
    let mut place = run.start;
    while place < run.end {
        if !bytes[place].is_ascii_digit() {
            place += 1;
            continue;
        }
        let start = place;
        while place < run.end && bytes[place].is_ascii_digit() {
            place += 1;
        }
        let end = groups.last().map(|last| last.range.end);
        let between = end.and_then(|end| text.get(end..start)).unwrap_or_default();
        let apart = !between.is_empty() && between.chars().all(char::is_whitespace);
        groups.push(Group { range: start..place, apart });
    }
    groups
}

fn score(
    text: &str,
    range: &Range<usize>,
    groups: &[Group],
    dates: &[Range<usize>],
) -> Option<f32> {
    let own = text.get(range.clone())?;
    let mut lengths: Vec<usize> = groups.iter().map(|group| group.range.len()).collect();
    // An extension is no part of the number's shape.
    let base = own.split(['x', 'e', '#']).next().unwrap_or(own);
    if base.len() < own.len() {
        lengths.pop();
    }
    let digits: String = base.chars().filter(char::is_ascii_digit).collect();
    let plus = own.starts_with('+') || own.starts_with("(+");
    if plus {
        let known = has_code(&digits) && (8..=15).contains(&digits.len());
        let told = context::has(text, range, context::PHONE);
        return known.then_some(if told { context::SUREST } else { 0.9 });
    }
    let dated = dates.iter().any(|date| date.start < range.end && range.start < date.end);
    if dated || base.trim().parse::<std::net::Ipv4Addr>().is_ok() {
        return None;
    }
    let shape = shape(base, &digits, &lengths)?;
    let mut score = shape;
    if context::has(text, range, context::PHONE) {
        let strong = |word: &&&str| !WEAK.contains(*word);
        let strong: Vec<&str> = context::PHONE.iter().filter(strong).copied().collect();
        score += if context::has(text, range, &strong) { 0.4 } else { 0.2 };
    }
    if context::leads(text, range, OTHER) {
        score -= 0.35;
    }
    Some(score.clamp(0.0, context::SUREST))
}

/// How much the bare number looks like one that is dialled.
fn shape(base: &str, digits: &str, lengths: &[usize]) -> Option<f32> {
    let area = digits.as_bytes().first().copied().unwrap_or(b'0') >= b'2';
    let bracket = base.starts_with('(');
    let dotted = base.contains('.') || base.contains('/');
    let trunk = digits.starts_with('0');
    Some(match lengths {
        [3, 3, 4] if area => 0.75,
        [1, 3, 3, 4] if digits.starts_with('1') => 0.75,
        [3, 3, 3, 4] if digits.starts_with("001") => 0.75,
        [3, 7] | [3, 3, 4] if bracket => 0.7,
        [2, 2, 2, 2, 2] if trunk => 0.7,
        _ if digits.starts_with("00") && has_code(&digits[2..]) && digits.len() >= 10 => {
            if lengths.len() > 1 { 0.65 } else { 0.4 }
        }
        _ if bracket && (8..=12).contains(&digits.len()) && lengths.len() > 1 => 0.65,
        [first, ..] if trunk && (9..=12).contains(&digits.len()) && lengths.len() > 1 => {
            if (2..=5).contains(first) { 0.6 } else { 0.4 }
        }
        [3, 3, 4] | [4, 3, 3] | [5, 5] | [4, 6] | [5, 6] | [5, 3, 3] => 0.45,
        [3, 3, 3] | [2, 2, 2, 2] | [3, 2, 2, 2] | [3, 2, 3] | [2, 3, 2, 2] | [2, 3, 3]
            if !dotted =>
        {
            0.35
        }
        [3, 4] | [4, 4] | [2, 6] | [3, 2, 2] | [2, 3, 4] | [2, 4, 4] | [2, 3, 2] if !dotted => 0.3,
        [7..=9] => 0.1,
        [10..=11] if trunk => 0.3,
        [10] if area => 0.2,
        [11] if digits.starts_with('1') => 0.2,
        _ if (8..=12).contains(&digits.len()) && (2..=5).contains(&lengths.len()) => 0.2,
        _ => return None,
    })
}

fn has_code(digits: &str) -> bool {
    let mut codes = SHORT_CODES.iter().chain(LONG_CODES);
    codes.any(|code| digits.starts_with(*code))
}
