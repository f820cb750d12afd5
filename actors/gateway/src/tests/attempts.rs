//! Which try comes next.

use crate::{Attempts, Failure, RetrySettings, Step};

const LIMITED: Failure = Failure::Limited { retry_after_ms: Some(700) };

/// Fails one try after the other, `each_ms` apart; the targets asked and the last pause.
fn run(targets: usize, failures: &[Failure], each_ms: u64) -> (Vec<usize>, Vec<u64>, bool) {
    let mut attempts = Attempts::new(RetrySettings::default(), targets, 1_000);
    let (mut now_ms, mut step) = (1_000, attempts.first());
    let (mut asked, mut pauses) = (Vec::new(), Vec::new());
    for failure in failures {
        let Step::Try { target, after_ms } = step else { return (asked, pauses, true) };
        asked.push(target);
        pauses.push(after_ms);
        now_ms += after_ms + each_ms;
        // The longest pause that the jitter allows.
        step = attempts.failed(target, *failure, now_ms, u64::MAX - 1);
    }
    (asked, pauses, step == Step::GiveUp)
}

#[test]
fn other_targets_are_asked_at_once_and_then_the_one_that_is_ready_first() {
    let (asked, pauses, _) =
        run(3, &[Failure::Broken, LIMITED, Failure::Broken, Failure::Broken], 0);
    assert_eq!(asked, [0, 1, 2, 0]);
    assert_eq!(pauses[..3], [0, 0, 0]);
    assert!(pauses[3] <= 100, "{pauses:?}");
}

#[test]
fn a_request_at_fault_is_tried_once_and_a_target_at_fault_is_left_out() {
    assert_eq!(run(3, &[Failure::Refused], 0), (vec![0], vec![0], true));
    let (asked, _, gave_up) = run(2, &[Failure::Misconfigured, Failure::Misconfigured], 0);
    assert_eq!((asked, gave_up), (vec![0, 1], true));
    let (asked, ..) = run(2, &[Failure::Misconfigured, Failure::Broken, Failure::Broken], 0);
    assert_eq!(asked, [0, 1, 1]);
    assert_eq!(run(0, &[Failure::Broken], 0), (vec![], vec![], true));
}

#[test]
fn a_target_that_is_left_alone_is_no_try_and_waited_for_within_the_budget_only() {
    let one = RetrySettings { tries: 1, ..RetrySettings::default() };
    let mut attempts = Attempts::new(one, 2, 0);
    assert_eq!(attempts.skipped(0, 1_000, 0), Step::Try { target: 1, after_ms: 0 });
    assert_eq!(attempts.tries(), 0);
    assert_eq!(attempts.failed(1, Failure::Broken, 0, 0), Step::GiveUp);
    let mut alone = Attempts::new(RetrySettings::default(), 1, 0);
    assert_eq!(alone.skipped(0, 4_000, 0), Step::Try { target: 0, after_ms: 4_000 });
    assert_eq!(alone.skipped(0, 2_000, 4_000), Step::GiveUp);
}

#[test]
fn what_a_target_says_of_its_pause_is_heeded_within_the_budget() {
    let (asked, pauses, _) = run(1, &[LIMITED, LIMITED], 0);
    assert_eq!((asked, pauses), (vec![0, 0], vec![0, 700]));
    let long = Failure::Limited { retry_after_ms: Some(5_001) };
    assert!(run(1, &[long], 0).2, "waits longer than the budget");
    let fits = Failure::Limited { retry_after_ms: Some(4_999) };
    assert!(!run(1, &[fits], 0).2);
}

#[test]
fn a_request_is_given_up_after_its_budget_and_after_its_tries() {
    let broken = [Failure::Broken; 20];
    let (asked, pauses, gave_up) = run(1, &broken, 0);
    assert!(gave_up && asked.len() == 8, "{asked:?}");
    assert!(pauses.iter().sum::<u64>() <= 5_000);
    let (asked, _, gave_up) = run(1, &broken, 3_000);
    assert!(gave_up && asked.len() == 2, "{asked:?}");
}
