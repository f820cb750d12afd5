//! The operator's page in a browser, over a node that has served chats.

use std::path::Path;
use std::process::Command;

use headwater_tests::clients::{chromium, node_packages};
use headwater_tests::node::NodeProcess;
use headwater_tests::repository_root;
use headwater_tests::tokens::{new_key, token};
use headwater_tests::upstream::{Simulator, UPSTREAM_KEY};
use serde_json::{Value, json};

/// Rows of tests/clients/admin.mjs.
const ROWS: usize = 9;

struct Api<'a> {
    node: &'a NodeProcess,
    bearer: String,
}

impl Api<'_> {
    fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut connection = self.node.connect().unwrap();
        let headers = [("authorization", self.bearer.as_str())];
        connection.send(method, path, &headers, body.to_string().as_bytes()).unwrap();
        let answer = connection.receive().unwrap();
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
        answer.json()
    }
}

fn node(folder: &Path, provider: &Simulator) -> NodeProcess {
    let path = |name: &str| folder.join(name).display().to_string();
    new_key(&folder.join("key")).unwrap();
    std::fs::write(folder.join("upstream"), UPSTREAM_KEY).unwrap();
    let (url, key) = (provider.base_url(), path("upstream"));
    let settings = [
        format!("auth.key_file={}", path("key")),
        "embedding.models=[]".to_owned(),
        format!(
            "gateway.backends=[{{name=\"openai\", protocol=\"openai\", url=\"{url}\", \
             key_file=\"{key}\"}}]"
        ),
    ];
    let mut node = NodeProcess::listening(&folder.join("data"), &settings).unwrap();
    node.wait_for("ready").unwrap();
    node
}

fn document(canary: bool) -> Value {
    let price = json!({"input": 1000.0, "output": 2000.0});
    let target = |model: &str, weight: u32, canary: bool| {
        json!({"backend": "openai", "model": model, "weight": weight, "price": price,
            "canary": canary})
    };
    let mut targets = vec![target("m", 9, false)];
    if canary {
        targets.push(target("m-next", 1, true));
    }
    json!({"models": [{"name": "by-openai", "targets": targets}]})
}

#[test]
fn the_operators_page_shows_and_changes_what_the_api_does() {
    let provider = Simulator::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let node = node(folder.path(), &provider);
    let operator = token(&folder.path().join("key"), "ops", "operator").unwrap();
    let api = Api { node: &node, bearer: format!("Bearer {operator}") };
    for canary in [false, true] {
        let change = json!({"document": document(canary), "reason": "a test"});
        api.send("PUT", "/v1/gateway/config", &change);
    }
    let limit = json!({"unit": "tokens", "window": "day", "amount": 1_000_000});
    api.send("PUT", "/v1/tenants/acme/limits", &json!({"limits": [limit]}));
    let client = token(&folder.path().join("key"), "acme", "standard").unwrap();
    let acme = Api { node: &node, bearer: format!("Bearer {client}") };
    for text in ["words:3", "words:5", "words:3", "again"] {
        let message = json!({"role": "user", "content": text});
        let body = json!({"model": "by-openai", "messages": [message], "temperature": 0});
        acme.send("POST", "/v1/chat/completions", &body);
    }
    let kept = std::env::var_os("HEADWATER_SCREENSHOTS").map(std::path::PathBuf::from);
    let output = Command::new("node")
        .arg(repository_root().join("tests/clients/admin.mjs"))
        .args([node_packages().unwrap(), chromium().unwrap()])
        .arg(kept.as_deref().unwrap_or(folder.path()))
        .env("HEADWATER_URL", format!("http://{}", node.address().unwrap()))
        .env("HEADWATER_TOKEN", &operator)
        .envs([("NO_PROXY", "*"), ("no_proxy", "*")])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the browser broke:\n{said}\n{errors}");
    let rows: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rows.iter().all(|row| row["ok"] == true), "{said}");
    assert_eq!(rows.len(), ROWS);
    assert_eq!(node.stop().unwrap().code, Some(0));
}
