//! Numbers with a checksum or a fixed layout: cards, bank accounts, social security.

use std::ops::Range;

use regex::Regex;

use super::check::{digits, is_iban, is_issued, is_monotone, is_ssn, luhn};
use super::context;
use super::entity::{Entity, Finding};

pub(super) struct Numbers {
    card: Regex,
    ssn: Regex,
    iban: Regex,
}

impl Numbers {
    pub(super) fn new() -> Result<Numbers, regex::Error> {
        Ok(Numbers {
            card: Regex::new(r"[0-9](?:[ \-]?[0-9]){11,18}")?,
            ssn: Regex::new(r"[0-9]{3}(?:-[0-9]{2}-| [0-9]{2} |\.[0-9]{2}\.|[0-9]{2})[0-9]{4}")?,
            iban: Regex::new(r"[A-Za-z]{2}[0-9]{2}(?:[ \-]?[A-Za-z0-9]){11,30}")?,
        })
    }

    pub(super) fn find(&self, text: &str, found: &mut Vec<Finding>) {
        for one in self.iban.find_iter(text) {
            found.extend(iban(text, one.range()));
        }
        for one in self.card.find_iter(text) {
            found.extend(card(text, one.range()));
        }
        for one in self.ssn.find_iter(text) {
            found.extend(ssn(text, one.range()));
        }
    }
}

fn finding(entity: Entity, range: Range<usize>, score: f32) -> Option<Finding> {
    Some(Finding { entity, range, score })
}

/// The pattern takes words that follow, too: the longest beginning that is a number counts.
fn iban(text: &str, range: Range<usize>) -> Option<Finding> {
    let left = text.get(..range.start)?.chars().next_back();
    if left.is_some_and(char::is_alphanumeric) {
        return None;
    }
    let whole = text.get(range.clone())?;
    let mut end = whole.len();
    while end >= 15 {
        let part = range.start..range.start + end;
        if context::stands_alone(text, &part) && is_iban(text.get(part.clone())?) {
            return finding(Entity::Iban, part, 0.95);
        }
        end = whole.get(..end)?.rfind([' ', '-']).unwrap_or(0);
    }
    // A slip of the pen in an account number leaves it personal.
    let part = mistyped(whole).map(|length| range.start..range.start + length)?;
    let told = context::leads(text, &part, &["iban"]);
    (told && context::stands_alone(text, &part)).then_some(())?;
    finding(Entity::Iban, part, 0.6)
}

/// The length of the groups that hold a digit or capitals alone.
fn mistyped(whole: &str) -> Option<usize> {
    let mut length = 0;
    for group in whole.split_inclusive([' ', '-']) {
        let own = group.trim_end_matches([' ', '-']);
        let fits = own.bytes().any(|one| one.is_ascii_digit());
        if !fits {
            break;
        }
        length += group.len();
    }
    let length = whole.get(..length)?.trim_end_matches([' ', '-']).len();
    (length >= 15).then_some(length)
}

fn card(text: &str, range: Range<usize>) -> Option<Finding> {
    let alone = context::stands_alone(text, &range);
    if !alone || context::goes_on(text, &range, &['.', '-', ' ', ',']) {
        return None;
    }
    let own = digits(text.get(range.clone())?);
    if is_monotone(&own) {
        return None;
    }
    let score = match (luhn(&own), is_issued(&own)) {
        (true, true) => 0.9,
        (true, false) => 0.35,
        // With a wrong digit, where the text says that it is one.
        (false, true) if own.len() >= 15 => 0.2,
        (false, _) => return None,
    };
    let score = context::raised(text, &range, context::CARD, score, 0.4);
    finding(Entity::Card, range, score)
}

fn ssn(text: &str, range: Range<usize>) -> Option<Finding> {
    if !context::stands_alone(text, &range) || context::goes_on(text, &range, &['-', '.']) {
        return None;
    }
    let own = text.get(range.clone())?;
    if !is_ssn(&digits(own)) {
        return None;
    }
    let score = match own.as_bytes().get(3) {
        Some(b'-') => 0.85,
        Some(b' ') => 0.5,
        Some(b'.') => 0.3,
        _ => 0.15,
    };
    let score = context::raised(text, &range, context::SSN, score, 0.5);
    finding(Entity::Ssn, range, score)
}
