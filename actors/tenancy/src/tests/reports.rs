//! What an edge tells the owner: entries and returns, one report at a time, until written.

use super::amounts;
use super::hand::{Hand, TENANT, only_ask, only_report};
use crate::{
    AllowanceReturn, Amounts, EdgeEffect, EdgeSettings, Entry, EntryId, Report, Reservation,
    TicketId,
};

fn settings() -> EdgeSettings {
    EdgeSettings { report_entries: 2, ..EdgeSettings::default() }
}

fn ids(entries: &[Entry]) -> Vec<EntryId> {
    entries.iter().map(|entry| entry.id).collect()
}

fn names(reservations: &[Reservation]) -> Vec<EntryId> {
    reservations.iter().map(|reservation| reservation.entry).collect()
}

/// What was written, and the report that follows.
fn written(effects: Vec<EdgeEffect>) -> (Vec<EntryId>, Option<Report>) {
    let mut effects = effects.into_iter();
    let Some(EdgeEffect::Written { entries }) = effects.next() else { panic!("nothing written") };
    let next = effects.next().map(|effect| only_report(vec![effect]));
    (entries, next)
}

#[test]
fn one_report_is_under_way_and_what_comes_meanwhile_follows() {
    let mut hand = Hand::holding(100, settings());
    let open = [(); 4].map(|()| hand.reserves("large", 1));
    let first = only_report(hand.settle(&open[0], Some(1)));
    for reservation in &open[1..] {
        assert_eq!(hand.settle(reservation, Some(1)), []);
    }
    assert_eq!(ids(&first.entries), names(&open[..1]));
    let (entries, second) = written(hand.reported(&first, true));
    assert_eq!(entries, names(&open[..1]));
    let second = second.unwrap();
    assert_eq!(ids(&second.entries), names(&open[1..3]), "two at most");
    assert_eq!(hand.book.unwritten(), 3);
    let (entries, third) = written(hand.reported(&second, true));
    assert_eq!(entries, names(&open[1..3]));
    let (entries, none) = written(hand.reported(&third.unwrap(), true));
    assert_eq!((entries, none), (names(&open[3..]), None));
    assert!(hand.book.is_told());
}

#[test]
fn a_report_without_a_word_is_sent_again_with_the_same_ids() {
    let mut hand = Hand::holding(100, settings());
    let open = [(); 2].map(|()| hand.reserves("large", 1));
    let first = only_report(hand.settle(&open[0], Some(1)));
    assert_eq!(hand.reported(&first, false), []);
    assert_eq!(hand.settle(&open[1], Some(1)), [], "not at once");
    assert_eq!(hand.wake(), (Some(hand.at.now_ms + 200), vec![]));
    hand.pass(200);
    let second = only_report(hand.wake().1);
    assert_eq!(second.entries[..1], first.entries[..]);
    assert_eq!(ids(&second.entries), names(&open));
    assert_ne!(second.number, first.number);
    // The first one's word comes late, and is about the first one only.
    assert_eq!(written(hand.reported(&first, true)), (vec![], None));
    assert_eq!(hand.reported(&first, false), []);
    assert_eq!(hand.book.unwritten(), 2);
    assert_eq!(written(hand.reported(&second, true)), (names(&open), None));
}

#[test]
fn a_late_word_clears_nothing_of_a_tenant_that_came_back() {
    let mut hand = Hand::holding(100, settings());
    let reservation = hand.reserves("large", 1);
    let first = only_report(hand.settle(&reservation, Some(1)));
    hand.reported(&first, true);
    hand.pass(2_000);
    let back = only_report(hand.wake().1);
    hand.reported(&back, true);
    assert_eq!(hand.wake(), (None, vec![]), "the tenant is forgotten");

    let ask = hand.asks("large", 1);
    let effects = hand.grants(&ask, 1);
    let [EdgeEffect::Admit { reservation, .. }] = &effects[..] else { panic!("{effects:?}") };
    let third = only_report(hand.settle(reservation, Some(1)));
    for late in [first, back] {
        assert_eq!(written(hand.reported(&late, true)), (vec![], None));
    }
    assert_eq!(written(hand.reported(&third, true)).0, [reservation.entry]);
}

