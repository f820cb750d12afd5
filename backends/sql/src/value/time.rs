//! Times as ISO 8601 and RFC 3339; the server counts from 2000-01-01.

const DAY_US: i64 = 86_400_000_000;
/// Days from 0000-03-01 to 2000-01-01.
const EPOCH_DAYS: i64 = 730_425;
/// Days of 400 years.
const ERA_DAYS: i64 = 146_097;

/// `2026-12-02`, `infinity` or `-infinity`.
pub(super) fn date(days: i32) -> String {
    match days {
        i32::MAX => "infinity".to_owned(),
        i32::MIN => "-infinity".to_owned(),
        days => day(days.into()),
    }
}

/// `2026-12-02T12:00:00.5` and what says its zone, `infinity` or `-infinity`.
pub(super) fn moment(us: i64, zone: &str) -> String {
    match us {
        i64::MAX => "infinity".to_owned(),
        i64::MIN => "-infinity".to_owned(),
        us => {
            let (days, us) = (us.div_euclid(DAY_US), us.rem_euclid(DAY_US));
            format!("{}T{}{zone}", day(days), of_day(us))
        }
    }
}

/// `12:00:00.5`
pub(super) fn of_day(us: i64) -> String {
    let seconds = us / 1_000_000;
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}{}", fraction(us))
}

/// `P1M2DT3S`: months, days and time, each with its own sign, for none is a number of another.
pub(super) fn span(months: i32, days: i32, us: i64) -> String {
    let mut text = "P".to_owned();
    for (count, unit) in [(months / 12, 'Y'), (months % 12, 'M'), (days, 'D')] {
        if count != 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    if us != 0 || text.len() == 1 {
        let seconds = us / 1_000_000;
        let sign = if us < 0 && seconds == 0 { "-" } else { "" };
        text.push_str(&format!("T{sign}{seconds}{}S", fraction(us)));
    }
    text
}

/// With its point; empty where there is none.
fn fraction(us: i64) -> String {
    match (us % 1_000_000).unsigned_abs() {
        0 => String::new(),
        us => format!(".{us:06}").trim_end_matches('0').to_owned(),
    }
}

/// The day of the Gregorian calendar, whose year is counted from March here, so that a leap day is
/// a year's last.
fn day(since_2000: i64) -> String {
    let days = since_2000 + EPOCH_DAYS;
    let (era, of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / (ERA_DAYS - 1)) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    match year {
        0..=9_999 => format!("{year:04}-{month:02}-{day:02}"),
        _ => format!("{year:+05}-{month:02}-{day:02}"),
    }
}
