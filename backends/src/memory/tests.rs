//! The double: effects are counted by call id, and each fault is what it says.

use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use super::{Fault, MemoryBackend};
use crate::{Answer, Backend, BackendError, Content, Invocation};

fn invocation(call: &str) -> Invocation {
    Invocation {
        tool: "deploy".to_owned(),
        version: "1.0.0".to_owned(),
        call: call.to_owned(),
        tenant: "acme".to_owned(),
        session: None,
        arguments: json!({"n": 1}),
        dry_run: false,
        deadline_ms: 1_000,
        output_bytes_max: 1_000,
    }
}

/// `None` for a call that does not end.
async fn call(
    backend: &MemoryBackend,
    invocation: &Invocation,
) -> Option<Result<Answer, BackendError>> {
    timeout(Duration::from_millis(20), backend.call(invocation)).await.ok()
}

#[tokio::test]
async fn every_fault_is_what_it_says() {
    let busy = BackendError::Busy { why: "full".to_owned(), retry_after_ms: 5 };
    let garbage = Content::text("<html>");
    let cases = [
        (Fault::Error(busy.clone()), Some(Err(busy)), 0),
        (
            Fault::LostAnswer,
            Some(Err(BackendError::Unknown { why: "the connection broke off".to_owned() })),
            1,
        ),
        (Fault::HangAfterEffect, None, 1),
        (Fault::Hang, None, 0),
        (Fault::Garbage(garbage.clone()), Some(Ok(garbage)), 1),
    ];
    for (fault, expected, effects) in cases {
        let backend = MemoryBackend::new();
        backend.inject(fault.clone());
        let answer = call(&backend, &invocation("a")).await;
        let content = answer.map(|answer| answer.map(|answer| answer.content));
        assert_eq!(content, expected, "{fault:?}");
        assert_eq!(backend.effects_of("a"), effects, "{fault:?}");
    }
}

#[tokio::test]
async fn a_call_that_is_known_has_one_effect() {
    for (backend, effects) in [(MemoryBackend::new(), 2), (MemoryBackend::new().knows_calls(), 1)] {
        backend.inject(Fault::LostAnswer);
        let lost = call(&backend, &invocation("a")).await.expect("ends").expect_err("lost");
        assert!(!lost.is_without_effect());
        call(&backend, &invocation("a")).await.expect("ends").expect("answers");
        assert_eq!(backend.effects_of("a"), effects);
        assert_eq!(backend.calls().len(), 2);
    }
}

#[tokio::test]
async fn a_dry_run_has_no_effect_and_a_long_answer_is_refused() {
    let backend = MemoryBackend::new();
    let dry = Invocation { dry_run: true, ..invocation("dry") };
    call(&backend, &dry).await.expect("ends").expect("answers");
    let short = Invocation { output_bytes_max: 3, ..invocation("short") };
    let error = call(&backend, &short).await.expect("ends").expect_err("too long");
    assert_eq!(error, BackendError::TooLarge { bytes_max: 3 });
    assert_eq!(backend.effects(), [("short".to_owned(), 1)].into());
}

#[tokio::test]
async fn a_tool_has_its_own_behaviour_and_others_are_not_found() {
    let backend = MemoryBackend::new().with_tool("fail", |_| {
        let content = Content::text("no");
        Ok(Answer { content, is_error: true, bytes_in: 0, bytes_out: 0, reached: Vec::new() })
    });
    let fail = Invocation { tool: "fail".to_owned(), ..invocation("a") };
    assert!(call(&backend, &fail).await.expect("ends").expect("answers").is_error);
    let error = call(&backend, &invocation("b")).await.expect("ends").expect_err("not found");
    assert!(matches!(error, BackendError::NotFound { .. }), "{error}");
}
