//! Tools that the platform has itself: a search in what the calling team has written; and finding
//! tools by what they are for.

use std::thread::sleep;
use std::time::{Duration, Instant};

use headwater_tests::node::{HANG_TIMEOUT, MODEL, NodeProcess, models_setting, weights};
use headwater_tests::tokens::{new_key, token};
use serde_json::{Value, json};

struct Team<'a> {
    node: &'a NodeProcess,
    bearer: String,
}

impl Team<'_> {
    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut connection = self.node.connect().unwrap();
        let headers = [("authorization", self.bearer.as_str())];
        connection.send(method, path, &headers, body.to_string().as_bytes()).unwrap();
        let answer = connection.receive().unwrap();
        let told = if answer.text().is_empty() { Value::Null } else { answer.json() };
        (answer.status, told)
    }

    /// Waits until all documents are vectors.
    fn write(&self, documents: &[Value]) {
        let lines: Vec<String> = documents.iter().map(Value::to_string).collect();
        let headers =
            [("authorization", self.bearer.as_str()), ("content-type", "application/x-ndjson")];
        let mut connection = self.node.connect().unwrap();
        let path = "/v1/ingest/jobs?collection=guide&id=first";
        let made = connection.post(path, &headers, lines.join("\n").as_bytes()).unwrap();
        assert_eq!(made.status, 201, "{}", made.text());
        let began = Instant::now();
        loop {
            let (_, job) = self.ask("GET", "/v1/ingest/jobs/first", &Value::Null);
            if !job["ended_ms"].is_null() {
                break assert_eq!(job["progress"]["documents_done"], documents.len(), "{job}");
            }
            assert!(began.elapsed() < HANG_TIMEOUT, "{job}");
            sleep(Duration::from_millis(50));
        }
    }

    fn call(&self, arguments: Value) -> (u16, Value) {
        let body = json!({"tool": "guide", "arguments": arguments});
        self.ask("POST", "/v1/tools/call", &body)
    }
}

/// The schema lets anything by, so that it is the tool itself that answers.
fn definition() -> Value {
    json!({
        "name": "guide",
        "description": "Searches the guide of the house.",
        "owner": "acme",
        "kind": "read_only",
        "input": {"type": "object", "properties": {"query": {"type": "string"}}},
        "backend": {"builtin": "vector_search", "collection": "guide", "entries_max": 2},
    })
}

#[test]
fn a_collection_is_searched_by_the_team_that_wrote_it() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    new_key(&key).unwrap();
    let settings =
        [models_setting(&weights().unwrap(), ""), format!("auth.key_file={}", key.display())];
    let mut node = NodeProcess::listening(&folder.path().join("data"), &settings).unwrap();
    node.wait_for("ready").unwrap();
    let team = |name: &str| {
        let bearer = format!("Bearer {}", token(&key, name, "standard").unwrap());
        Team { node: &node, bearer }
    };
    let (acme, other) = (team("acme"), team("other"));
    let operator = format!("Bearer {}", token(&key, "platform", "operator").unwrap());
    let operator = Team { node: &node, bearer: operator };
    let (status, told) = operator.ask("POST", "/v1/tools", &definition());
    assert_eq!(status, 201, "{told}");

    // Before anything was written there is nothing to search.
    let (status, told) = acme.call(json!({"query": "lakes"}));
    assert!(status >= 400, "{told}");
    assert!(told.to_string().contains("collection guide of the calling team"), "{told}");

    let (status, told) =
        acme.ask("POST", "/v1/collections", &json!({"name": "guide", "model": MODEL}));
    assert!(status < 300, "{told}");
    acme.write(&[
        json!({"id": "lakes", "text": "Lake Biwa is the largest lake of Japan."}),
        json!({"id": "bread", "text": "Knead the dough for ten minutes and let it rise."}),
        json!({
            "id": "stars",
            "text": "A telescope gathers the light of distant galaxies.",
            "fields": {"shelf": "science"},
        }),
    ]);
    let (status, told) = acme.call(json!({"query": "How do I bake?", "limit": 1}));
    assert_eq!(status, 200, "{told}");
    let hits = &told["content"]["hits"];
    assert_eq!(hits[0]["documents"], json!(["bread"]), "{told}");
    assert!(hits[0]["text"].as_str().unwrap().contains("dough"), "{told}");
    assert_eq!(hits.as_array().unwrap().len(), 1, "{told}");
    let filter = json!({"shelf": "science"});
    let (_, told) = acme.call(json!({"query": "How do I bake?", "filter": filter}));
    let hits = told["content"]["hits"].as_array().unwrap();
    assert!(hits.len() == 1 && hits[0]["documents"] == json!(["stars"]), "{told}");
    // Without a limit, as many as the definition allows.
    let (_, told) = acme.call(json!({"query": "water"}));
    assert_eq!(told["content"]["hits"].as_array().unwrap().len(), 2, "{told}");

    for (arguments, named) in [
        (json!({}), "`query` must be"),
        (json!({"query": "x", "limit": 3}), "`limit` must be a whole number from 1 to 2"),
        (json!({"query": "x", "collection": "secret"}), "`collection` is unknown"),
        (json!({"query": "x", "filter": {"$or": 1}}), "filter.$or: expected a list of filters"),
    ] {
        let (status, told) = acme.call(arguments);
        assert!((400..500).contains(&status), "{status} {told}");
        assert!(told.to_string().contains(named), "{named}: {told}");
    }

    // Who may call the tool searches what is its own, and that is nothing.
    let grant = json!({"team": "other", "tool": "guide"});
    let (status, told) = operator.ask("PUT", "/v1/tool-grants/others", &grant);
    assert_eq!(status, 204, "{told}");
    let (status, told) = other.call(json!({"query": "How do I bake?"}));
    assert!(status >= 400 && !told.to_string().contains("dough"), "{status} {told}");
    are_found(&operator, &acme);
    assert_eq!(node.stop().unwrap().code, Some(0));
}

/// Tools are found by what they are for, in whatever words.
fn are_found(operator: &Team<'_>, acme: &Team<'_>) {
    for (name, description) in [
        ("loaf", "Says for how long dough must rise."),
        ("observatory", "Tells which galaxies are in sight tonight."),
    ] {
        let mut tool = definition();
        (tool["name"], tool["description"]) = (json!(name), json!(description));
        let (status, told) = operator.ask("POST", "/v1/tools", &tool);
        assert_eq!(status, 201, "{told}");
    }
    for (query, name) in
        [("baking bread at home", "loaf"), ("a telescope for stars", "observatory")]
    {
        let search = json!({"query": query, "limit": 1});
        let (status, told) = acme.ask("POST", "/v1/tools/search", &search);
        assert_eq!((status, &told["data"][0]["tool"]["name"]), (200, &json!(name)), "{told}");
    }
}
