//! The official openai SDK against a node with a key: vectors, usage and every refusal.

use std::path::Path;
use std::process::Command;

use headwater_tests::clients::python;
use headwater_tests::node::{MODEL, NodeProcess, run};
use headwater_tests::repository_root;
use serde_json::Value;

const ROWS: [&str; 14] = [
    "hundred",
    "floats",
    "truncated",
    "wrong key",
    "no token at all",
    "token for another model",
    "wrong model",
    "too long",
    "empty list",
    "empty text",
    "body of 50 MB",
    "huge batch",
    "invalid UTF-8",
    "malformed JSON",
];

fn token(key: &Path, arguments: &[&str]) -> String {
    let key = format!("auth.key_file={}", key.display());
    let mut all = vec!["token", "--set", key.as_str()];
    all.extend(arguments);
    let output = run(&all).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_sdk_gets_vectors_and_typed_refusals() {
    let python = python().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    let made = run(&["token", "--new-key", key.to_str().unwrap()]).unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let settings = [
        format!("auth.key_file={}", key.display()),
        // Nothing of this table is about speed.
        "embedding.request_timeout_ms=300000".to_owned(),
    ];
    let node = NodeProcess::ready(&folder.path().join("data"), &settings).unwrap();
    let references = repository_root().join("models/burn/tests_data");
    let output = Command::new(&python)
        .arg(repository_root().join("tests/clients/embeddings.py"))
        .arg(MODEL)
        .args([references.join("texts.json"), references.join("minilm.f32")])
        .env("HEADWATER_URL", format!("http://{}", node.address().unwrap()))
        .env("HEADWATER_TOKEN", token(&key, &["--tenant", "acme"]))
        .env("HEADWATER_OTHER_TOKEN", token(&key, &["--tenant", "acme", "--model", "other"]))
        .envs([("NO_PROXY", "*"), ("no_proxy", "*")])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the client broke:\n{said}\n{errors}");
    let rows: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failed: Vec<String> =
        rows.iter().filter(|row| row["ok"] != true).map(ToString::to_string).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let names: Vec<&str> = rows.iter().filter_map(|row| row["row"].as_str()).collect();
    assert_eq!(names, ROWS);
    assert_eq!(node.stop().unwrap().code, Some(0));
}
