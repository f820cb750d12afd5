//! The alerts ask for metrics that a node has.

use std::collections::BTreeSet;
use std::path::Path;

use headwater_tests::node::{NodeProcess, models_setting, weights};
use headwater_tests::upstream::{Simulator, UPSTREAM_KEY};
use serde_json::json;

/// Words of the rules that name a metric.
fn metrics_of(rules: &str) -> BTreeSet<&str> {
    let is_part = |one: char| one.is_ascii_alphanumeric() || one == '_';
    let words = rules.split(|one| !is_part(one));
    words.filter(|word| word.starts_with("headwater_")).collect()
}

#[test]
fn every_metric_of_the_alerts_is_on_the_page() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/alerts/headwater.rules.yaml");
    let rules = std::fs::read_to_string(file).unwrap();
    let names = metrics_of(&rules);
    assert!(names.len() >= 10, "{names:?}");
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("upstream");
    std::fs::write(&key, UPSTREAM_KEY).unwrap();
    let provider = Simulator::start().unwrap();
    let (url, key) = (provider.base_url(), key.display());
    let backend = format!("name=\"b\", protocol=\"openai\", url=\"{url}\", key_file=\"{key}\"");
    let target = "{backend=\"b\", model=\"m\", free=true}";
    let settings = [
        models_setting(&weights().unwrap(), ""),
        format!("gateway.backends=[{{{backend}}}]"),
        format!("gateway.models=[{{name=\"chat\", targets=[{target}]}}]"),
        "gateway.redaction.standard={rules={email={action=\"mask\"}}}".to_owned(),
    ];
    let mut node = NodeProcess::listening(folder.path(), &settings).unwrap();
    node.wait_for("ready").unwrap();
    // Families have a line once something was counted in them: an answer, one whose provider does
    // not tell what it used, and a provider that fails until it is left alone.
    let mut connection = node.connect().unwrap();
    for says in ["words:3", "fault:cut"].into_iter().chain(["fault:500"; 12]) {
        let body = json!({
            "model": "chat", "stream": true, "messages": [{"role": "user", "content": says}],
        });
        connection.post("/v1/chat/completions", &[], body.to_string().as_bytes()).ok();
        connection = node.connect().unwrap();
    }
    let page = node.connect().unwrap().get("/metrics", &[]).unwrap().text();
    for name in names {
        let is_told = page.lines().any(|line| line.starts_with(name));
        assert!(is_told, "{name} is on no page:\n{page}");
    }
    node.stop().unwrap();
}
