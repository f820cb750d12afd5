//! Bulk ingest of the objects below a prefix of an S3 server.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use headwater_tests::clients::python;
use headwater_tests::node::{HANG_TIMEOUT, MODEL, NodeProcess, headwater, models_setting, weights};
use headwater_tests::repository_root;
use serde_json::{Value, json};

/// As tests/clients/objects.py puts them there.
const DOCUMENTS: u64 = 1_102;

fn ask(node: &NodeProcess, method: &str, path: &str, body: &Value) -> Value {
    let mut connection = node.connect().unwrap();
    let headers = [("content-type", "application/json")];
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    connection.send(method, path, &headers, &body).unwrap();
    let answer = connection.receive().unwrap();
    assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
    answer.json()
}

#[test]
fn all_objects_below_a_prefix_are_read_and_nothing_outside_it() {
    let mut server = Command::new(python().unwrap())
        .arg(repository_root().join("tests/clients/objects.py"))
        .envs([("NO_PROXY", "*"), ("no_proxy", "*")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut address = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut command = headwater(&["serve", "--listen", "127.0.0.1:0"]).unwrap();
    command.arg("--data-dir").arg(folder.path()).args(["--set", "log.format=json"]);
    command.args(["--set", "ingest.stores=[\"s3://corpus/docs/\"]"]);
    command.args(["--set", &models_setting(&weights().unwrap(), "")]);
    command.envs([
        ("AWS_ENDPOINT", address.trim()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("NO_PROXY", "*"),
    ]);
    let mut node = NodeProcess::spawn(command).unwrap();
    node.wait_for("ready").unwrap();
    ask(&node, "POST", "/v1/collections", &json!({"name": "docs", "model": MODEL}));
    let at = node.address().unwrap().to_string();
    let id = ["--job", "objects", "--collection", "docs", "--at", at.as_str(), "--progress"];
    let mut sender = headwater(&["ingest", "s3://corpus/docs/"]).unwrap();
    let mut sender = sender.args(id).stdout(Stdio::piped()).spawn().unwrap();
    assert!(sender.wait().unwrap().success());
    let job = ask(&node, "GET", "/v1/ingest/jobs/objects", &Value::Null);
    assert_eq!(job["state"], "done", "{job}");
    assert_eq!(job["progress"]["documents_done"], DOCUMENTS, "{job}");
    let letters = ask(&node, "GET", "/v1/ingest/jobs/objects/dead-letters", &Value::Null);
    let text = letters.to_string();
    assert_eq!(job["progress"]["dead_letters"], 1, "{text}");
    assert!(text.contains("packed.jsonl.gz") && text.contains("is packed"), "{text}");
    let query = json!({"collection": "docs", "query": "the largest lake of Japan", "limit": 1});
    let found = ask(&node, "POST", "/v1/search", &query).to_string();
    assert!(found.contains("two words/ü%20.jsonl/0"), "{found}");
    let outside = json!({"id": "outside", "collection": "docs",
        "source": {"places": ["s3://corpus/private/", "s3://corpus/docs/none"]}});
    ask(&node, "POST", "/v1/ingest/jobs", &outside);
    let began = std::time::Instant::now();
    loop {
        let job = ask(&node, "GET", "/v1/ingest/jobs/outside", &Value::Null);
        if !job["ended_ms"].is_null() {
            break assert_eq!(job["progress"]["documents_done"], 0, "{job}");
        }
        assert!(began.elapsed() < HANG_TIMEOUT, "{job}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let letters = ask(&node, "GET", "/v1/ingest/jobs/outside/dead-letters", &Value::Null);
    let text = letters.to_string();
    assert!(text.contains("ingest.stores") && text.contains("no such object"), "{text}");
    drop(server.stdin.take());
    assert!(server.wait().unwrap().success());
    assert_eq!(node.stop().unwrap().code, Some(0));
}
