//! The edge's book while nobody answers: bounded a minute and in time, marked, and ended.

use super::amounts;
use super::hand::{Hand, TENANT, allowance, only_ask, only_report, outcomes, tokens};
use crate::{Admission, Ask, EdgeEffect, EdgeSettings, Refusal, Reservation, TicketId};

/// Three requests and 30 tokens a minute, for five seconds.
fn settings() -> EdgeSettings {
    EdgeSettings {
        outage_ms: 5_000,
        outage_fallback: amounts(3, 30, u64::MAX),
        ..EdgeSettings::default()
    }
}

fn outage(began: bool) -> EdgeEffect {
    let (tenant, model) = (TENANT.to_owned(), "large".to_owned());
    EdgeEffect::Outage { tenant, model, began }
}

/// A book that has met the tenant's limits never, and has just heard that nobody answers.
fn silent(settings: EdgeSettings) -> Hand {
    let mut hand = Hand::new(settings);
    let ask = hand.asks("large", 1);
    hand.book.give_up(TENANT, "large", TicketId(1));
    assert_eq!(hand.answered(&ask, None), [outage(true)]);
    hand
}

fn admits(hand: &mut Hand, need: u64) -> Reservation {
    match hand.reserve("large", need) {
        (Admission::Reserved(reservation), _) => reservation,
        other => panic!("{other:?}"),
    }
}

fn refuses(hand: &mut Hand, need: u64) -> Refusal {
    match hand.reserve("large", need) {
        (Admission::Refused(refusal), _) => refusal,
        other => panic!("{other:?}"),
    }
}

/// The ask by which the edge finds out whether the owner is back.
fn probe(hand: &mut Hand) -> Ask {
    hand.pass(200);
    only_ask(hand.wake().1)
}

#[test]
fn those_who_wait_are_decided_in_their_order() {
    let mut hand = Hand::new(settings());
    let ask = hand.asks("large", 10);
    hand.waits("large", 25);
    hand.waits("large", 20);
    let effects = hand.answered(&ask, None);
    assert_eq!(effects[0], outage(true));
    assert_eq!(outcomes(&effects), (vec![TicketId(1), TicketId(3)], vec![TicketId(2)]));
    let EdgeEffect::Admit { reservation, .. } = &effects[1] else { panic!("{effects:?}") };
    assert!(reservation.is_unverified());
}

#[test]
fn a_minute_has_a_budget_in_every_unit() {
    let mut hand = silent(settings());
    hand.pass(1_000);
    admits(&mut hand, 20);
    let full = Refusal::Unanswered { retry_after_ms: 59_000 };
    assert_eq!(refuses(&mut hand, 11), full);
    admits(&mut hand, 5);
    admits(&mut hand, 5);
    // Tokens for one more are left of neither, and requests are not either.
    assert_eq!(refuses(&mut hand, 0), full);
}

#[test]
fn the_next_minute_has_a_budget_of_its_own() {
    let mut hand = silent(EdgeSettings { outage_ms: 600_000, ..settings() });
    admits(&mut hand, 30);
    hand.pass(59_999);
    assert_eq!(refuses(&mut hand, 1), Refusal::Unanswered { retry_after_ms: 1 });
    hand.pass(1);
    admits(&mut hand, 30);
}

#[test]
fn an_outage_ends_after_its_time() {
    let mut hand = silent(settings());
    hand.pass(4_999);
    admits(&mut hand, 1);
    hand.pass(1);
    let unanswered = Refusal::Unanswered { retry_after_ms: 200 };
    assert_eq!(refuses(&mut hand, 1), unanswered);
    hand.pass(120_000);
    assert_eq!(refuses(&mut hand, 1), unanswered);
}

#[test]
fn the_budget_is_what_the_last_allowance_said() {
    let mut hand = Hand::new(settings());
    let ask = hand.asks("large", 5);
    let budget = amounts(9, 100, u64::MAX);
    let held = crate::Allowance { outage_budget: budget, ..allowance(&ask, 5) };
    hand.answered(&ask, Some(Ok(held)));
    let ask = hand.asks("large", 100);
    let effects = hand.answered(&ask, None);
    assert_eq!(outcomes(&effects), (vec![TicketId(2)], vec![]));
    assert!(matches!(refuses(&mut hand, 1), Refusal::Unanswered { .. }));
}

