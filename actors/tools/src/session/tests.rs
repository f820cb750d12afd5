//! What a session lets through, and drawn uses of one with its invariants looked at after each.

use std::collections::BTreeMap;

use super::{Session, SessionBudget, Standing, TraceStep};
use crate::call::Refusal;
use crate::draws::Draws;

fn budget() -> SessionBudget {
    SessionBudget {
        calls_max: 3,
        iterations_max: 2,
        microdollars_max: 100,
        wall_ms_max: 1_000,
        scratchpad_bytes: 20,
        scratchpad_keys: 2,
        trace_steps: 2,
        idle_ttl_ms: 500,
        ttl_ms: 5_000,
    }
}

fn session(budget: SessionBudget) -> Session {
    Session::new("s-1", "red", "key", Some("robot"), budget, 0).unwrap()
}

fn limit_of(refusal: &Refusal) -> (&'static str, u64, u64) {
    match refusal {
        Refusal::SessionBudget { what, left, wanted, .. } => (what, *left, *wanted),
        refusal => panic!("{refusal:?}"),
    }
}

#[test]
fn what_is_reserved_counts() {
    let mut session = session(budget());
    session.reserve("a", 60, 900, 1).unwrap();
    // Once more, after its node died.
    session.reserve("a", 60, 900, 1).unwrap();
    let refusal = session.reserve("b", 41, 900, 1).unwrap_err();
    assert_eq!(limit_of(&refusal), ("microdollars_max", 40, 41));
    assert!(refusal.to_string().contains("microdollars_max of 100: 40 left, 41 wanted"));
    session.reserve("b", 40, 900, 1).unwrap();
    assert!(session.refund("b") && !session.refund("b"));
    assert!(session.settle("a", 10, 2) && !session.settle("a", 10, 2));
    session.reserve("c", 90, 900, 3).unwrap();
    session.reserve("d", 0, 900, 3).unwrap();
    let refusal = session.reserve("e", 0, 900, 3).unwrap_err();
    assert_eq!(limit_of(&refusal), ("calls_max", 0, 1));
    // One that costs more than was reserved for it is counted whole, and nothing more gets through.
    session.settle("c", 200, 4);
    session.refund("d");
    let refusal = session.reserve("f", 1, 900, 4).unwrap_err();
    assert_eq!(limit_of(&refusal), ("microdollars_max", 0, 1));
    let parts = session.parts();
    assert_eq!((parts.calls, parts.spent_microdollars, parts.over_microdollars), (2, 210, 110));
    session.check().unwrap();
}

#[test]
fn a_call_that_nobody_settles_is_charged() {
    let mut session = session(budget());
    session.reserve("a", 60, 300, 1).unwrap();
    session.reserve("b", 10, 301, 1).unwrap();
    assert_eq!(session.tick(299), Vec::<String>::new());
    assert_eq!(session.tick(300), ["a"]);
    assert_eq!(session.parts().spent_microdollars, 60);
    assert!(!session.settle("a", 5, 302));
}

#[test]
fn rounds_and_time_are_bounded() {
    let mut session = session(SessionBudget { idle_ttl_ms: 5_000, ..budget() });
    session.iterate(1).unwrap();
    session.iterate(2).unwrap();
    assert_eq!(limit_of(&session.iterate(3).unwrap_err()), ("iterations_max", 0, 1));
    session.pause(400).unwrap();
    session.pause(500).unwrap();
    let refusal = session.reserve("a", 0, 9_000, 600).unwrap_err();
    assert_eq!(refusal, Refusal::SessionPaused { session: "s-1".to_owned() });
    assert_eq!(session.wall_ms(3_000), 400);
    session.resume(3_000).unwrap();
    assert_eq!(session.left(3_100).wall_ms, 500);
    session.reserve("a", 0, 9_000, 3_599).unwrap();
    let refusal = session.reserve("b", 0, 9_000, 3_600).unwrap_err();
    assert_eq!(limit_of(&refusal), ("wall_ms_max", 0, 1));
}

