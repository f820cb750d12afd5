//! The edge's book while the owner answers: reserving, asking, waiting, refusing, settling.

use super::amounts;
use super::hand::{Hand, TENANT, allowance, only_ask, only_report, outcomes, tokens, used_up};
use crate::{Admission, Amounts, EdgeEffect, EdgeSettings, Refusal, TicketId};

fn settings() -> EdgeSettings {
    EdgeSettings::default()
}

#[test]
fn what_an_allowance_covers_is_reserved_without_the_owner() {
    let mut hand = Hand::holding(100, settings());
    let first = hand.reserves("large", 60);
    let second = hand.reserves("large", 40);
    assert_eq!(first.estimate, tokens(60));
    assert!(first.allowance.is_some() && first.allowance == second.allowance);
    assert_ne!(first.entry, second.entry);
    assert!(!first.is_unverified());
    // Nothing is left; another model has an allowance of its own.
    let ask = hand.asks("large", 1);
    let other = hand.asks("small", 1);
    assert_eq!((ask.model.as_str(), other.model.as_str()), ("large", "small"));
    assert_eq!((ask.edge.as_str(), ask.need), ("edge-1", tokens(1)));
    assert_ne!(ask.id, other.id);
}

#[test]
fn one_ask_is_under_way_and_the_next_asks_for_all_that_wait() {
    let mut hand = Hand::new(settings());
    let first = hand.asks("large", 10);
    assert_eq!((first.need, first.want), (tokens(10), tokens(10)));
    hand.waits("large", 20);
    hand.waits("large", 30);
    // It covers the first only: the others need, want, and what was used as much again.
    let effects = hand.grants(&first, 15);
    assert_eq!(outcomes(&effects), (vec![TicketId(1)], vec![]));
    let second = only_ask(effects[1..].to_vec());
    assert_eq!((second.need, second.want), (tokens(20), amounts(3, 60, 0)));
    assert_eq!(hand.grants(&first, 15), [], "a copy of an answer is nobody's");
    let effects = hand.grants(&second, 50);
    assert_eq!(outcomes(&effects), (vec![TicketId(2), TicketId(3)], vec![]));
}

#[test]
fn those_who_wait_come_first() {
    let mut hand = Hand::holding(100, settings());
    let ask = hand.asks("large", 101);
    // It would fit, but came later.
    let second = hand.waits("large", 1);
    let effects = hand.grants(&ask, 300);
    assert_eq!(outcomes(&effects).0, [TicketId(second.0 - 1), second]);
    hand.reserves("large", 198);
    hand.asks("large", 1);
}

#[test]
fn who_gives_up_is_forgotten() {
    let mut hand = Hand::new(settings());
    let ask = hand.asks("large", 10);
    let second = hand.waits("large", 20);
    hand.book.give_up(TENANT, "large", TicketId(1));
    hand.book.give_up(TENANT, "large", TicketId(77));
    hand.book.give_up("nobody", "large", second);
    let effects = hand.grants(&ask, 25);
    assert_eq!(outcomes(&effects), (vec![second], vec![]));
    // All gave up: the allowance stays for the next.
    let ask = hand.asks("large", 10);
    hand.book.give_up(TENANT, "large", TicketId(3));
    let effects = hand.grants(&ask, 25);
    assert!(outcomes(&effects).0.is_empty());
    hand.reserves("large", 25);
}

#[test]
fn used_up_is_refused_until_the_window_ends_and_believed_for_a_moment() {
    let mut hand = Hand::new(settings());
    let ask = hand.asks("large", 50);
    hand.waits("large", 20);
    hand.waits("large", 21);
    hand.pass(100);
    let effects = hand.answered(&ask, Some(Err(used_up(20, 30_000))));
    let (tenant, exhausted) = (TENANT.to_owned(), used_up(20, 30_000));
    let refusal = Refusal::UsedUp { tenant, exhausted, retry_after_ms: 30_000 };
    let refuse = |ticket| EdgeEffect::Refuse { ticket: TicketId(ticket), refusal: refusal.clone() };
    assert_eq!(effects[..2], [refuse(1), refuse(3)]);
    // What is left may be enough for the one in the middle.
    let ask = only_ask(effects[2..].to_vec());
    assert_eq!(ask.need, tokens(20));
    hand.pass(199);
    let Refusal::UsedUp { retry_after_ms, .. } = hand.refuses("large", 21) else {
        panic!("it is used up")
    };
    assert_eq!(retry_after_ms, 29_801);
    hand.waits("large", 20);
    hand.pass(1);
    hand.waits("large", 21);
    // A grant ends the belief, too.
    hand.grants(&ask, 500);
    hand.reserves("large", 400);
}

