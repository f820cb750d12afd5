//! Personal data through the real gateway: no provider sees it, and each client gets its own words
//! back, in both protocols, streamed and whole.

use headwater_tests::node::{HANG_TIMEOUT, NodeProcess, models_setting, weights};
use headwater_tests::tokens::{new_key, token};
use headwater_tests::upstream::{Simulator, UPSTREAM_KEY};
use serde_json::{Value, json};

const SYSTEM: &str = "You answer letters.";
const TEXT: &str = "Write to ada@example.com or call +1 415 555 2671, the server is 203.0.113.9.";
const PRIVATE: [&str; 3] = ["ada@example.com", "415 555 2671", "203.0.113.9"];

fn body(route: &str, model: &str, stream: bool) -> Value {
    match route {
        "/v1/messages" => json!({
            "model": model, "max_tokens": 100, "stream": stream, "system": SYSTEM,
            "messages": [{"role": "user", "content": TEXT}],
        }),
        _ => json!({
            "model": model, "stream": stream,
            "messages": [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": TEXT},
            ],
        }),
    }
}

/// The text of an answer, whole or a stream, of either protocol.
fn said(answer: &str, stream: bool) -> String {
    let text = |body: &Value| {
        let places = [
            "/choices/0/message/content",
            "/choices/0/delta/content",
            "/content/0/text",
            "/delta/text",
        ];
        let mut found = places.iter().filter_map(|place| body.pointer(place)?.as_str());
        found.next().unwrap_or_default().to_owned()
    };
    if !stream {
        return text(&serde_json::from_str(answer).unwrap());
    }
    let events = answer.lines().filter_map(|line| line.strip_prefix("data: "));
    let events = events.filter_map(|data| serde_json::from_str::<Value>(data).ok());
    events.map(|event| text(&event)).collect()
}

#[test]
fn providers_see_nothing_personal_and_clients_get_their_own_words_back() {
    let providers = [Simulator::start().unwrap(), Simulator::start().unwrap()];
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    new_key(&path("key")).unwrap();
    std::fs::write(path("upstream"), UPSTREAM_KEY).unwrap();
    let protocols = ["openai", "anthropic"];
    let backend = |(name, provider): (&str, &Simulator)| {
        let (url, key) = (provider.base_url(), path("upstream"));
        let key = key.display();
        format!("{{name=\"{name}\", protocol=\"{name}\", url=\"{url}\", key_file=\"{key}\"}}")
    };
    let backends: Vec<String> = protocols.into_iter().zip(&providers).map(backend).collect();
    let model = |name: &str| {
        format!("{{name=\"by-{name}\", targets=[{{backend=\"{name}\", model=\"m\", free=true}}]}}")
    };
    let rule = |entity: &str| format!("{entity}={{action=\"token\"}}");
    let rules = ["email", "phone", "ip"].map(rule).join(", ");
    let settings = [
        models_setting(&weights().unwrap(), ""),
        format!("auth.key_file={}", path("key").display()),
        format!("gateway.backends=[{}]", backends.join(", ")),
        format!("gateway.models=[{}]", protocols.map(model).join(", ")),
        format!("gateway.redaction.standard={{rules={{{rules}}}, fail_closed=true}}"),
        "gateway.redaction.teams.strict={rules={email={action=\"block\"}}}".to_owned(),
        // A machine that is busy with other tests is slow, and nothing may pass unseen.
        "gateway.redaction_budget_ms=60000".to_owned(),
    ];
    let mut node = NodeProcess::listening(&path("data"), &settings).unwrap();
    node.wait_for("ready").unwrap();
    let mut connection = node.connect().unwrap();
    let of = |tenant: &str| token(&path("key"), tenant, "standard").unwrap();
    let (client, strict) = (of("acme"), of("strict"));
    let mut post = |route: &str, token: &str, body: &Value| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("anthropic-version", "2023-06-01")];
        connection.post(route, &headers, &serde_json::to_vec(body).unwrap()).unwrap()
    };
    for route in ["/v1/chat/completions", "/v1/messages"] {
        for model in ["by-openai", "by-anthropic"] {
            for stream in [false, true] {
                let answer = post(route, &client, &body(route, model, stream));
                let text = answer.text();
                assert_eq!(answer.status, 200, "{route} {model} {stream}: {text}");
                assert_eq!(said(&text, stream), TEXT, "{route} {model} {stream}: {text}");
            }
        }
        let refused = post(route, &strict, &body(route, "by-openai", false));
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert!(refused.text().contains("email") && !refused.text().contains("ada@"));
    }
    for provider in &providers {
        let records = provider.settled(HANG_TIMEOUT).expect("all requests end");
        assert_eq!(records.len(), 4, "what is blocked is asked of nobody");
        for record in records {
            let told = record.texts.join("\n");
            assert!(PRIVATE.iter().all(|own| !told.contains(own)), "{told}");
            assert!(told.contains("Write to <EMAIL_1> or call"));
        }
    }
    let ended = node.stop().unwrap();
    assert_eq!(ended.code, Some(0));
    assert!(PRIVATE.iter().all(|own| !ended.log.contains(own)), "nothing of it is in the log");
}