#[test]
fn it_ends_by_itself() {
    // (is it paused, does it have a call under way, when it is looked at, does it go on)
    for (is_paused, has_call, at_ms, goes_on) in [
        (false, false, 499, true),
        (false, false, 500, false),
        (false, true, 4_999, true),
        (false, true, 5_000, false),
        (true, false, 4_999, true),
        (true, false, 5_000, false),
    ] {
        let mut session = session(budget());
        if has_call {
            session.reserve("a", 0, 9_000, 0).unwrap();
        }
        if is_paused {
            session.pause(0).unwrap();
        }
        session.tick(at_ms);
        let is_ended = matches!(session.standing(), Standing::Ended { .. });
        assert_eq!(is_ended, !goes_on, "{is_paused} {has_call} {at_ms}");
        if !goes_on {
            for refusal in [
                session.reserve("b", 0, 9_000, at_ms).unwrap_err(),
                session.iterate(at_ms).unwrap_err(),
                session.pause(at_ms).unwrap_err(),
                session.resume(at_ms).unwrap_err(),
                session.put_scratch("a", vec![], at_ms).unwrap_err(),
                session.delete_scratch("a", at_ms).unwrap_err(),
            ] {
                assert_eq!(refusal.code(), "session_ended");
            }
            assert!(!session.end("once more", at_ms));
            // What was under way is counted all the same.
            assert_eq!(session.settle("a", 5, at_ms), has_call);
        }
    }
    let mut ended = session(budget());
    assert!(ended.end("closed by anna", 3));
    let refusal = ended.reserve("a", 0, 9, 4).unwrap_err();
    assert!(refusal.to_string().contains("closed by anna"), "{refusal}");
}

#[test]
fn the_scratchpad_has_room_and_says_how_much() {
    let mut session = session(budget());
    let told = |refusal: Refusal| match refusal {
        Refusal::InvalidRequest { field, problem } => format!("{field}: {problem}"),
        refusal => panic!("{refusal:?}"),
    };
    session.put_scratch("plan", vec![1; 10], 1).unwrap();
    let problem = told(session.put_scratch("b", vec![1; 6], 1).unwrap_err());
    assert_eq!(
        problem,
        "value: \"b\" needs 7 bytes with its key, and 6 of 20 are free; delete keys, or write less"
    );
    session.put_scratch("b", vec![1; 5], 1).unwrap();
    let problem = told(session.put_scratch("c", vec![], 1).unwrap_err());
    assert!(problem.starts_with("value: \"c\" needs 1"), "{problem}");
    session.put_scratch("plan", vec![2; 3], 1).unwrap();
    let problem = told(session.put_scratch("c", vec![], 1).unwrap_err());
    assert!(problem.starts_with("key: \"c\" is one too many"), "{problem}");
    assert_eq!(session.scratch("plan"), Some(&[2, 2, 2][..]));
    assert_eq!(session.scratch_keys(None, 9), [("b", 5), ("plan", 3)]);
    assert_eq!(session.scratch_keys(Some("b"), 9), [("plan", 3)]);
    assert_eq!(session.scratch_keys(None, 1), [("b", 5)]);
    assert_eq!(session.delete_scratch("b", 1), Ok(true));
    assert_eq!(session.delete_scratch("b", 1), Ok(false));
    assert_eq!(session.left(1).scratchpad_bytes, 13);
    for key in ["", "a\nb", &"k".repeat(257)] {
        assert!(told(session.put_scratch(key, vec![], 1).unwrap_err()).starts_with("key: must"));
    }
}

