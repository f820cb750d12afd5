//! The alerts ask for metrics that a node has.

use std::collections::BTreeSet;
use std::path::Path;

use headwater_tests::node::{NodeProcess, models_setting, weights};
use headwater_tests::upstream::{Simulator, UPSTREAM_KEY};

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
    let page = node.connect().unwrap().get("/metrics", &[]).unwrap().text();
    for name in names {
        // A family without a value yet has its head alone, under the name without the end.
        let family = name.trim_end_matches("_total");
        assert!(page.contains(&format!("# TYPE {family} ")), "{name} is on no page:\n{page}");
    }
    node.stop().unwrap();
}
