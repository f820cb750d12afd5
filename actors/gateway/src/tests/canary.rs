//! Canaries that are as good, and such that are not.

use crate::{CanaryWatch, Party};

/// Numbers below a million that look drawn (a linear congruence; Knuth's MMIX constants).
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % 1_000_000
    }

    fn strikes(&mut self, share: f64) -> bool {
        (self.next() as f64) < share * 1_000_000.0
    }
}

/// A side: its share of failures, and the times of its answers in ms, from and to.
type Habit = (f64, u64, u64);

/// After how many requests of the canary it is taken back, and why.
fn taken_back(seed: u64, canary: Habit, others: Habit) -> Option<(u64, String)> {
    let (mut draws, mut watch) = (Draws(seed), CanaryWatch::default());
    let mut asked = 0;
    for _ in 0..20_000 {
        let party = if draws.strikes(0.1) { Party::Canary } else { Party::Others };
        let (fails, from, to) = if party == Party::Canary { canary } else { others };
        asked += u64::from(party == Party::Canary);
        if draws.strikes(fails) {
            watch.failed(party);
        } else {
            watch.begun(party, from + draws.next() % (to - from));
        }
        if let Some(reason) = watch.verdict() {
            return Some((asked, reason));
        }
    }
    None
}

#[test]
fn one_that_is_as_good_stays_whoever_looks_after_every_request() {
    for habit in [(0.0, 100, 200), (0.01, 100, 1_000), (0.1, 5, 50), (0.3, 10, 20)] {
        let condemned = (0..50).filter(|seed| taken_back(*seed, habit, habit).is_some()).count();
        // The others' share is itself an estimate, so a few more than one in a thousand may go.
        assert!(condemned <= 2, "{condemned} of 50 with {habit:?}");
    }
    let better = (0..50).filter(|seed| taken_back(*seed, (0.0, 10, 20), (0.1, 100, 200)).is_some());
    assert_eq!(better.count(), 0);
}

#[test]
fn one_that_is_worse_is_taken_back_soon() {
    let good = (0.01, 100, 200);
    for (canary, most, word) in [
        ((1.0, 100, 200), 10, "failed"),
        ((0.3, 100, 200), 150, "failed"),
        ((0.15, 100, 200), 400, "failed"),
        ((0.01, 400, 900), 40, "began after"),
        ((0.01, 150, 250), 400, "began after"),
    ] {
        for seed in 0..20 {
            let (asked, reason) = taken_back(seed, canary, good).expect("it is worse");
            assert!(asked <= most, "{canary:?}: after {asked}");
            assert!(reason.contains(word), "{reason}");
        }
    }
}

#[test]
fn nothing_is_said_of_few() {
    let mut watch = CanaryWatch::default();
    for _ in 0..19 {
        watch.begun(Party::Others, 10);
    }
    for _ in 0..50 {
        watch.failed(Party::Canary);
    }
    assert_eq!(watch.verdict(), None, "the others are not known");
    let mut watch = CanaryWatch::default();
    for _ in 0..100 {
        watch.begun(Party::Others, 10);
    }
    for _ in 0..4 {
        watch.failed(Party::Canary);
        assert_eq!(watch.verdict(), None);
    }
    watch.begun(Party::Canary, 10);
    watch.broke_off(Party::Canary);
    assert!(watch.verdict().expect("5 failed").contains("100.0 % of 5 requests"));
}
