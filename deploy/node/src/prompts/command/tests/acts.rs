//! Looking, promoting, measuring.

use std::fs;

use serde_json::{Value, json};

use super::server::{Server, refusal};
use super::{bad, chat, good, run};
use crate::failure::FailureKind;

fn promotion(stage: &str, is_auto: bool, states: [&str; 2]) -> Value {
    json!({"id": 12, "version": 2, "from": 1, "by": "ann", "reason": "clearer", "auto": is_auto,
        "stage": stage, "waiting_for": "", "override": null, "gates": [
            {"gate": "fast_eval", "state": states[0], "detail": "0.97 of 0.95"},
            {"gate": "guard", "state": states[1], "detail": "0.80 of 0.95"},
        ], "steps": [{"at_ms": 1, "what": "begun"}, {"at_ms": 2, "what": "ended by bob"}]})
}

fn looks(server: &Server, in_order: &[Value]) {
    server.with(|state| state.looks = in_order.iter().rev().cloned().collect());
}

#[test]
fn waiting_tells_each_gate_once_and_fails_with_the_promotion() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let begun = promotion("fast_eval", true, ["running", "waiting"]);
    let guard = promotion("guard", true, ["passed", "running"]);
    let line = ["promote", "a", "--version", "2", "--reason", "r", "--auto", "--wait"];
    let ends = [
        ("done", "passed"),
        ("rolled_back", "failed"),
        ("stopped", "failed"),
        ("withdrawn", "waiting"),
    ];
    for (stage, state) in ends {
        let end = promotion(stage, true, ["passed", state]);
        looks(&server, &[begun.clone(), begun.clone(), guard.clone(), guard.clone(), end]);
        let (printed, ended) = run(&server, &folder, &line);
        assert_eq!(printed.matches("fast_eval   0.97").count(), 1, "{printed}");
        assert_eq!(ended.is_ok(), stage == "done", "{stage}");
        if let Err(failure) = ended {
            let why = if state == "failed" { "guard failed, 0.80 of 0.95" } else { "ended by bob" };
            let expected = format!("was {}: {why}", stage.replace('_', " "));
            assert!(failure.message.contains(&expected), "{failure}");
        }
    }
    let body = &server.bodies("POST", "/promotions")[0];
    assert_eq!(*body, json!({"version": 2, "reason": "r", "auto": true}));
}

#[test]
fn waiting_outlives_a_restart_of_the_node() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let guard = promotion("guard", false, ["passed", "running"]);
    looks(&server, &[promotion("done", false, ["passed", "passed"])]);
    // The last is the answer to the post, and the next look meets a node that starts.
    let down = refusal(503, "the store is down", None);
    server.with(|state| state.refusals = vec![down, (200, guard)]);
    let printed = good(&server, &folder, &["promote", "a", "12", "--wait", "--json"]);
    let told: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(told["stage"], "done");
    assert_eq!(server.bodies("POST", "/promotions/12/promote"), [json!({})]);
    assert_eq!(server.bodies("GET", "/promotions/12").len(), 2);
}

#[test]
fn what_is_ready_waits_for_somebody_unless_it_goes_on_by_itself() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let line = ["promote", "a", "--version", "2", "--reason", "r", "--canary", "10", "--wait"];
    looks(&server, &[promotion("ready", false, ["passed", "waiting"])]);
    let printed = good(&server, &folder, &line);
    assert!(printed.ends_with("ready\n"), "{printed}");
    assert_eq!(server.bodies("POST", "/promotions")[0]["canary_per_mille"], 10);
    let done = promotion("done", true, ["passed", "passed"]);
    looks(&server, &[promotion("ready", true, ["passed", "waiting"]), done]);
    assert!(good(&server, &folder, &line).ends_with("done\n"));
}

