//! When a golden set asks for an eval each night.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::problem::Problem;

const MINUTE_MS: u64 = 60_000;
/// A day of UTC, in ms.
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;
/// What a night may cost unless the set says otherwise, in millionths of a US dollar.
const BUDGET_MICRO_USD: u64 = 1_000_000;

/// A minute of each day, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nightly {
    /// Of the day, 0 to 1439.
    minute: u64,
    /// When it was asked for, since 1970: days before are nobody's.
    pub since_ms: u64,
    pub budget_micro_usd: u64,
}

impl Nightly {
    /// Reads a time such as `02:30`.
    ///
    /// # Errors
    /// When it is no time, or the budget is nothing.
    pub fn read(
        text: &str,
        budget_micro_usd: Option<u64>,
        now_ms: u64,
    ) -> Result<Nightly, Problem> {
        let number = |text: &str| match text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())
        {
            true => text.parse::<u64>().ok(),
            false => None,
        };
        let read = text.split_once(':').and_then(|(hours, minutes)| {
            let (hours, minutes) = (number(hours)?, number(minutes)?);
            (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
        });
        let Some(minute) = read else {
            let problem = "must be a time of the day in UTC, 00:00 to 23:59, or off";
            return Err(Problem::new("nightly", problem));
        };
        let budget_micro_usd = budget_micro_usd.unwrap_or(BUDGET_MICRO_USD);
        if budget_micro_usd == 0 {
            let problem = "must be above 0; say off in nightly to have none";
            return Err(Problem::new("nightly_budget_micro_usd", problem));
        }
        Ok(Nightly { minute, since_ms: now_ms, budget_micro_usd })
    }

    /// The same as before goes on, so that no night is left out.
    #[must_use]
    pub fn after(self, before: Option<Nightly>) -> Nightly {
        match before.filter(|before| before.minute == self.minute) {
            Some(before) => Nightly { since_ms: before.since_ms, ..self },
            None => self,
        }
    }

    /// The day, counted from 1970, whose run is due: the newest whose minute has come since it was
    /// asked for, unless that one or a later one is done.
    pub fn due(&self, now_ms: u64, done: Option<u64>) -> Option<u64> {
        let at_ms = self.minute * MINUTE_MS;
        let day = now_ms.checked_sub(at_ms)? / DAY_MS;
        let is_asked_for = day * DAY_MS + at_ms >= self.since_ms;
        (is_asked_for && done.is_none_or(|done| done < day)).then_some(day)
    }
}

impl fmt::Display for Nightly {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:02}:{:02}", self.minute / 60, self.minute % 60)
    }
}
