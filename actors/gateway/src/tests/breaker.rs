//! When a breaker opens and closes.

use crate::{Breaker, BreakerSettings};

fn breaker() -> Breaker {
    Breaker::new(BreakerSettings::default())
}

fn fail(breaker: &mut Breaker, now_ms: u64, times: u32) {
    for _ in 0..times {
        breaker.report(now_ms, false);
    }
}

#[test]
fn failures_in_a_row_open_it_and_a_trial_closes_it() {
    let mut breaker = breaker();
    fail(&mut breaker, 0, 4);
    breaker.report(0, true);
    fail(&mut breaker, 0, 4);
    assert!(breaker.is_closed() && breaker.admit(0));
    fail(&mut breaker, 10, 1);
    assert!(!breaker.admit(10) && breaker.wait_ms(10) == 1_000);
    assert!(breaker.admit(1_010), "the trial passes");
    assert!(!breaker.admit(1_011), "and nothing beside it");
    breaker.report(1_050, true);
    assert!(breaker.is_closed() && breaker.admit(1_050) && breaker.admit(1_050));
}

#[test]
fn a_failed_trial_opens_it_for_twice_as_long_up_to_a_limit() {
    let mut breaker = breaker();
    fail(&mut breaker, 0, 5);
    let mut now_ms = 0;
    for expected in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
        assert_eq!(breaker.wait_ms(now_ms), expected);
        now_ms += expected;
        assert!(breaker.admit(now_ms));
        fail(&mut breaker, now_ms, 1);
    }
}

#[test]
fn a_trial_that_says_nothing_makes_room_for_another() {
    let mut breaker = breaker();
    fail(&mut breaker, 0, 5);
    assert!(breaker.admit(1_000));
    breaker.give_back(1_001);
    assert!(breaker.admit(1_001), "its client left");
    assert!(!breaker.admit(31_000));
    assert!(breaker.admit(31_001), "it hangs");
}

#[test]
fn a_share_of_failures_opens_it_too_within_its_window() {
    let mut breaker = breaker();
    for number in 0..19 {
        breaker.report(0, number % 2 == 0);
    }
    assert!(breaker.is_closed());
    breaker.report(0, false);
    assert!(!breaker.is_closed());
    let mut slow = self::breaker();
    for number in 0..100 {
        slow.report(number * 1_000, number % 2 == 0);
    }
    assert!(slow.is_closed(), "never so many in one window");
}