#[test]
fn promotions_are_acted_upon() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let mut asked = promotion("fast_eval", false, ["running", "waiting"]);
    asked["override"] = json!({"by": "ann", "reason": "urgent", "approved_by": null});
    looks(&server, &[asked]);
    let printed = good(&server, &folder, &["override", "a", "12", "--reason", "urgent"]);
    assert!(printed.contains("override asked for by ann (urgent); it takes a second"), "{printed}");
    assert_eq!(server.bodies("POST", "/12/override"), [json!({"reason": "urgent"})]);
    for what in ["approve", "withdraw"] {
        looks(&server, &[promotion("done", false, ["passed", "passed"])]);
        good(&server, &folder, &[what, "a", "12"]);
        assert_eq!(server.bodies("POST", &format!("/12/{what}")), [json!({})]);
    }
    server.with(|state| state.refusals.push((200, json!({"production": 1}))));
    let printed = good(&server, &folder, &["rollback", "a", "--to", "1", "--reason", "worse"]);
    assert_eq!(printed, "a: version 1 serves again\n");
    assert_eq!(server.bodies("POST", "/rollback"), [json!({"reason": "worse", "to_version": 1})]);
}

#[test]
fn an_error_is_told_with_its_field_and_kind() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let cases = [
        (
            refusal(400, "must be 0 to 2", Some("model.temperature")),
            FailureKind::Broken,
            "model.temperature: must be 0 to 2",
        ),
        (
            refusal(409, "promotion: is under way", Some("promotion")),
            FailureKind::Conflict,
            "promotion: is under way",
        ),
        (refusal(503, "the store is down", None), FailureKind::Unavailable, "the store is down"),
        (refusal(403, "your role is viewer", None), FailureKind::Broken, "your role is viewer"),
    ];
    for (answer, kind, message) in cases {
        server.with(|state| state.refusals.push(answer));
        let failure = bad(&server, &folder, &["rollback", "a", "--reason", "r"]);
        assert_eq!((failure.kind, failure.message.as_str()), (kind, message));
    }
    for other in [json!([]), json!("x"), json!({"error": "x"})] {
        server.with(|state| state.refusals.push((502, other)));
        assert!(bad(&server, &folder, &["versions", "a"]).message.contains("502"));
    }
    server.with(|state| state.refusals.push((500, Value::Null)));
    assert!(bad(&server, &folder, &["versions", "a"]).message.contains("500"));
    assert!(bad(&server, &folder, &["history", "A/b"]).message.contains("is no name"));
    assert!(
        bad(&server, &folder, &["list", "--team", "a&b"]).message.contains("is no team's name")
    );
}

#[test]
fn lists_have_every_page_and_go_to_the_team() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    for name in ["a", "b", "c", "d", "e"] {
        server.commit(name, chat("x"));
    }
    let printed = good(&server, &folder, &["list"]);
    assert_eq!(printed.lines().count(), 6, "{printed}");
    assert!(printed.starts_with("name  newest  production"), "{printed}");
    let told: Value = serde_json::from_str(&good(&server, &folder, &["list", "--json"])).unwrap();
    assert_eq!(told["data"].as_array().unwrap().len(), 5);
    let printed = good(&server, &folder, &["versions", "a"]);
    assert!(printed.contains("by the test") && printed.contains("2026-"), "{printed}");
    let printed = good(&server, &folder, &["show", "a"]);
    assert!(printed.contains("--- system\nx\n--- user\n"), "{printed}");
    let told: Value =
        serde_json::from_str(&good(&server, &folder, &["show", "a", "--version", "1", "--json"]))
            .unwrap();
    assert_eq!(told["document"], chat("x"));
    server.with(|state| state.refusals.push((200, json!({"data": [], "next_after": null}))));
    good(&server, &folder, &["list", "--team", "acme"]);
    assert_eq!(server.bodies("GET", "/v1/prompts?team=acme").len(), 1);
    let moved = json!({"number": 3, "pointer": "production", "from": null, "to": 5, "by": "ann",
        "at_ms": 0, "reason": "a\u{1b}[31m\nb", "promotion": 12});
    server.with(|state| state.refusals.push((200, json!({"data": [moved]}))));
    let printed = good(&server, &folder, &["history", "a"]);
    assert!(printed.ends_with("ann  a [31m b\n"), "{printed:?}");
}

#[test]
fn variables_are_json_or_texts() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let line = [
        "render", "a", "--var", "n=5", "--var", "t=a=b", "--var", "s=\"5\"", "--var", "l=[1]",
        "--user", "u", "--label", "staging",
    ];
    let printed = good(&server, &folder, &line);
    assert_eq!(printed, "{\"l\":[1],\"n\":5,\"s\":\"5\",\"t\":\"a=b\"}\n");
    let body = &server.bodies("POST", "/render")[0];
    assert_eq!((&body["user"], &body["label"]), (&json!("u"), &json!("staging")));
    assert!(body.get("version").is_none());
}

