//! Calls, their fingerprints, their progress, and every refusal.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    Call, CallEvent, CallResult, CallState, Caller, Charge, Mode, Progress, Refusal, Request,
    ToolReference, canonical_text, sha256_of_text, sha256_of_value,
};

fn request() -> Request {
    Request {
        id: "call-1".to_owned(),
        caller: Caller { team: "red".to_owned(), subject: "key".to_owned(), agent: None },
        session: None,
        tool: ToolReference {
            name: "find".to_owned(),
            version: "1".to_owned(),
            definition_sha256: "d".to_owned(),
        },
        arguments: json!({}),
        mode: Mode::Sync,
        is_dry_run: false,
        timeout_ms: None,
        webhook: None,
    }
}

fn result() -> CallResult {
    CallResult {
        content: json!("found"),
        is_error: false,
        is_cached: false,
        is_fallback: false,
        is_dry_run: false,
        duration_ms: 3,
        cost_microdollars: 7,
        deprecation: None,
    }
}

#[test]
fn a_call_has_a_deadline() {
    for (mode, timeout_ms, expected) in [
        (Mode::Sync, None, 1_000 + 10_000),
        (Mode::Async, None, 1_000 + 600_000),
        (Mode::Sync, Some(1), 1_001),
        (Mode::Sync, Some(600_000), 601_000),
    ] {
        let call = Call::new(Request { mode, timeout_ms, ..request() }, 1_000).unwrap();
        assert_eq!(call.deadline_ms, expected);
        assert_eq!(call.left_ms(1_000), expected - 1_000);
        assert_eq!(call.left_ms(expected + 1), 0);
    }
}

#[test]
fn what_is_wrong_is_named() {
    let webhook = Some("https://a.example".to_owned());
    for (bad, field) in [
        (Request { id: String::new(), ..request() }, "id"),
        (Request { id: "a/b".to_owned(), ..request() }, "id"),
        (Request { id: "a".repeat(129), ..request() }, "id"),
        (Request { arguments: json!([1]), ..request() }, "arguments"),
        (Request { timeout_ms: Some(0), ..request() }, "timeout_ms"),
        (Request { timeout_ms: Some(600_001), ..request() }, "timeout_ms"),
        (Request { webhook: webhook.clone(), ..request() }, "webhook"),
    ] {
        assert_eq!(Call::new(bad, 0).unwrap_err().field, field);
    }
    assert!(Call::new(Request { webhook, mode: Mode::Async, ..request() }, 0).is_ok());
}

