//! The official openai and anthropic SDKs through the gateway, each to a provider of its own
//! protocol and to one of the other's; and what was charged is what the providers billed.

use std::process::Command;
use std::time::{Duration, Instant};

use headwater_tests::clients::{node_packages, python};
use headwater_tests::node::{HANG_TIMEOUT, NodeProcess, models_setting, weights};
use headwater_tests::repository_root;
use headwater_tests::tokens::{new_key, token};
use headwater_tests::upstream::{Outcome, Simulator, UPSTREAM_KEY};
use serde_json::Value;

const MODELS: [&str; 2] = ["by-openai", "by-anthropic"];
/// Rows of tests/clients/chat.py for each SDK and model.
const ROWS: usize = 3;
/// As many of tests/clients/chat.mjs.
const NODE_ROWS: usize = 4;

/// What each SDK for Python says of each model.
fn talk(node: &NodeProcess, token: &str, cuts: bool) -> Vec<Value> {
    let mut command = Command::new(python().unwrap());
    command.arg(repository_root().join("tests/clients/chat.py")).args(MODELS);
    if cuts {
        command.env("HEADWATER_CUTS", "1");
    }
    hear(command, node, token)
}

/// What each SDK for Node says of each model.
fn talk_in_node(node: &NodeProcess, token: &str) -> Vec<Value> {
    let mut command = Command::new("node");
    command.arg(repository_root().join("tests/clients/chat.mjs"));
    command.arg(node_packages().unwrap()).args(MODELS);
    hear(command, node, token)
}

fn hear(mut command: Command, node: &NodeProcess, token: &str) -> Vec<Value> {
    command.env("HEADWATER_URL", format!("http://{}", node.address().unwrap()));
    command.env("HEADWATER_TOKEN", token).envs([("NO_PROXY", "*"), ("no_proxy", "*")]);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the client broke:\n{said}\n{errors}");
    let rows: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failed: Vec<String> =
        rows.iter().filter(|row| row["ok"] != true).map(ToString::to_string).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    rows
}

/// Requests and tokens in the tenant's books.
fn charged(node: &NodeProcess, operator: &str) -> (u64, u64) {
    let mut connection = node.connect().unwrap();
    let bearer = format!("Bearer {operator}");
    let headers = [("authorization", bearer.as_str())];
    let answer = connection.get("/v1/tenants/acme/usage", &headers).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let usage = answer.json()["usage"].as_array().unwrap().clone();
    let sum = |name: &str| usage.iter().map(|row| row[name].as_u64().unwrap()).sum();
    (sum("requests"), sum("tokens"))
}

/// Requests and tokens that the providers billed.
fn billed(providers: &[&Simulator]) -> (u64, u64) {
    let (mut requests, mut tokens) = (0, 0);
    for provider in providers {
        let records = provider.settled(HANG_TIMEOUT).expect("all requests end");
        for record in records.iter().filter(|record| record.outcome == Outcome::Finished) {
            requests += 1;
            tokens += record.input + record.output;
        }
    }
    (requests, tokens)
}

#[test]
fn both_sdks_talk_to_providers_of_both_protocols_and_each_token_is_charged_once() {
    let (openai, anthropic) = (Simulator::start().unwrap(), Simulator::start().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    new_key(&path("key")).unwrap();
    std::fs::write(path("upstream"), UPSTREAM_KEY).unwrap();
    let backend = |name: &str, provider: &Simulator| {
        let (url, key) = (provider.base_url(), path("upstream"));
        let key = key.display();
        format!("{{name=\"{name}\", protocol=\"{name}\", url=\"{url}\", key_file=\"{key}\"}}")
    };
    let model = |name: &str, backend: &str| {
        let price = "price={input=1.0, output=2.0}";
        format!("{{name=\"{name}\", targets=[{{backend=\"{backend}\", model=\"m\", {price}}}]}}")
    };
    let (one, two) = (backend("openai", &openai), backend("anthropic", &anthropic));
    let (first, second) = (model(MODELS[0], "openai"), model(MODELS[1], "anthropic"));
    let settings = [
        models_setting(&weights().unwrap(), ""),
        format!("auth.key_file={}", path("key").display()),
        format!("gateway.backends=[{one}, {two}]"),
        format!("gateway.models=[{first}, {second}]"),
        "gateway.breaker_failures=1000".to_owned(),
    ];
    let mut node = NodeProcess::listening(&path("data"), &settings).unwrap();
    node.wait_for("ready").unwrap();
    let of = |tier: &str| token(&path("key"), "acme", tier).unwrap();
    let (client, operator) = (of("standard"), of("operator"));
    let rows = talk(&node, &client, false);
    assert_eq!(rows.len(), ROWS * 2 * MODELS.len());
    let expected = billed(&[&openai, &anthropic]);
    let began = Instant::now();
    // What was charged last is written down a moment later at most.
    while charged(&node, &operator) != expected {
        let charged = charged(&node, &operator);
        assert!(began.elapsed() < Duration::from_secs(20), "{charged:?}, billed {expected:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(expected.0 > 40, "{expected:?}");
    let rows = talk(&node, &client, true);
    assert_eq!(rows.len(), 2 * MODELS.len());
    let rows = talk_in_node(&node, &client);
    assert_eq!(rows.len(), NODE_ROWS * 2 * MODELS.len());
    let ended = node.stop().unwrap();
    assert_eq!(ended.code, Some(0));
    assert!(!ended.log.contains(UPSTREAM_KEY) && !ended.log.contains(&client));
}
