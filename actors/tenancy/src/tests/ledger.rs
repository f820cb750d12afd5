//! Grants, returns and charges, against numbers worked out by hand.

use super::{amounts, limit};
use crate::{
    AllowanceId, AllowanceRecord, AllowanceReturn, Amounts, Ask, Books, CounterKey, Entry, EntryId,
    Exhausted, GrantSettings, Limit, Limits, Standing, Unit, Window, apply_return, charge, grant,
};

/// 2024-02-29T12:00:30Z: in the middle of a minute, before a month ends.
const NOON_MS: u64 = 1_709_208_030_000;
const ENDLESS: u64 = Amounts::UNLIMITED;

fn books(limits: Vec<Limit>) -> Books {
    Books { limits: Limits { revision: 7, limits }, ..Books::default() }
}

fn ask(id: u128, need: Amounts, want: Amounts) -> Ask {
    Ask { id: AllowanceId(id), edge: "edge-1".to_owned(), model: "large".to_owned(), need, want }
}

fn tokens(window: Window, amount: u64) -> Limit {
    limit(None, Unit::Tokens, window, amount)
}

fn granted(books: &mut Books, ask: &Ask) -> Result<AllowanceRecord, Exhausted> {
    grant(books, None, ask, NOON_MS, &GrantSettings::default())
}

fn counted(books: &Books, limit: &Limit) -> u64 {
    books.counters.get(&CounterKey::of(limit, NOON_MS)).copied().unwrap_or(0)
}

#[test]
fn a_grant_is_a_share_of_the_rest() {
    // Limit, counted before, need, want: what is given.
    for (amount, before, need, want, given) in [
        (800, 0, 10, 1_000, Some(100)),
        (800, 400, 10, 1_000, Some(50)),
        // Rounded up.
        (801, 0, 10, 1_000, Some(101)),
        (3, 0, 0, 1_000, Some(1)),
        // No more than wanted, no less than needed.
        (800, 0, 10, 30, Some(30)),
        (800, 0, 300, 300, Some(300)),
        (800, 500, 300, 300, Some(300)),
        (800, 500, 301, 301, None),
        (800, 800, 0, 50, Some(0)),
        (800, 900, 1, 50, None),
        (0, 0, 1, 1, None),
    ] {
        let limit = tokens(Window::Minute, amount);
        let mut books = books(vec![limit.clone()]);
        books.counters.insert(CounterKey::of(&limit, NOON_MS), before);
        let unchanged = books.clone();
        let found = granted(&mut books, &ask(1, amounts(1, need, 0), amounts(9, want, 0)));
        if let Some(given) = given {
            let allowance = found.unwrap().allowance;
            assert_eq!(allowance.amounts, amounts(ENDLESS, given, ENDLESS));
            assert_eq!(allowance.revision, 7);
            assert_eq!(counted(&books, &limit), before + given);
        } else {
            let remaining = u64::saturating_sub(amount, before);
            let exhausted = Exhausted { limit, remaining, resets_in_ms: 30_000 };
            assert_eq!(found, Err(exhausted));
            assert_eq!(books, unchanged);
        }
    }
}

#[test]
fn the_tightest_limit_decides_and_all_are_counted() {
    let limits = vec![
        tokens(Window::Minute, 800),
        tokens(Window::Day, 400),
        limit(Some("large"), Unit::Tokens, Window::Month, 1_600),
        limit(Some("small"), Unit::Tokens, Window::Minute, 1),
        limit(None, Unit::Requests, Window::Day, 80),
    ];
    let mut books = books(limits.clone());
    let record = granted(&mut books, &ask(1, amounts(1, 5, 5), amounts(99, 999, 999))).unwrap();
    assert_eq!(record.allowance.amounts, amounts(10, 50, ENDLESS));
    let found: Vec<u64> = limits.iter().map(|limit| counted(&books, limit)).collect();
    assert_eq!(found, [50, 50, 50, 0, 10]);
    assert_eq!(record.counters.len(), 4);
    assert_eq!((record.edge.as_str(), record.model.as_str()), ("edge-1", "large"));
    // Any limit in the way refuses all of it.
    let need = amounts(1, 351, 0);
    let exhausted = granted(&mut books, &ask(2, need, need)).unwrap_err();
    assert_eq!((exhausted.limit, exhausted.remaining), (tokens(Window::Day, 400), 350));
    assert_eq!(exhausted.resets_in_ms, 12 * 3_600_000 - 30_000);
    assert_eq!(counted(&books, &limits[0]), 50);
}