#[test]
fn a_window_that_ends_ends_the_belief() {
    let mut hand = Hand::new(settings());
    let ask = hand.asks("large", 50);
    assert_eq!(outcomes(&hand.answered(&ask, Some(Err(used_up(0, 5))))).1, [TicketId(1)]);
    hand.pass(4);
    assert!(matches!(hand.refuses("large", 1), Refusal::UsedUp { retry_after_ms: 1, .. }));
    hand.pass(1);
    hand.asks("large", 1);
}

#[test]
fn a_line_that_is_full_refuses() {
    let mut hand = Hand::new(EdgeSettings { waiting_max: 2, ..settings() });
    hand.asks("large", 1);
    hand.waits("large", 1);
    let overloaded = Refusal::Overloaded { retry_after_ms: 200 };
    assert_eq!(hand.refuses("large", 1), overloaded);
    hand.asks("small", 1);
    hand.book.give_up(TENANT, "large", TicketId(1));
    hand.waits("large", 1);
}

#[test]
fn entries_that_pile_up_refuse() {
    let mut hand = Hand::holding(100, EdgeSettings { entries_max: 2, ..settings() });
    let open = [(); 3].map(|()| hand.reserves("large", 1));
    only_report(hand.settle(&open[0], Some(1)));
    assert_eq!(hand.settle(&open[1], Some(1)), []);
    assert_eq!(hand.refuses("large", 1), Refusal::Overloaded { retry_after_ms: 200 });
    // What was admitted before is not lost.
    hand.settle(&open[2], Some(1));
    assert_eq!(hand.book.unwritten(), 3);
}

#[test]
fn settling_refunds_or_takes_more() {
    // Held, estimate and used: what is left, and what nothing covers.
    for (held, estimate, used, left, uncovered) in [
        (100, 60, Some(60), 40, 0),
        (100, 60, Some(10), 90, 0),
        (100, 60, None, 100, 0),
        // Above the estimate: out of the rest while it lasts.
        (100, 60, Some(75), 25, 0),
        (100, 60, Some(100), 0, 0),
        (100, 60, Some(130), 0, 30),
    ] {
        let mut hand = Hand::holding(held, settings());
        let reservation = hand.reserves("large", estimate);
        let effects = hand.settle(&reservation, used);
        if let Some(used) = used {
            let entry = &only_report(effects).entries[0];
            assert_eq!((entry.id, entry.allowance), (reservation.entry, reservation.allowance));
            assert_eq!((entry.used, entry.uncovered), (tokens(used), amounts(0, uncovered, 0)));
            assert_eq!((entry.unverified, entry.at_ms), (false, hand.at.wall_ms));
        } else {
            assert_eq!((effects, hand.book.unwritten()), (vec![], 0));
        }
        if left > 0 {
            hand.reserves("large", left);
        }
        hand.asks("large", 1);
    }
}

#[test]
fn a_unit_without_a_limit_covers_everything() {
    let mut hand = Hand::new(settings());
    let ask = hand.asks("large", 5);
    let endless = Amounts::UNLIMITED;
    let held =
        crate::Allowance { amounts: amounts(endless, endless, endless), ..allowance(&ask, 0) };
    hand.answered(&ask, Some(Ok(held)));
    let reservation = hand.reserves("large", u64::MAX / 2);
    let report = only_report(hand.settle(&reservation, Some(u64::MAX - 1)));
    assert_eq!(report.entries[0].uncovered, Amounts::ZERO);
    hand.reserves("large", u64::MAX - 1);
}

#[test]
fn an_allowance_is_used_no_longer_than_it_is_valid() {
    let mut hand = Hand::new(settings());
    let ask = hand.asks("large", 5);
    // Its time runs from the asking.
    hand.pass(1_500);
    hand.grants(&ask, 100);
    hand.pass(499);
    hand.reserves("large", 5);
    hand.pass(1);
    let ask = hand.asks("large", 5);
    // An answer that is too late is of no use; somebody still waits.
    hand.pass(2_000);
    let effects = hand.grants(&ask, 100);
    let again = only_ask(effects.into_iter().filter(is_ask).collect());
    assert_ne!(again.id, ask.id);
    assert_eq!(outcomes(&hand.grants(&again, 100)).0.len(), 1);
}

fn is_ask(effect: &EdgeEffect) -> bool {
    matches!(effect, EdgeEffect::Ask { .. })
}

#[test]
fn an_answer_to_nobody_changes_nothing() {
    let mut hand = Hand::new(settings());
    let ask = hand.asks("large", 5);
    let stranger = crate::Ask { model: "small".to_owned(), ..ask.clone() };
    assert_eq!(hand.grants(&stranger, 100), []);
    let other = crate::Ask { id: crate::AllowanceId(999), ..ask.clone() };
    assert_eq!(hand.grants(&other, 100), []);
    assert_eq!(hand.reserve("large", 1).0, Admission::Waiting);
}
