//! Tests of what the engine does before any guest.

use headwater_sandbox::{EngineError, Execution, Limits};

use crate::engine::call::{check, input};
use crate::engine::template::changes;

fn execution() -> Execution {
    Execution {
        source: "print(1)".to_owned(),
        arguments: vec!["a".to_owned()],
        environment: vec![
            ("KEY".to_owned(), "old".to_owned()),
            ("KEY".to_owned(), "new".to_owned()),
        ],
        input: b"given".to_vec(),
        files: Vec::new(),
        collect: Vec::new(),
        limits: Limits::SMALL,
    }
}

#[test]
fn calls_are_checked_before_they_run() {
    check(&execution(), &Limits::SMALL).unwrap();
    let wide = Execution { limits: Limits::LARGE, ..execution() };
    let huge = Execution { input: vec![0; 65 << 20], ..execution() };
    assert!(matches!(check(&wide, &Limits::SMALL), Err(EngineError::Limit(_))));
    assert!(matches!(check(&huge, &Limits::SMALL), Err(EngineError::Unsupported { .. })));
    for (name, value) in [("", "x"), ("a=b", "x"), ("a\0", "x"), ("a", "x\0")] {
        let environment = vec![(name.to_owned(), value.to_owned())];
        let call = Execution { environment, ..execution() };
        let error = check(&call, &Limits::SMALL).unwrap_err();
        assert!(matches!(error, EngineError::Unsupported { .. }), "{name:?}: {error}");
    }
}

#[test]
fn a_guest_reads_the_call_and_then_its_own_input() {
    let bytes = input(&execution());
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let call: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    assert_eq!(call["environment"]["KEY"], "new");
    assert_eq!((&call["source"], &call["arguments"][0]), (&"print(1)".into(), &"a".into()));
    assert_eq!(&bytes[8 + length..], b"given");
}

#[test]
fn a_template_has_the_pages_that_changed() {
    let before = vec![7; 3 * 4_096];
    let mut after = before.clone();
    after.resize(6 * 4_096, 0);
    assert_eq!(changes(&before, &after), []);
    after[5_000] = 8;
    after[3 * 4_096] = 1;
    after[4 * 4_096] = 2;
    let found = changes(&before, &after);
    let shown: Vec<(usize, usize)> = found.iter().map(|(at, bytes)| (*at, bytes.len())).collect();
    assert_eq!(shown, [(4_096, 4_096), (3 * 4_096, 2 * 4_096)]);
    let mut again = [before, vec![0; 3 * 4_096]].concat();
    for (at, bytes) in found {
        again[at..at + bytes.len()].copy_from_slice(&bytes);
    }
    assert!(again == after);
}