#[test]
fn without_limits_there_is_no_bound() {
    let mut books = books(Vec::new());
    let huge = amounts(1, u64::MAX - 1, 1);
    let record = granted(&mut books, &ask(1, huge, huge)).unwrap();
    assert_eq!(record.allowance.amounts, amounts(ENDLESS, ENDLESS, ENDLESS));
    assert_eq!(record.allowance.outage_budget, amounts(ENDLESS, ENDLESS, ENDLESS));
    assert_eq!(record.allowance.valid_ms, 2_000);
    assert!(books.counters.is_empty());
}

#[test]
fn an_ask_that_comes_again_gets_the_same_answer() {
    let limit = tokens(Window::Minute, 800);
    let mut books = books(vec![limit.clone()]);
    let ask = ask(1, amounts(1, 5, 0), amounts(1, 50, 0));
    let first = granted(&mut books, &ask).unwrap();
    books.limits.limits.clear();
    let again = grant(&mut books, Some(&first), &ask, NOON_MS + 900, &GrantSettings::default());
    assert_eq!(again, Ok(first));
    assert_eq!(counted(&books, &limit), 50);
}

#[test]
fn a_grant_is_over_before_its_window() {
    let long = GrantSettings { allowance_ms: 100_000_000, ..GrantSettings::default() };
    let near_midnight_ms = 1_709_251_199_000;
    for (window, settings, wall_ms, valid_ms) in [
        (Window::Minute, GrantSettings::default(), NOON_MS, 2_000),
        (Window::Minute, long, NOON_MS, 30_000),
        (Window::Day, long, NOON_MS, 12 * 3_600_000 - 30_000),
        (Window::Month, long, NOON_MS, 12 * 3_600_000 - 30_000),
        (Window::Day, GrantSettings::default(), near_midnight_ms, 1_000),
        (Window::Month, GrantSettings::default(), near_midnight_ms + 999, 1),
    ] {
        let mut books = books(vec![tokens(window, 800)]);
        let ask = ask(1, amounts(1, 1, 0), amounts(1, 1, 0));
        let record = grant(&mut books, None, &ask, wall_ms, &settings).unwrap();
        assert_eq!(record.allowance.valid_ms, valid_ms, "{window:?}");
        assert_eq!(record.granted_ms, wall_ms);
    }
}

#[test]
fn an_outage_budget_is_a_share_of_the_smallest_limit() {
    for (limits, budget) in [
        (vec![tokens(Window::Minute, 805)], 80),
        (vec![tokens(Window::Minute, 800), tokens(Window::Day, 500)], 50),
        // A tenant with a limit a month has a bound, too.
        (vec![tokens(Window::Month, 90)], 9),
        (vec![tokens(Window::Minute, 9)], 0),
        (vec![limit(Some("small"), Unit::Tokens, Window::Minute, 9)], ENDLESS),
    ] {
        let record = granted(&mut books(limits), &ask(1, Amounts::ZERO, Amounts::ZERO)).unwrap();
        assert_eq!(record.allowance.outage_budget, amounts(ENDLESS, budget, ENDLESS));
    }
}

