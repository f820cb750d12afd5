//! What the replica controller does, step by step on a clock of numbers.

use crate::{ScaleSettings, Scaler, Signals};

fn settings() -> ScaleSettings {
    ScaleSettings {
        min_replicas: 1,
        max_replicas: 6,
        target_age_ms: 100,
        busy_percent: 70,
        cool_down_ms: 1_000,
        calm_ms: 5_000,
    }
}

/// Steps of (time in ms, age in ms, busy percent, replicas wanted, replicas loaded, desired).
fn check(settings: ScaleSettings, steps: &[(u64, u64, u32, usize, usize, usize)]) {
    let mut scaler = Scaler::new(settings);
    for (now_ms, oldest_age_ms, busy, wanted_replicas, live_replicas, desired) in steps {
        let signals = Signals {
            oldest_age_ms: *oldest_age_ms,
            busy_share: f64::from(*busy) / 100.0,
            wanted_replicas: *wanted_replicas,
            live_replicas: *live_replicas,
            ..Signals::default()
        };
        assert_eq!(scaler.desired(&signals, *now_ms), *desired, "at {now_ms} ms: {signals:?}");
    }
}

#[test]
fn old_texts_add_replicas_in_proportion_and_at_most_double() {
    check(settings(), &[(0, 150, 100, 2, 2, 3)]);
    check(settings(), &[(0, 900, 100, 2, 2, 4)]);
    check(settings(), &[(0, 900, 100, 4, 4, 6)]);
    check(settings(), &[(0, u64::MAX, 100, 1, 1, 2)]);
}

#[test]
fn nothing_is_added_while_texts_are_young_replicas_idle_or_others_start() {
    check(settings(), &[(0, 100, 100, 2, 2, 2)]);
    check(settings(), &[(0, 900, 60, 2, 2, 2)]);
    check(settings(), &[(0, 900, 100, 2, 1, 2)]);
}

#[test]
fn between_two_changes_there_is_a_pause() {
    check(
        settings(),
        &[
            (0, 200, 100, 1, 1, 2),
            (500, 200, 100, 2, 2, 2),
            (999, 200, 100, 2, 2, 2),
            (1_000, 200, 100, 2, 2, 4),
        ],
    );
}

#[test]
fn a_long_calm_takes_one_replica_at_a_time_down_to_the_least() {
    check(
        settings(),
        &[
            (0, 0, 20, 3, 3, 3),
            (4_999, 0, 20, 3, 3, 3),
            (5_000, 0, 20, 3, 3, 2),
            (5_500, 0, 20, 2, 2, 2),
            (10_499, 0, 20, 2, 2, 2),
            (10_500, 0, 20, 2, 2, 1),
            (60_000, 0, 0, 1, 1, 1),
            (99_000, 0, 0, 1, 1, 1),
        ],
    );
}

#[test]
fn a_calm_that_is_broken_begins_anew() {
    check(
        settings(),
        &[
            (0, 0, 20, 2, 2, 2),
            (4_000, 80, 20, 2, 2, 2),
            (5_000, 0, 20, 2, 2, 2),
            (9_999, 0, 20, 2, 2, 2),
            (10_000, 0, 20, 2, 2, 1),
        ],
    );
    // With one replica less the rest would be above 70 % busy.
    check(settings(), &[(0, 0, 40, 2, 2, 2), (9_000, 0, 40, 2, 2, 2)]);
}

#[test]
fn the_bounds_hold_whatever_the_signals_say() {
    check(settings(), &[(0, 0, 0, 9, 9, 6)]);
    check(ScaleSettings { min_replicas: 3, ..settings() }, &[(0, 0, 0, 1, 1, 3)]);
    let fixed = ScaleSettings::fixed(2);
    check(fixed, &[(0, 9_000, 100, 2, 2, 2), (999_000, 0, 0, 2, 2, 2)]);
}
