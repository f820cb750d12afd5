//! Dates: personal only where the text says that somebody was born then.

use std::ops::Range;

use regex::Regex;

use super::context;
use super::entity::{Entity, Finding};

pub(super) struct Dates {
    numeric: Regex,
    named: Regex,
}

const MONTHS: &str = "jan(?:uary|uar)?|feb(?:ruary|ruar)?|mar(?:ch|s|zo)?|märz|apr(?:il)?|may|mai|\
mayo|june?|juni|juin|july?|juli|juillet|aug(?:ust)?|août|sep(?:t|tember)?|oct(?:ober)?|okt(?:ober)?\
|octobre|nov(?:ember|embre)?|dec(?:ember)?|dez(?:ember)?|décembre|enero|febrero|abril|junio|julio|\
agosto|septiembre|octubre|noviembre|diciembre";

impl Dates {
    pub(super) fn new() -> Result<Dates, regex::Error> {
        let day = r"[0-9]{1,2}(?:st|nd|rd|th|\.)?";
        let named = format!(
            r"(?i)(?:{day}(?:\s+of|\s+de)?[\s-]+(?:{MONTHS})\.?|(?:{MONTHS})\.?\s+{day}),?[\s-]+(?:de\s+)?[0-9]{{4}}"
        );
        let numeric = r"[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2}[-/.][0-9]{1,2}[-/.](?:[0-9]{4}|[0-9]{2})";
        Ok(Dates { numeric: Regex::new(numeric)?, named: Regex::new(&named)? })
    }

    /// All dates; those without a word about a birth get a score that no policy should take.
    pub(super) fn find(&self, text: &str, found: &mut Vec<Finding>) -> Vec<Range<usize>> {
        let numeric = self.numeric.find_iter(text).map(|one| one.range());
        let numeric = numeric.filter(|range| {
            !context::goes_on(text, range, &['-', '/', '.']) && is_calendar(text, range)
        });
        let named = self.named.find_iter(text).map(|one| one.range());
        let dates: Vec<Range<usize>> =
            numeric.chain(named).filter(|range| context::stands_alone(text, range)).collect();
        for range in &dates {
            let score = if context::leads(text, range, context::BIRTH) { 0.85 } else { 0.05 };
            found.push(Finding { entity: Entity::BirthDate, range: range.clone(), score });
        }
        dates
    }
}

/// Whether the numbers can be a day, a month and a year in some order.
fn is_calendar(text: &str, range: &Range<usize>) -> bool {
    let own = text.get(range.clone()).unwrap_or_default();
    let parts: Vec<u32> = own.split(['-', '/', '.']).filter_map(|part| part.parse().ok()).collect();
    let [first, second, third] = parts[..] else { return false };
    let fits = |day: u32, month: u32| (1..=31).contains(&day) && (1..=12).contains(&month);
    let joint = own.bytes().filter(|one| !one.is_ascii_digit()).collect::<Vec<_>>();
    let even = joint.windows(2).all(|pair| pair[0] == pair[1]);
    let year = |year: u32| year < 100 || (1850..=2100).contains(&year);
    even && if first >= 1000 {
        year(first) && fits(third, second)
    } else {
        year(third) && (fits(first, second) || fits(second, first))
    }
}
