//! A tenant's limits, and the windows in which they count.

use std::collections::BTreeSet;

use crate::amounts::Unit;

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;
/// Days from 1 March of year 0 to 1 January 1970.
const DAYS_BEFORE_1970: u64 = 719_468;
/// Most limits of one tenant.
const LIMITS_MAX: usize = 64;
/// Longest name of a model in a limit: all of a tenant's limits must fit into one row, and each
/// name into a key.
const MODEL_BYTES_MAX: usize = 256;

/// A stretch of UTC time at whose end a limit counts from zero again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Window {
    /// For bursts.
    Minute,
    /// For spend.
    Day,
    /// The hard limit.
    Month,
}

impl Window {
    pub const ALL: [Window; 3] = [Window::Minute, Window::Day, Window::Month];

    /// The name in settings, records and errors.
    pub fn name(self) -> &'static str {
        match self {
            Window::Minute => "minute",
            Window::Day => "day",
            Window::Month => "month",
        }
    }

    pub fn named(name: &str) -> Option<Window> {
        Window::ALL.into_iter().find(|window| window.name() == name)
    }

    /// Which window of its kind holds this time, in ms since 1970. Months count from year 0.
    pub fn index(self, wall_ms: u64) -> u64 {
        match self {
            Window::Minute => wall_ms / MINUTE_MS,
            Window::Day => wall_ms / DAY_MS,
            Window::Month => month_of_day(wall_ms / DAY_MS),
        }
    }

    /// When the window of this index ends, in ms since 1970.
    pub fn end_ms(self, index: u64) -> u64 {
        match self {
            Window::Minute => index.saturating_add(1).saturating_mul(MINUTE_MS),
            Window::Day => index.saturating_add(1).saturating_mul(DAY_MS),
            Window::Month => first_day_of_month(index.saturating_add(1)).saturating_mul(DAY_MS),
        }
    }
}

/// Year, month (1 to 12) and day of the month of a day since 1970.
pub fn date_of_day(day: u64) -> (u64, u64, u64) {
    let month = month_of_day(day);
    let day_of_month = day.saturating_sub(first_day_of_month(month)) + 1;
    (month / 12, month % 12 + 1, day_of_month)
}

/// Year × 12 + month (0 to 11) of a day since 1970.
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
fn month_of_day(day: u64) -> u64 {
    let shifted = day + DAYS_BEFORE_1970;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // The year begins in March here.
    let month = (5 * day_of_year + 2) / 153;
    let year = year_of_era + era * 400 + u64::from(month >= 10);
    year * 12 + (month + 2) % 12
}

/// The inverse of [`month_of_day`]: the first day of a month, since 1970.
/// Source: as there, `days_from_civil`.
fn first_day_of_month(index: u64) -> u64 {
    let (year, month) = (index / 12, index % 12 + 1);
    let year = year.saturating_sub(u64::from(month <= 2));
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era.saturating_mul(146_097).saturating_add(day_of_era).saturating_sub(DAYS_BEFORE_1970)
}

/// At most so much of a unit in each window.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Limit {
    /// Counts requests to this model only; `None` counts all.
    pub model: Option<String>,
    pub unit: Unit,
    pub window: Window,
    pub amount: u64,
}

/// All limits of one tenant. No limit means no bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Grows with every change.
    pub revision: u64,
    pub limits: Vec<Limit>,
}

/// Why limits make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitProblem {
    #[error("there are {given} limits; at most {LIMITS_MAX} are allowed for one tenant")]
    TooMany { given: usize },
    #[error(
        "limits[{place}] counts {unit} per {window} of {model} a second time; keep one of them"
    )]
    Twice { place: usize, unit: &'static str, window: &'static str, model: String },
    #[error(
        "limits[{place}].model has {given_bytes} bytes, 1 to {MODEL_BYTES_MAX} are allowed; leave \
         it out to count all models"
    )]
    Model { place: usize, given_bytes: usize },
    #[error("limits[{place}].amount is too large; at most 9007199254740991 is allowed")]
    TooLarge { place: usize },
}

impl Limits {
    /// Amounts above this are not exact in every JSON reader.
    const AMOUNT_MAX: u64 = (1 << 53) - 1;

    /// Checks what types cannot say.
    ///
    /// # Errors
    /// The first problem, with its place in the list.
    pub fn check(&self) -> Result<(), LimitProblem> {
        if self.limits.len() > LIMITS_MAX {
            return Err(LimitProblem::TooMany { given: self.limits.len() });
        }
        let mut seen = BTreeSet::new();
        for (place, limit) in self.limits.iter().enumerate() {
            if limit.amount > Limits::AMOUNT_MAX {
                return Err(LimitProblem::TooLarge { place });
            }
            let given_bytes = limit.model.as_ref().map_or(1, String::len);
            if !(1..=MODEL_BYTES_MAX).contains(&given_bytes) {
                return Err(LimitProblem::Model { place, given_bytes });
            }
            if !seen.insert((&limit.model, limit.unit, limit.window)) {
                return Err(LimitProblem::Twice {
                    place,
                    unit: limit.unit.name(),
                    window: limit.window.name(),
                    model: limit.model.clone().unwrap_or_else(|| "all models".to_owned()),
                });
            }
        }
        Ok(())
    }

    /// The limits that count a request to this model.
    pub fn of_model(&self, model: &str) -> impl Iterator<Item = &Limit> {
        self.limits.iter().filter(move |limit| {
            limit.model.as_deref().is_none_or(|limited| {
                limited == model
                    && !crate::mutants::planted(crate::mutants::Mutant::ModelLimitSkipped)
            })
        })
    }
}
