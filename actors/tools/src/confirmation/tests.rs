//! Who may approve what, when, and for which call it is good.

use serde_json::json;

use super::{Approval, ApprovalState, Approver, Asked, EXPIRES_MS, TEXT_BYTES};
use crate::call::{Call, Caller, Mode, Refusal, Request, ToolReference};

fn call() -> Call {
    let request = Request {
        id: "call-1".to_owned(),
        caller: Caller {
            team: "red".to_owned(),
            subject: "key-1".to_owned(),
            agent: Some("robot".to_owned()),
        },
        session: Some("s-1".to_owned()),
        tool: ToolReference {
            name: "delete".to_owned(),
            version: "2".to_owned(),
            definition_sha256: "d".to_owned(),
        },
        arguments: json!({"path": "/a"}),
        mode: Mode::Sync,
        is_dry_run: false,
        timeout_ms: None,
        webhook: None,
    };
    Call::new(request, 0).unwrap()
}

fn open() -> Approval {
    Approval::open("approval-1", Asked::of(&call(), "deletes /a"), EXPIRES_MS, 0).unwrap()
}

fn person() -> Approver {
    Approver { team: "red".to_owned(), subject: "anna".to_owned(), agent: None, may_approve: true }
}

#[test]
fn a_given_approval_is_used_once() {
    let mut approval = open();
    assert_eq!(approval.use_for(&call(), 1).unwrap_err().code(), "approval_needed");
    approval.approve(&person(), 5).unwrap();
    approval.approve(&person(), 6).unwrap();
    approval.use_for(&call(), 7).unwrap();
    let used = ApprovalState::Used { by: "anna".to_owned(), at_ms: 7, call: "call-1".to_owned() };
    assert_eq!(approval.state, used);
    // The same call, after its node died; it never expires under it.
    approval.use_for(&call(), 99 * EXPIRES_MS).unwrap();
    assert_eq!(approval.state, used);
    let other = Call { id: "call-2".to_owned(), ..call() };
    assert_eq!(approval.use_for(&other, 8).unwrap_err().code(), "approval_mismatch");
    assert_eq!(approval.refuse(&person(), "no", 9).unwrap_err().field, "approval");
}

#[test]
fn it_is_bound_to_the_call() {
    let change = |change: &dyn Fn(&mut Call)| {
        let mut call = call();
        change(&mut call);
        call
    };
    for (other, expected) in [
        (change(&|call| call.caller.team = "blue".to_owned()), "the team"),
        (change(&|call| call.caller.agent = None), "the agent"),
        (change(&|call| call.session = None), "the session"),
        (change(&|call| call.tool.name = "drop".to_owned()), "the tool"),
        (change(&|call| call.tool.definition_sha256 = "e".to_owned()), "the tool's definition"),
        (change(&|call| call.arguments_sha256 = "f".to_owned()), "an argument"),
        (change(&|call| call.id = "call-2".to_owned()), "the id"),
    ] {
        let mut approval = open();
        approval.approve(&person(), 1).unwrap();
        let before = approval.clone();
        match approval.use_for(&other, 2).unwrap_err() {
            Refusal::ApprovalMismatch { what, .. } => assert_eq!(what, expected),
            refusal => panic!("{refusal:?}"),
        }
        assert_eq!(approval, before);
    }
}

#[test]
fn not_everybody_may_decide() {
    for (approver, expected) in [
        (Approver { team: "blue".to_owned(), ..person() }, "of another team"),
        (Approver { agent: Some("other".to_owned()), ..person() }, "an agent approves no call"),
        (Approver { subject: "key-1".to_owned(), ..person() }, "is who calls"),
        (Approver { may_approve: false, ..person() }, "with that scope"),
    ] {
        let mut approval = open();
        for problem in [
            approval.approve(&approver, 1).unwrap_err(),
            approval.refuse(&approver, "no", 1).unwrap_err(),
        ] {
            assert!(problem.problem.contains(expected), "{problem}");
        }
        assert_eq!(approval, open());
    }
}

#[test]
fn it_expires() {
    let mut approval = open();
    assert!(!approval.tick(EXPIRES_MS - 1));
    assert_eq!(approval.state_at(EXPIRES_MS), ApprovalState::Expired);
    assert!(approval.approve(&person(), EXPIRES_MS).is_err());
    assert!(approval.tick(EXPIRES_MS));
    assert!(!approval.tick(EXPIRES_MS + 1));
    assert_eq!(approval.use_for(&call(), 1).unwrap_err().code(), "approval_expired");

    let mut given = open();
    given.approve(&person(), EXPIRES_MS - 1).unwrap();
    assert!(given.clone().use_for(&call(), 2 * EXPIRES_MS - 2).is_ok());
    assert_eq!(given.use_for(&call(), 2 * EXPIRES_MS - 1).unwrap_err().code(), "approval_expired");
}

#[test]
fn it_may_be_taken_back_until_it_is_used() {
    let mut approval = open();
    approval.approve(&person(), 1).unwrap();
    approval.refuse(&person(), &"é".repeat(TEXT_BYTES), 2).unwrap();
    approval.refuse(&person(), "once more", 3).unwrap();
    let ApprovalState::Refused { reason, at_ms: 2, .. } = &approval.state else {
        panic!("{:?}", approval.state)
    };
    assert_eq!(reason.len(), TEXT_BYTES);
    assert_eq!(approval.use_for(&call(), 4).unwrap_err().code(), "approval_refused");
    assert!(approval.approve(&person(), 5).is_err());
}

#[test]
fn what_is_asked_has_ranges() {
    let asked = Asked::of(&call(), "");
    for (id, after_ms, field) in
        [("", 1, "approval"), ("a b", 1, "approval"), ("a", 0, "expires_after_ms")]
    {
        let problem = Approval::open(id, asked.clone(), after_ms, 0).unwrap_err();
        assert_eq!(problem.field, field);
    }
}
