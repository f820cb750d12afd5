//! Windows against known dates, amounts, and what limits are refused.

use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};

use super::{amounts, limit};
use crate::{Amounts, Limit, LimitProblem, Limits, Unit, Window, date_of_day};

const DAY_MS: u64 = 86_400_000;

#[test]
fn months_against_known_dates() {
    // First day of each month since 1970, as Python's `datetime` counts.
    let table = [
        (1970, 1, 0),
        (1970, 2, 31),
        (1970, 3, 59),
        (1971, 1, 365),
        (1972, 2, 761),
        (1972, 3, 790),
        (1999, 12, 10_926),
        (2000, 1, 10_957),
        (2000, 2, 10_988),
        (2000, 3, 11_017),
        (2023, 3, 19_417),
        (2024, 2, 19_754),
        (2024, 3, 19_783),
        (2025, 1, 20_089),
        (2100, 2, 47_513),
        (2100, 3, 47_541),
        (2400, 3, 157_114),
    ];
    for (year, month, first_day) in table {
        let (first_ms, index) = (first_day * DAY_MS, year * 12 + month - 1);
        assert_eq!(Window::Month.index(first_ms), index, "{year}-{month}");
        assert_eq!(Window::Month.end_ms(index - 1), first_ms, "the month before {year}-{month}");
        assert_eq!(date_of_day(first_day), (year, month, 1));
        assert_eq!(date_of_day(first_day + 27), (year, month, 28));
        if first_ms > 0 {
            assert_eq!(Window::Month.index(first_ms - 1), index - 1, "{year}-{month}");
        }
    }
}

#[test]
fn minutes_and_days() {
    for (window, wall_ms, index, end_ms) in [
        (Window::Minute, 0, 0, 60_000),
        (Window::Minute, 59_999, 0, 60_000),
        (Window::Minute, 60_000, 1, 120_000),
        (Window::Day, 0, 0, DAY_MS),
        (Window::Day, DAY_MS - 1, 0, DAY_MS),
        (Window::Day, 19_782 * DAY_MS, 19_782, 19_783 * DAY_MS),
    ] {
        assert_eq!((window.index(wall_ms), window.end_ms(index)), (index, end_ms), "{window:?}");
    }
}

#[test]
fn no_time_is_too_large() {
    for window in Window::ALL {
        assert!(window.end_ms(window.index(u64::MAX)) > u64::MAX - 32 * DAY_MS, "{window:?}");
        assert!(window.end_ms(u64::MAX) >= window.end_ms(0), "{window:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_window_ends_where_the_next_begins(wall_ms in 0..253_402_300_800_000u64) {
        for window in Window::ALL {
            let index = window.index(wall_ms);
            let end_ms = window.end_ms(index);
            prop_assert!(wall_ms < end_ms);
            prop_assert_eq!(window.index(end_ms - 1), index);
            prop_assert_eq!(window.index(end_ms), index + 1);
            let longest_ms = [60_000, DAY_MS, 31 * DAY_MS][window as usize];
            prop_assert!(end_ms - wall_ms <= longest_ms);
        }
    }
}

#[test]
fn names_go_both_ways() {
    assert_eq!(Window::ALL.map(Window::name), ["minute", "day", "month"]);
    assert_eq!(Window::ALL.map(|window| Window::named(window.name())), Window::ALL.map(Some));
    assert_eq!(Unit::ALL.map(Unit::name), ["requests", "tokens", "micro_usd"]);
    assert_eq!(Unit::ALL.map(|unit| Unit::named(unit.name())), Unit::ALL.map(Some));
    assert_eq!((Window::named("hour"), Unit::named("Tokens")), (None, None));
}

#[test]
fn amounts_stop_at_both_ends() {
    let endless = amounts(Amounts::UNLIMITED, 5, 0);
    assert_eq!(endless.plus(amounts(1, 2, 3)), amounts(Amounts::UNLIMITED, 7, 3));
    assert_eq!(endless.minus(amounts(1, 7, 3)), amounts(Amounts::UNLIMITED, 0, 0));
    assert_eq!(endless.percent(50), amounts(Amounts::UNLIMITED, 2, 0));
    assert_eq!(amounts(0, u64::MAX - 1, 10).percent(100), amounts(0, u64::MAX - 1, 10));
    assert_eq!(endless.at_most(amounts(9, 9, 9)), amounts(9, 5, 0));
    assert_eq!(endless.at_least(amounts(9, 9, 9)), amounts(Amounts::UNLIMITED, 9, 9));
    assert!(endless.covers(amounts(u64::MAX, 5, 0)) && !endless.covers(amounts(0, 6, 0)));
    assert!(Amounts::ZERO.is_zero() && !amounts(0, 0, 1).is_zero());
}

fn check(limits: Vec<Limit>) -> Result<(), LimitProblem> {
    Limits { revision: 0, limits }.check()
}

#[test]
fn limits_are_checked() {
    fn minute(model: Option<&str>, amount: u64) -> Limit {
        limit(model, Unit::Tokens, Window::Minute, amount)
    }
    let distinct = vec![
        minute(None, 0),
        minute(Some("a"), 1),
        minute(Some("b"), 1),
        limit(None, Unit::Tokens, Window::Day, 1),
        limit(None, Unit::Requests, Window::Minute, (1 << 53) - 1),
    ];
    assert_eq!(check(distinct), Ok(()));
    assert_eq!(check(Vec::new()), Ok(()));

    let twice = |model: &str| LimitProblem::Twice {
        place: 2,
        unit: "tokens",
        window: "minute",
        model: model.to_owned(),
    };
    let table = [
        (vec![minute(None, 1), minute(Some("a"), 1), minute(None, 2)], twice("all models")),
        (vec![minute(Some("a"), 1), minute(None, 1), minute(Some("a"), 2)], twice("a")),
        (vec![minute(None, 1 << 53)], LimitProblem::TooLarge { place: 0 }),
        (vec![minute(Some(""), 1)], LimitProblem::Model { place: 0, given_bytes: 0 }),
        (
            vec![minute(Some(&"m".repeat(256)), 1), minute(Some(&"m".repeat(257)), 1)],
            LimitProblem::Model { place: 1, given_bytes: 257 },
        ),
    ];
    for (limits, problem) in table {
        assert_eq!(check(limits), Err(problem));
    }
    assert!(twice("a").to_string().contains("limits[2] counts tokens per minute of a"));
    let many = |count: usize| -> Vec<Limit> {
        (0..count).map(|number| minute(Some(&format!("m{number}")), 1)).collect()
    };
    assert_eq!(check(many(64)), Ok(()));
    assert_eq!(check(many(65)), Err(LimitProblem::TooMany { given: 65 }));
}

#[test]
fn a_model_has_its_own_limits_and_those_of_all() {
    let limits = Limits {
        revision: 0,
        limits: vec![
            limit(Some("a"), Unit::Tokens, Window::Day, 1),
            limit(None, Unit::Tokens, Window::Day, 2),
            limit(Some("b"), Unit::Tokens, Window::Day, 3),
        ],
    };
    for (model, found) in [("a", vec![1, 2]), ("b", vec![2, 3]), ("c", vec![2])] {
        let amounts: Vec<u64> = limits.of_model(model).map(|limit| limit.amount).collect();
        assert_eq!(amounts, found, "{model}");
    }
}
