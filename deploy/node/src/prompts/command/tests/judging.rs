//! Judges, labels and proposals.

use serde_json::json;

use super::server::Server;
use super::{bad, good};

#[test]
fn judges_are_compared_and_taken() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let kappa = json!({"estimate": 0.5, "lower": 0.2, "upper": 0.7});
    let drift = json!({"compared": 12, "old_mean": 1.0, "new_mean": 0.75, "difference": -0.25,
        "flips": 3, "flip_share": 0.25, "agreement": {"count": 12, "kappa": kappa}});
    let told = |problems: &[&str]| json!({"id": 4, "golden_version": 3, "judges_of": 2, "drift": drift, "problems": problems});
    let line = ["golden", "check", "--golden-set", "set", "--prompt", "a"];
    server.with(|state| state.refusals.push((201, told(&["3 of 12 verdicts flipped"]))));
    let failure = bad(&server, &folder, &line);
    assert!(failure.message.contains("3 of 12 verdicts flipped; put those of version 2 back"));
    assert!(failure.message.ends_with("golden accept --golden-set set 4`"), "{failure}");
    server.with(|state| state.refusals.push((201, told(&[]))));
    let printed = good(&server, &folder, &[&line[..], &["--budget-micro-usd", "9"]].concat());
    let expected = "check 4 of set: 12 answers, mean 0.750 against 1.000, 3 flipped, kappa 0.500 \
                    (0.200 to 0.700)\nthe judges of version 3 decide\n";
    assert_eq!(printed, expected);
    let bodies = server.bodies("POST", "/v1/golden/set/judge-checks");
    assert_eq!(bodies[1], json!({"prompt": "a", "budget_micro_usd": 9}));
    server.with(|state| state.refusals.push((200, told(&[]))));
    good(&server, &folder, &["golden", "accept", "4", "--golden-set", "set", "--reason", "better"]);
    let bodies = server.bodies("POST", "/judge-checks/4/accept");
    assert_eq!(bodies, [json!({"reason": "better"})]);
}

#[test]
fn answers_are_labelled_and_flags_looked_after() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let answers = |body| server.with(|state| state.refusals.push((200, body)));
    answers(json!({"judge": "exact", "score": 1.0}));
    let printed = good(&server, &folder, &["label", "a", "7", "c1", "fail", "--note", "rude"]);
    assert_eq!(printed, "c1: fail, where exact said 1.0\n");
    let body = json!({"case": "c1", "verdict": "fail", "note": "rude"});
    assert_eq!(server.bodies("POST", "/v1/prompts/a/evals/7/labels"), [body]);
    let flag = json!({"answer": "no\nway", "expected": "yes"});
    let waits = json!({"id": "ab12", "golden_set": "set", "times": 2, "created_ms": 0,
        "flag": flag});
    answers(json!({"data": [waits]}));
    let printed = good(&server, &folder, &["proposals", "list", "a"]);
    assert!(printed.contains("ab12  set") && printed.ends_with("no way  yes\n"), "{printed}");
    answers(json!({"golden_set": "set", "version": 5, "cases": 9}));
    let judge = "{\"type\": \"exact\"}";
    let accept = ["proposals", "accept", "a", "ab12", "--case", "new", "--judge", judge];
    assert_eq!(good(&server, &folder, &accept), "set: version 5 with 9 cases\n");
    let body = json!({"case": "new", "judge": {"type": "exact"}});
    assert_eq!(server.bodies("POST", "/proposals/ab12/accept"), [body]);
    answers(json!({}));
    assert_eq!(good(&server, &folder, &["proposals", "drop", "a", "ab12"]), "ab12: dropped\n");
    let failure = bad(&server, &folder, &["proposals", "drop", "a", "../x"]);
    assert!(failure.message.starts_with("'../x' is no proposal's id"), "{failure}");
    let failure = bad(&server, &folder, &["proposals", "accept", "a", "ab12", "--judge", "{"]);
    assert!(failure.message.starts_with("--judge: is no JSON"), "{failure}");
}
