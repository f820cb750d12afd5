//! The answers that a node gives again to questions in other words, by a real encoder.

use headwater_tests::node::{MODEL, NodeProcess, models_setting, weights};
use headwater_tests::settings::{backend, setting, target};
use headwater_tests::upstream::{Simulator, UPSTREAM_KEY};
use serde_json::{Value, json};

#[test]
fn a_question_in_other_words_is_answered_from_what_is_kept() {
    let (upstream, folder) = (Simulator::start().unwrap(), tempfile::tempdir().unwrap());
    let key = folder.path().join("upstream");
    std::fs::write(&key, UPSTREAM_KEY).unwrap();
    let near = json!({"encoder": MODEL, "similarity": 0.85});
    let targets = json!([target("b", "m", 1, (1.0, 1.0))]);
    let settings = [
        models_setting(&weights().unwrap(), ""),
        setting("gateway.backends", &json!([backend("b", "openai", &upstream, &key)])),
        setting(
            "gateway.models",
            &json!([
                {"name": "near", "targets": targets, "semantic_cache": near},
                {"name": "exact", "targets": targets},
            ]),
        ),
    ];
    let node = NodeProcess::ready(&folder.path().join("data"), &settings).unwrap();
    let mut connection = node.connect().unwrap();
    let mut ask = |model: &str, question: &str| {
        let body = json!({
            "model": model, "temperature": 0,
            "messages": [
                {"role": "system", "content": "You answer in one sentence."},
                {"role": "user", "content": question},
            ],
        });
        let body = serde_json::to_vec(&body).unwrap();
        let answer = connection.post("/v1/chat/completions", &[], &body).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let own = |name: &str| answer.header(name).unwrap_or_default().to_owned();
        (own("x-headwater-cache"), own("x-headwater-cache-similarity"))
    };
    let first = "How do I reset my password?";
    assert_eq!(ask("near", first).0, "miss");
    let (cache, similarity) = ask("near", "How can I reset my password?");
    assert_eq!(cache, "near");
    let similarity: f64 = similarity.parse().unwrap();
    assert!((0.85..1.0).contains(&similarity), "{similarity}");
    assert_eq!(ask("near", first), ("hit".to_owned(), String::new()));
    assert_eq!(ask("near", "How tall is the highest mountain?").0, "miss");
    // The numbers must be the same, however near the rest is.
    assert_eq!(ask("near", "How do I reset password 17?").0, "miss");
    assert_eq!(ask("near", "How do I reset password 18?").0, "miss");
    // Another name has its own answers, and compares nothing unless it says so.
    assert_eq!(ask("exact", first).0, "miss");
    assert_eq!(ask("exact", "How can I reset my password?").0, "miss");
    assert_eq!(upstream.records().len(), 6);
    let metrics = connection.get("/metrics", &[]).unwrap().text();
    let looks = |outcome: &str| {
        let line = format!("headwater_gateway_semantic_looks_total{{outcome=\"{outcome}\"}} ");
        metrics.lines().find_map(|one| one.strip_prefix(&line)?.parse::<u64>().ok())
    };
    assert_eq!((looks("hit"), looks("miss"), looks("unknown")), (Some(1), Some(4), None));
    let refused = json!({"document": {"models": [{
        "name": "near", "targets": [{"backend": "b", "free": true}],
        "semantic_cache": {"encoder": "no-such", "similarity": 0.9},
    }]}});
    let body = serde_json::to_vec(&refused).unwrap();
    let answer = connection.post("/v1/gateway/config/check", &[], &body).unwrap();
    let error: Value = answer.json()["error"].clone();
    assert_eq!(answer.status, 400, "{error}");
    assert_eq!(error["param"], "models[0].semantic_cache.encoder", "{error}");
    assert_eq!(node.stop().unwrap().code, Some(0));
}
