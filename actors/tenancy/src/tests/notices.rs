//! Which thresholds are reached, by the counters alone.

use super::limit;
use crate::{Books, CounterKey, Limit, Limits, Thresholds, Unit, Window, reached};

/// Within 15 July 2026.
const NOW_MS: u64 = 1_784_109_600_000;

fn thresholds() -> Thresholds {
    Thresholds::new([100, 50, 80]).expect("all are percentages")
}

fn books(limits: &[(Limit, u64)]) -> Books {
    let counters =
        limits.iter().map(|(limit, taken)| (CounterKey::of(limit, NOW_MS), *taken)).collect();
    let limits = limits.iter().map(|(limit, _)| limit.clone()).collect();
    Books { limits: Limits { revision: 1, limits }, counters }
}

/// Percentages of this limit that are told when so much is taken of it.
fn told(of: &Limit, taken: u64, is_refused: bool) -> Vec<u8> {
    let refused = if is_refused { vec![of.clone()] } else { Vec::new() };
    let notices = reached(&books(&[(of.clone(), taken)]), &refused, thresholds(), NOW_MS);
    notices.into_iter().map(|notice| notice.key.percent).collect()
}

#[test]
fn every_threshold_that_is_reached_is_told_and_none_before() {
    let day = limit(None, Unit::Tokens, Window::Day, 1_000);
    for (taken, expected) in [
        (0, vec![]),
        (499, vec![]),
        (500, vec![50]),
        (799, vec![50]),
        (800, vec![50, 80]),
        (999, vec![50, 80]),
        (1_000, vec![50, 80, 100]),
        (u64::MAX, vec![50, 80, 100]),
    ] {
        assert_eq!(told(&day, taken, false), expected, "{taken}");
    }
    let odd = limit(None, Unit::Requests, Window::Month, 3);
    assert_eq!(told(&odd, 1, false), [0; 0]);
    assert_eq!(told(&odd, 2, false), [50]);
}

#[test]
fn a_refusal_tells_the_whole_limit_when_hardly_anything_is_left() {
    let month = limit(Some("large"), Unit::MicroUsd, Window::Month, 1_000);
    assert_eq!(told(&month, 899, true), [50, 80], "a large request does not fit, smaller ones do");
    assert_eq!(told(&month, 900, true), [50, 80, 100]);
    assert_eq!(told(&month, 900, false), [50, 80]);
}

#[test]
fn minutes_earlier_windows_and_limits_of_nothing_are_not_told() {
    let minute = limit(None, Unit::Tokens, Window::Minute, 100);
    assert_eq!(told(&minute, 100, true), [0; 0]);
    assert_eq!(told(&limit(None, Unit::Tokens, Window::Day, 0), 5, true), [0; 0]);
    let day = limit(None, Unit::Tokens, Window::Day, 100);
    let later_ms = NOW_MS + 24 * 60 * 60 * 1000;
    assert_eq!(reached(&books(&[(day.clone(), 100)]), &[], thresholds(), later_ms), []);
    assert_eq!(reached(&books(&[(day, 100)]), &[], Thresholds::NONE, NOW_MS), []);
}

#[test]
fn a_notice_names_its_limit_and_the_end_of_its_window() {
    let day = limit(Some("large"), Unit::Requests, Window::Day, 10);
    let month = limit(None, Unit::Requests, Window::Month, 100);
    let both = books(&[(day.clone(), 5), (month, 5)]);
    let notices = reached(&both, &[], thresholds(), NOW_MS);
    let [notice] = notices.as_slice() else { panic!("{notices:?}") };
    assert_eq!(notice.key.counter, CounterKey::of(&day, NOW_MS));
    assert_eq!((notice.key.percent, notice.amount, notice.taken), (50, 10, 5));
    assert_eq!(notice.resets_ms, Window::Day.end_ms(Window::Day.index(NOW_MS)));
}

#[test]
fn thresholds_are_percentages_in_rising_order() {
    assert_eq!(thresholds().iter().collect::<Vec<_>>(), [50, 80, 100]);
    assert_eq!(Thresholds::new([1, 1, 100]).map(|all| all.iter().count()), Some(2));
    assert_eq!(Thresholds::new([0]), None);
    assert_eq!(Thresholds::new([101]), None);
    assert!(Thresholds::NONE.is_empty() && !thresholds().is_empty());
}