#[test]
fn the_trace_keeps_the_newest_steps() {
    let mut session = session(budget());
    for number in 0..5 {
        session.note(TraceStep {
            at_ms: number,
            kind: "call".to_owned(),
            call: None,
            tool: None,
            text: "é".repeat(400),
            duration_ms: 0,
            microdollars: 0,
        });
    }
    let kept: Vec<u64> = session.trace().steps().map(|step| step.at_ms).collect();
    assert_eq!((kept, session.trace().dropped()), (vec![3, 4], 3));
    assert!(session.trace().steps().all(|step| step.text.len() == 500));
}

#[test]
fn parts_that_are_no_session_are_told() {
    let mut full = session(budget());
    full.put_scratch("a", vec![1], 1).unwrap();
    full.reserve("c", 1, 9, 1).unwrap();
    let parts = full.parts();
    assert_eq!(Session::from_parts(parts.clone()).unwrap(), full);
    let mut bad = parts.clone();
    bad.calls = 3;
    assert_eq!(Session::from_parts(bad).unwrap_err().problem, "calls are 4, 3 allowed");
    let mut bad = parts.clone();
    bad.spent_microdollars = 100;
    assert!(Session::from_parts(bad).unwrap_err().problem.contains("microdollars are 101"));
    let mut bad = parts;
    bad.budget.ttl_ms = 0;
    assert_eq!(Session::from_parts(bad).unwrap_err().field, "ttl_ms");
    assert!(Session::new("", "red", "key", None, budget(), 0).is_err());
}

#[test]
fn whatever_comes_the_cap_holds() {
    let mut full = 0;
    for seed in 0..3_000 {
        let mut draws = Draws::new(seed);
        let is_honest = draws.percent(70);
        let mut session = session(SessionBudget {
            calls_max: draws.below(40),
            iterations_max: draws.below(20),
            microdollars_max: draws.below(300),
            ..SessionBudget { wall_ms_max: 100_000, ttl_ms: 100_000, ..budget() }
        });
        // What is known to be under way, and what was spent, counted apart.
        let mut held: BTreeMap<String, u64> = BTreeMap::new();
        let (mut spent, mut calls, mut now_ms) = (0, 0, 0);
        for number in 0..100 {
            now_ms += draws.below(20);
            let keys: Vec<String> = held.keys().cloned().collect();
            match draws.below(10) {
                0..5 => {
                    let (call, estimate) = (format!("c-{number}"), draws.below(40));
                    let expires_ms = now_ms + draws.below(200);
                    if session.reserve(&call, estimate, expires_ms, now_ms).is_ok() {
                        held.insert(call, estimate);
                    } else {
                        full += 1;
                    }
                }
                5..7 => {
                    if let Some(call) = draws.one_of(&keys) {
                        let most = if is_honest { held[call] } else { 90 };
                        let cost = draws.below(most + 1);
                        if session.settle(call, cost, now_ms) {
                            held.remove(call);
                            (spent, calls) = (spent + cost, calls + 1);
                        }
                    }
                }
                7 => {
                    if let Some(call) = draws.one_of(&keys)
                        && session.refund(call)
                    {
                        held.remove(call);
                    }
                }
                8 if draws.percent(30) => drop(session.pause(now_ms)),
                8 => drop(session.resume(now_ms)),
                _ => drop(session.iterate(now_ms)),
            }
            // Reservations whose time is over were charged by whatever looked at the session.
            let kept = session.parts().reservations;
            for (call, estimate) in held.clone() {
                if !kept.contains_key(&call) {
                    held.remove(&call);
                    (spent, calls) = (spent + estimate, calls + 1);
                }
            }
            session.check().unwrap();
            let parts = session.parts();
            assert_eq!((parts.spent_microdollars, parts.calls), (spent, calls), "seed {seed}");
            assert_eq!(parts.reservations.len(), held.len(), "seed {seed}");
            let whole = spent + held.values().sum::<u64>();
            assert!(!is_honest || whole <= parts.budget.microdollars_max, "seed {seed}");
            assert_eq!(Session::from_parts(parts).unwrap(), session);
        }
    }
    assert!(full > 10_000, "only {full} refusals");
}
