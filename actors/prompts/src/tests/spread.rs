//! Batches of a run: who gets them, who loses them, and when it ends.

use crate::spread::{BATCH_CASES, BATCH_MS, Claim, LEAD_MS, Next, Spread};

const LEAD: u64 = 1;

fn spread(cases: usize, budget: Option<u64>) -> Spread {
    Spread::new(cases, budget, LEAD, 0)
}

fn claim(next: Next) -> Claim {
    match next {
        Next::Claim(claim) => claim,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_case_is_in_one_batch() {
    for cases in [1, BATCH_CASES - 1, BATCH_CASES, BATCH_CASES + 1, 3 * BATCH_CASES, 2_000] {
        let batches = cases.div_ceil(BATCH_CASES);
        let places: Vec<usize> =
            (0..batches).flat_map(|batch| Spread::places(cases, batch)).collect();
        assert_eq!(places, (0..cases).collect::<Vec<_>>());
        assert!(Spread::places(cases, batches).is_empty());
    }
}

#[test]
fn a_batch_is_one_processes_until_it_is_silent() {
    let mut run = spread(2 * BATCH_CASES, None);
    let first = claim(run.claim(LEAD, 0));
    let second = claim(run.claim(2, 0));
    assert_eq!((first.batch, second.batch), (0, 1));
    assert_eq!(run.claim(3, 0), Next::Wait);
    // Who has one already gets the same again, and what it was told before counts no more.
    let again = claim(run.claim(2, 1));
    assert_eq!((again.batch, again.epoch), (1, 2));
    assert!(!run.renew(2, second, 2) && run.renew(2, again, 10_000));
    // The lead's runs out, since it said nothing of it.
    assert!(run.renew(LEAD, first, 20_000));
    assert_eq!(run.claim(3, 10_000 + BATCH_MS - 1), Next::Wait);
    let taken = claim(run.claim(3, 10_000 + BATCH_MS));
    assert_eq!(taken, Claim { batch: 1, epoch: 3 });
    // Whoever had it cannot end it any more.
    run.finish(2, again, 40_500);
    assert!(!run.renew(2, again, 41_000) && run.renew(3, taken, 41_000));
    run.finish(3, taken, 41_500);
    run.finish(LEAD, first, 41_500);
    assert!(run.is_over());
    assert_eq!(run.claim(3, 42_000), Next::Over);
}

#[test]
fn a_run_without_its_lead_ends() {
    let mut run = spread(2 * BATCH_CASES, None);
    let other = claim(run.claim(2, LEAD_MS - 1));
    assert_eq!((run.claim(3, LEAD_MS), run.lost_ms(LEAD_MS + 5)), (Next::Over, 5));
    assert!(!run.renew(2, other, LEAD_MS));
    // Any word of it is enough.
    claim(run.claim(LEAD, LEAD_MS));
    assert!(run.renew(2, other, LEAD_MS));
    assert!(!run.is_over());
}

#[test]
fn nobody_begins_a_batch_once_the_budget_is_used_up() {
    let mut run = spread(3 * BATCH_CASES, Some(100));
    let (one, two) = (claim(run.claim(LEAD, 0)), claim(run.claim(2, 0)));
    run.pay(99);
    assert!(!run.is_spent() && run.renew(2, two, 1));
    run.finish(LEAD, one, 1);
    claim(run.claim(LEAD, 1));
    run.pay(2);
    assert!(run.is_spent() && run.is_over());
    assert!(!run.renew(2, two, 2));
    assert_eq!((run.claim(LEAD, 2), run.claim(3, 2)), (Next::Over, Next::Over));
    assert_eq!(run.spent_micro_usd(), 101);
    let mut stopped = spread(1, None);
    stopped.stop("first".to_owned());
    stopped.stop("second".to_owned());
    assert_eq!(stopped.claim(LEAD, 0), Next::Over);
    assert_eq!(stopped.stopped(), Some("first"));
}