#[test]
fn a_return_counts_once_and_no_more_than_was_given() {
    let limits = [tokens(Window::Minute, 800), limit(None, Unit::Requests, Window::Day, 80)];
    for (unused, left) in [
        (amounts(0, 0, ENDLESS), [100, 10]),
        (amounts(3, 40, ENDLESS), [60, 7]),
        (amounts(10, 100, 0), [0, 0]),
        (amounts(ENDLESS, 5_000, 0), [0, 0]),
    ] {
        let mut books = books(limits.to_vec());
        let first = granted(&mut books, &ask(1, amounts(1, 1, 0), amounts(99, 999, 0))).unwrap();
        let given_back = AllowanceReturn { id: AllowanceId(1), unused };
        assert!(apply_return(&mut books, Some(&first), &given_back), "the record is dropped");
        assert_eq!([&limits[0], &limits[1]].map(|limit| counted(&books, limit)), left);
        assert!(!apply_return(&mut books, None, &given_back), "there is none");
        assert_eq!([&limits[0], &limits[1]].map(|limit| counted(&books, limit)), left);
    }
}

#[test]
fn a_return_goes_to_the_counters_that_it_came_from() {
    let limit = tokens(Window::Minute, 800);
    let mut books = books(vec![limit.clone()]);
    let first = granted(&mut books, &ask(1, amounts(1, 1, 0), amounts(1, 100, 0))).unwrap();
    // The limits change and the next minute has counted, too.
    books.limits.limits = vec![tokens(Window::Day, 5)];
    let next = CounterKey::of(&limit, NOON_MS + 60_000);
    books.counters.insert(next.clone(), 70);
    let given_back = AllowanceReturn { id: AllowanceId(1), unused: amounts(0, 60, 0) };
    assert!(apply_return(&mut books, Some(&first), &given_back));
    assert_eq!((counted(&books, &limit), books.counters[&next]), (40, 70));
}

#[test]
fn only_what_no_allowance_covered_is_charged_and_once() {
    let limits = [
        tokens(Window::Minute, 10),
        limit(Some("small"), Unit::Tokens, Window::Minute, 10),
        limit(None, Unit::Requests, Window::Month, 10),
    ];
    for (uncovered, stands_already, left) in [
        (Amounts::ZERO, false, [0, 0, 0]),
        (amounts(1, 400, 9), false, [400, 0, 1]),
        (amounts(1, 400, 9), true, [0, 0, 0]),
    ] {
        let mut books = books(limits.to_vec());
        let entry = Entry {
            id: EntryId(1),
            model: "large".to_owned(),
            used: amounts(1, 500, 9),
            uncovered,
            unverified: false,
            allowance: None,
            at_ms: NOON_MS - 1,
        };
        assert_eq!(charge(&mut books, stands_already, &entry, NOON_MS), !stands_already);
        let found: Vec<u64> = limits.iter().map(|limit| counted(&books, limit)).collect();
        assert_eq!(found, left);
    }
}

#[test]
fn a_grant_tells_the_tightest_limit_of_each_unit() {
    let limits = vec![
        tokens(Window::Minute, 800),
        tokens(Window::Day, 10_000),
        limit(Some("other"), Unit::Tokens, Window::Minute, 1),
        limit(None, Unit::Requests, Window::Minute, 40),
    ];
    let mut books = books(limits.clone());
    books.counters.insert(CounterKey::of(&limits[1], NOON_MS), 9_500);
    let record = granted(&mut books, &ask(1, amounts(1, 10, 0), amounts(8, 100, 0)));
    let record = record.expect("there is enough");
    let given = record.allowance.amounts;
    let day_left_ms = Window::Day.end_ms(Window::Day.index(NOON_MS)) - NOON_MS;
    let standing = [
        (Unit::Requests, 40, 40 - given.requests, 30_000),
        (Unit::Tokens, 10_000, 500 - given.tokens, day_left_ms),
    ];
    let standing = standing.map(|(unit, amount, remaining, resets_in_ms)| Standing {
        unit,
        amount,
        remaining,
        resets_in_ms,
    });
    assert_eq!(record.allowance.standing, standing);
}