#[test]
fn fingerprints_do_not_depend_on_the_order_of_keys() {
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let (one, other) = (
        parse(r#"{"b": [1, {"z": null, "y": "\u00e4\n"}], "a": true, "é": 1.5}"#),
        parse(r#"{"é":1.5,"a":true,"b":[1,{"y":"ä\n","z":null}]}"#),
    );
    let text = r#"{"a":true,"b":[1,{"y":"ä\n","z":null}],"é":1.5}"#;
    assert_eq!(canonical_text(&one), text);
    assert_eq!(sha256_of_value(&one), sha256_of_value(&other));
    for different in [json!({"a": 1}), json!({"a": "1"}), json!({"a": [1]}), json!({"a": null})] {
        assert_ne!(sha256_of_value(&different), sha256_of_value(&json!({"a": 1.5})));
    }
    // FIPS 180-2, appendix B.1.
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(sha256_of_text("abc"), abc);
}

#[test]
fn only_legal_steps_change_an_asynchronous_call() {
    let states = [
        CallState::Queued,
        CallState::Waiting { approval: "a".to_owned() },
        CallState::Running,
        CallState::Done(result()),
        CallState::Failed(Refusal::Unauthenticated),
        CallState::Cancelled { by: "b".to_owned(), may_have_run: false },
        CallState::Expired,
    ];
    let events = [
        CallEvent::Wait { approval: "a".to_owned() },
        CallEvent::Start,
        CallEvent::End(Ok(result())),
        CallEvent::End(Ok(CallResult { is_cached: true, ..result() })),
        CallEvent::End(Err(Refusal::Unauthenticated)),
        CallEvent::Cancel { by: "b".to_owned() },
        CallEvent::Tick,
    ];
    // Before its deadline, and at it; `-` stays as it is, `!` is no legal step.
    let expected = [
        ("queued", "waiting_for_approval running ! done failed cancelled -"),
        ("waiting_for_approval", "! running ! ! failed cancelled -"),
        ("running", "! ! done done failed cancelled -"),
        ("done", "! ! ! ! ! ! -"),
        ("failed", "! ! ! ! ! ! -"),
        ("cancelled", "! ! ! ! ! ! -"),
        ("expired", "! ! ! ! ! ! -"),
    ];
    for (state, (name, row)) in states.iter().zip(expected) {
        assert_eq!(state.name(), name);
        for (event, told) in events.iter().zip(row.split(' ')) {
            let mut progress = Progress { state: state.clone(), ..Progress::new(5, 100) };
            let seen = match progress.take(event.clone(), 99) {
                Ok(false) => "-",
                Ok(true) => progress.state.name(),
                Err(problem) => {
                    assert_eq!(&progress.state, state);
                    assert!(problem.problem.contains(name), "{problem}");
                    "!"
                }
            };
            assert_eq!(seen, told, "{name}, {event:?}");
        }
        let mut late = Progress { state: state.clone(), ..Progress::new(5, 100) };
        let is_open = ["queued", "waiting_for_approval"].contains(&name);
        assert_eq!(late.take(CallEvent::Tick, 100), Ok(is_open));
        assert_eq!(late.state == CallState::Expired, is_open || name == "expired");
    }
}

#[test]
fn a_cancelled_call_tells_whether_it_ran() {
    for (starts, may_have_run) in [(false, false), (true, true)] {
        let mut progress = Progress::new(0, 100);
        if starts {
            progress.take(CallEvent::Start, 1).unwrap();
        }
        progress.take(CallEvent::Cancel { by: "b".to_owned() }, 2).unwrap();
        assert_eq!(progress.state, CallState::Cancelled { by: "b".to_owned(), may_have_run });
        assert_eq!(progress.entered_ms, 2);
    }
    let mut late = Progress::new(0, 100);
    late.take(CallEvent::Start, 100).unwrap();
    assert_eq!(late.state, CallState::Expired);
}

/// Every refusal, with its status and the retry that it names.
fn refusals() -> Vec<(Refusal, u16, Option<u64>)> {
    let text = || "x".to_owned();
    let tool = text;
    vec![
        (Refusal::Unauthenticated, 401, None),
        (Refusal::NotPermitted { who: text(), tool: tool() }, 403, None),
        (Refusal::UnknownTool { tool: tool() }, 404, None),
        (Refusal::Retired { tool: tool(), instead: text() }, 410, None),
        (Refusal::SwitchedOff { tool: tool(), why: text() }, 403, None),
        (Refusal::UnknownSession { session: text() }, 404, None),
        (Refusal::SessionEnded { session: text(), why: text() }, 410, None),
        (Refusal::SessionPaused { session: text() }, 409, None),
        (
            Refusal::SessionBudget {
                session: text(),
                what: "calls_max",
                limit: 1,
                left: 0,
                wanted: 1,
            },
            429,
            None,
        ),
        (Refusal::CallsPerMinute { tool: tool(), retry_after_ms: 5 }, 429, Some(5)),
        (Refusal::MoneyPerDay { tool: tool(), retry_after_ms: 5 }, 429, Some(5)),
        (Refusal::InvalidRequest { field: text(), problem: text() }, 400, None),
        (Refusal::InvalidArguments { tool: tool(), problems: vec![] }, 422, None),
        (Refusal::ArgumentsTooLarge { bytes: 2, bytes_max: 1 }, 413, None),
        (Refusal::IdConflict { id: text(), what: "other arguments" }, 409, None),
        (Refusal::InProgress { id: text(), retry_after_ms: 5 }, 409, Some(5)),
        (Refusal::OutcomeUnknown { id: text(), why: text() }, 502, None),
        (Refusal::NoDryRun { tool: tool() }, 400, None),
        (Refusal::ApprovalNeeded { tool: tool(), approval: text(), expires_ms: 5 }, 428, None),
        (Refusal::ApprovalRefused { approval: text(), by: text(), reason: text() }, 403, None),
        (Refusal::ApprovalExpired { approval: text() }, 410, None),
        (Refusal::ApprovalMismatch { approval: text(), what: "the id" }, 403, None),
        (Refusal::Loop { text: text() }, 409, None),
        (Refusal::BreakerOpen { tool: tool(), retry_after_ms: 5 }, 503, Some(5)),
        (Refusal::Overloaded { what: text(), retry_after_ms: 5 }, 429, Some(5)),
        (Refusal::NoSandbox { tool: tool(), why: text() }, 501, None),
        (Refusal::Unreachable { tool: tool(), why: text(), retry_after_ms: 5 }, 503, Some(5)),
        (Refusal::BackendFailed { tool: tool(), why: text() }, 502, None),
        (Refusal::Deadline { timeout_ms: 5 }, 504, None),
        (Refusal::OutputInvalid { tool: tool(), problem: text() }, 502, None),
        (Refusal::OutputTooLarge { tool: tool(), bytes: 2, bytes_max: 1 }, 502, None),
        (Refusal::OutputBlocked { tool: tool(), what: text() }, 502, None),
        (Refusal::Cancelled { by: text() }, 499, None),
        (Refusal::StorageDown { retry_after_ms: 5 }, 503, Some(5)),
    ]
}

#[test]
fn every_refusal_has_a_word_a_class_and_a_text() {
    let mut codes = BTreeSet::new();
    for (refusal, status, retry_after_ms) in refusals() {
        let code = refusal.code();
        assert!(codes.insert(code), "{code} twice");
        assert_eq!(refusal.class().status(), status, "{code}");
        assert_eq!(refusal.retry_after_ms(), retry_after_ms, "{code}");
        if retry_after_ms.is_some() {
            assert!(refusal.to_string().contains("in 5 ms"), "{refusal}");
        }
        let charged = Charge::of(&Err(refusal.clone()), 7, 1).microdollars;
        assert_eq!(charged, if refusal.may_have_run() { 7 } else { 0 }, "{code}");
        // Whoever is told to try again may: nothing was done.
        assert!(!(refusal.may_have_run() && retry_after_ms.is_some()), "{code}");
    }
    let problems = vec![(String::new(), "is bad".to_owned()), ("/a".to_owned(), "too".to_owned())];
    let told = Refusal::InvalidArguments { tool: "find".to_owned(), problems }.to_string();
    assert_eq!(told, "the arguments do not fit the schema of find: is bad; /a too; mend them");
}

#[test]
fn what_ran_is_charged() {
    for (ending, expected) in [
        (Ok(result()), 7),
        (Ok(CallResult { is_error: true, ..result() }), 7),
        (Ok(CallResult { is_cached: true, ..result() }), 1),
        (Ok(CallResult { is_fallback: true, ..result() }), 1),
        (Ok(CallResult { is_dry_run: true, ..result() }), 0),
    ] {
        assert_eq!(Charge::of(&ending, 7, 1).microdollars, expected, "{ending:?}");
    }
}
