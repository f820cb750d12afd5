//! Days of the calendar, in UTC.

use std::fmt;
use std::str::FromStr;

use crate::problem::{Problem, short};

const DAY_MS: u64 = 86_400_000;
/// The last day that four digits of a year can write: 9999-12-31.
const LAST: u32 = 2_932_896;

/// A day from 1970-01-01 to 9999-12-31, written `2027-03-31`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    /// Since 1970-01-01.
    days: u32,
}

impl Date {
    /// The day on which this many milliseconds since 1970 are over.
    pub fn of_ms(now_ms: u64) -> Date {
        let days = u32::try_from(now_ms / DAY_MS).unwrap_or(LAST);
        Date { days: days.min(LAST) }
    }

    /// When the day begins, in seconds since 1970.
    pub fn begins_seconds(self) -> u64 {
        u64::from(self.days) * 86_400
    }

    /// Days from this day to the other; negative when that one is before.
    pub fn days_to(self, other: Date) -> i64 {
        i64::from(other.days) - i64::from(self.days)
    }

    /// Year, month and day of the month, by the algorithm of Howard Hinnant for the Gregorian
    /// calendar.
    fn parts(self) -> (u32, u32, u32) {
        let shifted = self.days + 719_468;
        let era = shifted / 146_097;
        let day_of_era = shifted % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + u32::from(month <= 2);
        (year, month, day)
    }

    fn of_parts(year: u32, month: u32, day: u32) -> Option<Date> {
        if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day)
        {
            return None;
        }
        let shifted_year = year - u32::from(month <= 2);
        let era = shifted_year / 400;
        let year_of_era = shifted_year % 400;
        let shifted_month = if month > 2 { month - 3 } else { month + 9 };
        let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let date = Date { days: (era * 146_097 + day_of_era).checked_sub(719_468)? };
        // The 31st of a shorter month would be a day of the next one.
        (date.parts() == (year, month, day)).then_some(date)
    }

    /// The last second of the day, as a header of HTTP writes it.
    pub(crate) fn last_second(self) -> String {
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let (year, month, day) = self.parts();
        let weekday = DAYS[(self.days % 7) as usize];
        let month = MONTHS.get(month as usize - 1).unwrap_or(&"Jan");
        format!("{weekday}, {day:02} {month} {year} 23:59:59 GMT")
    }
}

impl fmt::Display for Date {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.parts();
        write!(out, "{year:04}-{month:02}-{day:02}")
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for Date {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Date, Problem> {
        let digits = |text: &str, count: usize| {
            let good = text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
            if good { text.parse::<u32>().ok() } else { None }
        };
        let parts: Vec<&str> = text.split('-').collect();
        let date = match parts.as_slice() {
            [year, month, day] => digits(year, 4)
                .zip(digits(month, 2))
                .zip(digits(day, 2))
                .and_then(|((year, month), day)| Date::of_parts(year, month, day)),
            _ => None,
        };
        date.ok_or_else(|| {
            let problem = format!(
                "'{}' is no day from 1970-01-01 to 9999-12-31; write it as in 2027-03-31",
                short(text)
            );
            Problem::new("date", problem)
        })
    }
}