#[test]
fn the_budget_of_an_idle_tenant_is_remembered() {
    let mut hand = Hand::new(settings());
    let ask = hand.asks("large", 5);
    let budget = amounts(9, 10, u64::MAX);
    let held = crate::Allowance { outage_budget: budget, ..allowance(&ask, 0) };
    hand.book.give_up(TENANT, "large", TicketId(1));
    hand.answered(&ask, Some(Ok(held)));
    hand.pass(600_000);
    let report = only_report(hand.wake().1);
    hand.reported(&report, true);
    hand.wake();
    assert_eq!(hand.book.tenants(), 0);

    let ask = hand.asks("large", 11);
    hand.waits("large", 10);
    let effects = hand.answered(&ask, None);
    assert_eq!(outcomes(&effects), (vec![TicketId(3)], vec![TicketId(2)]));
}

#[test]
fn what_is_left_of_an_allowance_is_used_as_ever() {
    let mut hand = Hand::holding(50, settings());
    let ask = hand.asks("large", 60);
    hand.answered(&ask, None);
    let covered = admits(&mut hand, 50);
    assert!(!covered.is_unverified());
    let unverified = admits(&mut hand, 30);
    assert!(unverified.is_unverified());
}

#[test]
fn what_was_admitted_is_marked_and_charged_whole() {
    let mut hand = silent(settings());
    let reservation = admits(&mut hand, 10);
    for (used, reservation) in [(Some(25), &reservation), (None, &reservation)] {
        let effects = hand.settle(reservation, used);
        let Some(used) = used else {
            assert_eq!(effects, [], "nothing was used");
            continue;
        };
        let entry = &only_report(effects).entries[0];
        assert!(entry.unverified);
        assert_eq!((entry.used, entry.uncovered), (tokens(used), tokens(used)));
        assert_eq!(entry.allowance, None);
    }
}

#[test]
fn the_owner_is_asked_again_and_again_one_at_a_time() {
    let mut hand = silent(settings());
    for _ in 0..3 {
        assert_eq!(hand.wake(), (Some(hand.at.now_ms + 200), vec![]));
        let ask = probe(&mut hand);
        assert_eq!(ask.need, amounts(0, 0, 0));
        assert_eq!(hand.wake(), (None, vec![]));
        // It began once.
        assert_eq!(hand.answered(&ask, None), []);
    }
}

#[test]
fn an_answer_ends_it() {
    let mut hand = silent(settings());
    admits(&mut hand, 10);
    let ask = probe(&mut hand);
    assert_eq!(hand.grants(&ask, 40), [outage(false)]);
    assert!(!hand.reserves("large", 40).is_unverified());
    // From now on requests wait for an answer again.
    hand.asks("large", 1);

    // That a limit is used up is an answer, too.
    let mut hand = silent(settings());
    let ask = probe(&mut hand);
    let effects = hand.answered(&ask, Some(Err(super::hand::used_up(0, 9_000))));
    assert_eq!(effects, [outage(false)]);
    assert!(matches!(refuses(&mut hand, 1), Refusal::UsedUp { retry_after_ms: 9_000, .. }));
}

#[test]
fn a_second_outage_shares_the_minute_with_the_first() {
    let mut hand = silent(settings());
    let reservation = admits(&mut hand, 20);
    let report = only_report(hand.settle(&reservation, Some(20)));
    hand.reported(&report, true);
    let ask = probe(&mut hand);
    hand.grants(&ask, 0);
    // Long enough for everything to go back and the tenant to be idle.
    hand.pass(2_000);
    let report = only_report(hand.wake().1);
    hand.reported(&report, true);
    let minute_end_ms = hand.at.now_ms + 60_000 - 2_200;
    assert_eq!(hand.wake(), (Some(minute_end_ms), vec![]));

    let ask = hand.asks("large", 11);
    let effects = hand.answered(&ask, None);
    assert_eq!(outcomes(&effects).0, []);
    admits(&mut hand, 10);
    let ask = probe(&mut hand);
    hand.grants(&ask, 0);
    hand.pass(60_000);
    let report = only_report(hand.wake().1);
    hand.reported(&report, true);
    assert_eq!(hand.wake(), (None, vec![]), "a new minute, and nothing to remember");
}
