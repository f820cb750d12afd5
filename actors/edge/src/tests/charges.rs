//! Bulk work is charged to its tenant, and waits where the quota is used up.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::world::{PLAIN, Setup, World, request};

/// Tokens of a text of three words: two are special.
const TEXT_TOKENS: u64 = 5;

async fn world(tokens_per_day: u64) -> World {
    let world = World::with(Setup { ingest: true, ..Setup::default() }).await;
    let body = json!({"name": "notes", "model": PLAIN});
    assert_eq!(world.post("/v1/collections", &body).await.status, StatusCode::CREATED);
    let limits = json!({"limits": [{"unit": "tokens", "window": "day", "amount": tokens_per_day}]});
    let bearer = format!("Bearer {}", world.operator);
    let path = "/v1/tenants/acme/limits";
    world.send(request("PUT", path, Some(&bearer), limits.to_string())).await.ok();
    world
}

async fn ingest(world: &World, settings: &str, texts: &[&str]) {
    let line = |(number, text): (usize, &&str)| {
        format!("{}\n", json!({"id": format!("d{number}"), "text": text}))
    };
    let body: String = texts.iter().enumerate().map(line).collect();
    let path = format!("/v1/ingest/jobs?collection=notes&id=job{settings}");
    let mut request = world.request("POST", &path, body);
    let kind = HeaderValue::from_static("application/x-ndjson");
    request.headers_mut().insert("content-type", kind);
    let made = world.send(request).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
}

/// Waits until the job's status is like this; the status.
async fn until(world: &World, wanted: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..4_000 {
        let status = world.get("/v1/ingest/jobs/job").await.ok();
        if wanted(&status) {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never so: {}", world.get("/v1/ingest/jobs/job").await.text());
}

/// What the ledger holds: requests and tokens.
async fn usage(world: &World) -> (u64, u64) {
    let usage = world.get("/v1/tenants/acme/usage").await.ok();
    let number = |name: &str| usage["usage"][0][name].as_u64().unwrap_or(0);
    (number("requests"), number("tokens"))
}

fn has_ended(status: &Value) -> bool {
    !status["ended_ms"].is_null()
}

#[tokio::test]
async fn ingest_is_charged_exactly_the_tokens_of_its_chunks() {
    let world = world(1_000).await;
    ingest(&world, "", &["one two three", "four five six", "seven eight nine"]).await;
    let status = until(&world, has_ended).await;
    assert_eq!(status["progress"]["documents_done"], 3, "{status}");
    assert_eq!(usage(&world).await, (3, 3 * TEXT_TOKENS));
}

#[tokio::test]
async fn a_batch_above_the_whole_limit_goes_in_parts_and_each_is_charged_once() {
    // Four texts may need up to 16 tokens each, and the limit covers three.
    let world = world(50).await;
    let text = "one two three four five six seven eight nine ten eleven twelve";
    let mut body = json!({"collection": "notes", "id": "job"});
    body["chunks"] = json!({"split": "plain", "window_tokens": 3, "overlap_percent": 0});
    let made = world.post("/v1/ingest/jobs", &body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let line = json!({"id": "a", "text": text}).to_string();
    let mut request = world.request("POST", "/v1/ingest/jobs/job/documents", line);
    let kind = HeaderValue::from_static("application/x-ndjson");
    request.headers_mut().insert("content-type", kind);
    world.send(request).await.ok();
    let status = until(&world, has_ended).await;
    assert_eq!(
        (&status["progress"]["documents_done"], &status["progress"]["dead_letters"]),
        (&json!(1), &json!(0)),
        "{status}"
    );
    let (requests, tokens) = usage(&world).await;
    assert_eq!(tokens, 4 * TEXT_TOKENS);
    assert!((2..=4).contains(&requests), "{requests}");
}

#[tokio::test]
async fn a_used_up_quota_leaves_documents_waiting_and_none_dead() {
    let world = world(18).await;
    ingest(&world, "", &["one two three", "four five six", "seven eight nine"]).await;
    let put_off = |status: &Value| status["progress"]["retries"].as_u64() >= Some(1);
    let status = until(&world, put_off).await;
    assert_eq!(
        (&status["state"], &status["progress"]["dead_letters"]),
        (&json!("running"), &json!(0))
    );
    let (requests, tokens) = usage(&world).await;
    assert_eq!(tokens, requests * TEXT_TOKENS);
    assert!(requests <= 2, "{requests} requests of up to 16 tokens under a limit of 18");
    let cancelled = world.post("/v1/ingest/jobs/job/cancel", &Value::Null).await;
    assert_eq!(cancelled.status, StatusCode::OK, "{}", cancelled.text());
}
