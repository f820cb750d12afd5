//! What is refused before a call, and how an end is read.

use headwater_sandbox::{Ended, EngineError, Execution, Limits};
use serde_json::json;

use super::{GIVEN_BYTES_MAX, check, ended_of};

fn execution() -> Execution {
    Execution::new("pass", Limits::SMALL)
}

#[test]
fn a_call_stays_within_its_slot() {
    let small = Limits::SMALL;
    let rows = [
        (small, None),
        (Limits { wall_ms: small.wall_ms + 1, ..small }, Some("wall_ms")),
        (Limits { cpu_milli: 2_000, ..small }, Some("cpu_milli")),
        (Limits { output_bytes: 1, ..small }, Some("output_bytes")),
    ];
    for (limits, field) in rows {
        let found = match check("any", &Execution { limits, ..execution() }, &small) {
            Ok(()) => None,
            Err(EngineError::Limit(error)) => Some(error.field),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(found, field);
    }
}

#[test]
fn what_cannot_be_given_is_told() {
    let mut rows = vec![Execution { input: vec![0; GIVEN_BYTES_MAX], ..execution() }];
    for (name, value) in [("", "a"), ("a=b", "c"), ("a\0", "b"), ("a", "\0")] {
        let environment = vec![(name.to_owned(), value.to_owned())];
        rows.push(Execution { environment, ..execution() });
    }
    for row in rows {
        let error = check("any", &row, &Limits::SMALL).unwrap_err();
        assert!(matches!(error, EngineError::Unsupported { .. }), "{error}");
    }
}

#[test]
fn an_end_is_one_of_four() {
    let rows = [
        (json!({"ended": "exit", "number": 3}), Some(Ended::Exit(3))),
        (json!({"ended": "signal", "number": 11}), Some(Ended::Signal(11))),
        (json!({"ended": "cpu"}), Some(Ended::CpuTime)),
        (json!({"ended": "memory"}), Some(Ended::Memory)),
        (json!({"ended": "exit"}), None),
        (json!({"ended": "exit", "number": u64::MAX}), None),
        (json!({"ended": "well"}), None),
        (json!(null), None),
    ];
    for (told, expected) in rows {
        assert_eq!(ended_of(&told), expected, "{told}");
    }
}
