//! Errors that say what is, prices and records.

use headwater_tests::cluster::{STORE, until};
use headwater_tests::upstream::Outcome;
use serde_json::json;

use super::world::{CHAT, MESSAGES, OTHER, PRICE, World, body};

pub(crate) fn bad_json(world: &mut World) {
    let token = world.token("typist");
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str())];
    for path in [CHAT, MESSAGES, "/v1/responses", "/v1/completions", "/v1/embeddings"] {
        for text in ["", "{\"model\": \"gpt\",", "[]", "null", "\u{0}", "{\"model\": 7}"] {
            let answer = world.connect(OTHER).post(path, &headers, text.as_bytes()).unwrap();
            assert_eq!(answer.status, 400, "{path} {text:?}: {}", answer.text());
            let message = answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
            assert!(!message.is_empty(), "{path} {text:?}: {}", answer.text());
        }
    }
}

pub(crate) fn large_body(world: &mut World) {
    let token = world.token("reader");
    let book = "word ".repeat(400_000);
    let says = format!("words:3 {book}");
    for (path, model) in [(CHAT, "gpt"), (MESSAGES, "claude")] {
        let answer = world.ask(OTHER, path, &token, &body(path, model, &says, false));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

pub(crate) fn upstream_limit(world: &mut World) {
    let token = world.token("hasty");
    for path in [CHAT, MESSAGES] {
        for (model, stream) in
            ["gpt", "claude"].into_iter().flat_map(|model| [(model, false), (model, true)])
        {
            let asked = body(path, model, "fault:429:7", stream);
            let answer = world.ask(OTHER, path, &token, &asked);
            assert_eq!(answer.status, 429, "{path} {model} {stream}: {}", answer.text());
            assert_eq!(answer.header("retry-after"), Some("7"), "{path} {model} {stream}");
        }
    }
}

pub(crate) fn missing_price(world: &mut World) {
    let operator = world.cluster.operator().to_owned();
    let target = |price: serde_json::Value| {
        let mut target = json!({"backend": "openai", "model": "m"});
        target.as_object_mut().unwrap().extend(price.as_object().unwrap().clone());
        json!({"document": {"models": [{"name": "gpt", "targets": [target]}]}})
    };
    let path = "/v1/gateway/config/check";
    let check = |price| world.ask(STORE, path, &operator, &target(price));
    let refused = check(json!({}));
    assert_eq!(refused.status, 400, "{}", refused.text());
    let (said, place) = (refused.text(), "targets[0].price");
    assert!(said.contains(place) && said.contains("is missing"), "{said}");
    let half = check(json!({"price": {"input": 1.0}}));
    assert_eq!(half.status, 400, "{}", half.text());
    // What has a price costs what it says, to the millionth.
    let token = world.token("payer");
    let answer = world.ask(OTHER, CHAT, &token, &body(CHAT, "gpt", "words:30 please", false));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sql = "select tokens_in, tokens_out, cost_micro_usd from audit where team = 'payer'";
    let cost = 2.0 * PRICE.0 + 30.0 * PRICE.1;
    until("the record", || Ok(world.audit(OTHER, sql) == json!([[2, 30, cost as u64]]))).unwrap();
}

pub(crate) fn null_ids(world: &mut World) {
    let token = world.token("nameless");
    for path in [CHAT, MESSAGES] {
        for model in ["gpt", "claude"] {
            for stream in [false, true] {
                let asked = body(path, model, "fault:null-id two", stream);
                let answer = world.ask(OTHER, path, &token, &asked);
                assert_eq!(answer.status, 200, "{path} {model} {stream}: {}", answer.text());
            }
        }
    }
    let asked = world.asked();
    let nameless = |texts: &[String]| texts.iter().any(|text| text.contains("null-id"));
    let whole = asked.iter().filter(|one| nameless(&one.texts));
    assert_eq!(whole.filter(|one| one.outcome == Outcome::Finished).count(), 8);
    let sql = "select count(*), count(distinct id) from audit where team = 'nameless'";
    until("8 records", || Ok(world.audit(OTHER, sql) == json!([[8, 8]]))).unwrap();
}