#[test]
fn an_allowance_goes_back_when_its_time_is_over_and_no_request_runs() {
    let mut hand = Hand::holding(100, settings());
    let open = [hand.reserves("large", 30), hand.reserves("large", 30)];
    let id = open[0].allowance.unwrap();
    assert_eq!(hand.wake(), (Some(hand.at.now_ms + 2_000), vec![]));
    hand.pass(2_000);
    assert_eq!(hand.wake(), (None, vec![]), "two requests run on it");
    let report = only_report(hand.settle(&open[0], Some(10)));
    assert_eq!(report.returns, []);
    hand.reported(&report, true);
    let report = only_report(hand.settle(&open[1], Some(40)));
    // 100 tokens less 50; each request is counted once.
    let unused = amounts(98, 50, Amounts::UNLIMITED);
    assert_eq!(report.returns, [AllowanceReturn { id, unused }]);
    assert_eq!(report.entries.len(), 1);
    hand.reported(&report, false);
    hand.pass(200);
    let again = only_report(hand.wake().1);
    assert_eq!((&again.entries, &again.returns), (&report.entries, &report.returns));
    hand.reported(&again, true);
    assert!(hand.book.is_told());
}

#[test]
fn an_allowance_that_is_replaced_goes_back() {
    let mut hand = Hand::holding(100, settings());
    let open = hand.reserves("large", 30);
    let ask = hand.asks("large", 80);
    // The first still has a request.
    let effects = hand.grants(&ask, 200);
    assert!(matches!(effects[..], [EdgeEffect::Admit { .. }]), "{effects:?}");
    let report = only_report(hand.settle(&open, None));
    let id = open.allowance.unwrap();
    let unused = amounts(100, 100, Amounts::UNLIMITED);
    assert_eq!((report.entries, report.returns), (vec![], vec![AllowanceReturn { id, unused }]));
    // The second is untouched by the first one's end: 200 less 80.
    hand.reserves("large", 120);
    hand.asks("large", 1);
}

#[test]
fn leaving_gives_all_back() {
    let mut hand = Hand::holding(100, settings());
    let open = hand.reserves("large", 30);
    let ask = hand.asks("small", 5);
    hand.grants(&ask, 50);
    hand.book.give_up(TENANT, "small", TicketId(3));
    let mut effects = Vec::new();
    hand.book.retire_all(hand.at.now_ms, &mut effects);
    assert_eq!(effects, [], "requests run on both");
    // Nothing is reserved from what is about to go back.
    hand.asks("large", 1);
    let report = only_report(hand.settle(&open, Some(30)));
    let unused = amounts(99, 70, Amounts::UNLIMITED);
    assert_eq!(report.returns, [AllowanceReturn { id: open.allowance.unwrap(), unused }]);
    assert!(!hand.book.is_told());
}

#[test]
fn leaving_idle_gives_all_back_at_once() {
    let mut hand = Hand::holding(100, settings());
    let mut effects = Vec::new();
    hand.book.retire_all(hand.at.now_ms, &mut effects);
    let report = only_report(effects);
    assert_eq!((report.entries.len(), report.returns.len()), (0, 1));
    hand.reported(&report, true);
    assert!(hand.book.is_told());
}

#[test]
fn idle_tenants_are_forgotten() {
    let mut hand = Hand::new(settings());
    // Who is refused leaves nothing behind, whatever its name.
    for number in 0..3 {
        let tenant = format!("tenant-{number}");
        let (_, effects) = hand.reserve_of(&tenant, "large", 9);
        let ask = only_ask(effects);
        hand.book.give_up(&tenant, "large", TicketId(number + 1));
        let (mut effects, mut draw) = (Vec::new(), || 0);
        let answer = Some(Err(super::hand::used_up(0, 50)));
        hand.book.answered(hand.at, &tenant, &ask, answer, &mut draw, &mut effects);
        assert_eq!(effects, []);
    }
    assert_eq!(hand.book.tenants(), 3);
    assert_eq!(hand.wake(), (None, vec![]));
    assert_eq!(hand.book.tenants(), 0);
}