#[test]
fn golden_sets_go_through_files() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let cases =
        json!([{"id": "b", "expected": "x\ny", "weight": 1.0}, {"id": "a", "expected": "ü"}]);
    server.with(|state| state.golden.insert("set".to_owned(), (3, cases.clone())));
    let pull = ["golden", "pull", "@/s.jsonl", "--golden-set", "set"];
    let push = ["golden", "push", "@/s.jsonl", "--golden-set", "set"];
    assert_eq!(good(&server, &folder, &pull), "set: 2 cases of version 3\n");
    assert_eq!(good(&server, &folder, &push), "set: nothing to write since version 3\n");
    let file = folder.path().join("s.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    fs::write(&file, format!("{}\n{{\"id\": \"c\"}}\n", text.replace("x\\ny", "z"))).unwrap();
    let failure = bad(&server, &folder, &pull);
    assert!(failure.message.contains("1 added, 0 removed, 1 changed"), "{failure}");
    let stale = bad(&server, &folder, &[&push[..], &["--expect", "2"]].concat());
    assert_eq!(stale.kind, FailureKind::Conflict);
    let printed = good(&server, &folder, &[&push[..], &["--expect", "3"]].concat());
    assert_eq!(printed, "set: version 4 with 3 cases: 1 added, 0 removed, 1 changed\n");
    assert_eq!(server.bodies("PUT", "/set")[0]["expected_version"], 3);
    good(&server, &folder, &["golden", "push", "@/s.jsonl", "--golden-set", "new"]);
    fs::write(&file, "{\"id\": \"a\"}\n\n{\"id\": \"a\"}\n").unwrap();
    assert!(
        bad(&server, &folder, &push)
            .message
            .ends_with("s.jsonl:3: the id 'a' stands in line 1, too; give another")
    );
    fs::write(&file, "{\"id\": \"a\"}\n{\n").unwrap();
    assert!(bad(&server, &folder, &push).message.contains("s.jsonl:2: is no JSON"));
    good(&server, &folder, &[&pull[..], &["--force"]].concat());
}

#[test]
fn evals_are_waited_for_and_printed() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let eval = |state: &str, score: Value, results: Value| {
        json!({"id": 3, "version": 2, "golden_set": "set", "golden_version": 4, "state": state,
            "score": score, "cases": 1, "finished": 0, "cost_micro_usd": 210, "results": results})
    };
    let result = json!([{"case": "c1", "score": 1.0, "passed": true, "reason": "holds it",
        "latency_ms": 400, "cost_micro_usd": 210}]);
    let running = eval("running", Value::Null, json!([]));
    let line = ["eval", "a", "--version", "2", "--golden-set", "set"];
    let waits = [&line[..], &["--wait", "--limit", "5"]].concat();
    looks(&server, &[running.clone(), running.clone(), eval("done", json!(1.0), result)]);
    let printed = good(&server, &folder, &waits);
    assert!(
        printed.contains("over set (version 4): done") && printed.contains("score 1.000"),
        "{printed}"
    );
    assert!(
        printed.contains("c1    1.000  yes     400 ms   0.000210 dollars  holds it\n"),
        "{printed}"
    );
    assert_eq!(
        server.bodies("POST", "/evals"),
        [json!({"version": 2, "golden_set": "set", "limit": 5})]
    );
    looks(&server, &[running.clone(), eval("stopped", Value::Null, json!([]))]);
    assert!(bad(&server, &folder, &waits).message.contains("was stopped after 0 of 1 cases"));
    looks(&server, &[running]);
    assert!(good(&server, &folder, &line).ends_with("see `headwater prompts evals a 3`\n"));
    looks(&server, &[json!({"estimate": {"cases": 1, "micro_usd": 215, "tokens": 640}})]);
    let printed = good(&server, &folder, &[&line[..], &["--dry-run"]].concat());
    assert_eq!(printed, "1 cases, about 640 tokens and 0.000215 dollars\n");
}
