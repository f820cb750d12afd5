//! Limits, usage and the cluster over HTTP, and requests that a limit refuses.

use std::time::Duration;

use axum::http::StatusCode;
use headwater_models::double::Fault;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::world::{Answer, PLAIN, World, request};

async fn ask(world: &World, token: &str, method: &str, path: &str, body: Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    world.send(request(method, path, Some(&format!("Bearer {token}")), body)).await
}

async fn set(world: &World, limits: Value) -> Answer {
    let body = json!({ "limits": limits });
    ask(world, &world.operator, "PUT", "/v1/tenants/acme/limits", body).await
}

async fn embed(world: &World) -> Answer {
    world.embeddings(&json!({"model": PLAIN, "input": "one two"})).await
}

#[tokio::test]
async fn a_used_up_limit_refuses_and_says_which_and_until_when() {
    let world = World::new().await;
    let limits = json!([{"unit": "requests", "window": "day", "amount": 2}]);
    assert_eq!(set(&world, limits).await.ok(), json!({"tenant": "acme", "revision": 1}));
    embed(&world).await.ok();
    embed(&world).await.ok();
    let refused = embed(&world).await;
    refused.is_error(429, "quota_exceeded", None, &["2 requests per day", "leaves 0"]);
    let after: u64 = refused.header("retry-after").expect("a pause").parse().expect("seconds");
    assert!((1..=86_400).contains(&after), "{after}");
    let usage = ask(&world, &world.token, "GET", "/v1/tenants/acme/usage", Value::Null).await.ok();
    assert_eq!(usage["usage"][0]["requests"], 2);
    assert_eq!(usage["usage"][0]["tokens"], 8, "two words and two special tokens each");
    let taken = ask(&world, &world.token, "GET", "/v1/tenants/acme/limits", Value::Null).await;
    assert_eq!(taken.ok()["limits"][0]["taken"], 2);
    assert_eq!(set(&world, json!([])).await.ok()["revision"], 2);
    let tokens = json!([{"unit": "tokens", "window": "month", "amount": 1, "model": PLAIN}]);
    assert_eq!(set(&world, tokens).await.ok()["revision"], 3);
}

#[tokio::test]
async fn a_request_that_fails_costs_nothing() {
    let world = World::new().await;
    set(&world, json!([{"unit": "requests", "window": "day", "amount": 1}])).await.ok();
    let long = "word ".repeat(20);
    let refused = world.embeddings(&json!({"model": PLAIN, "input": long})).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    embed(&world).await.ok();
    embed(&world).await.is_error(429, "quota_exceeded", None, &[]);
}

#[tokio::test]
async fn a_request_above_the_whole_limit_is_told_so_and_not_to_wait() {
    let world = World::new().await;
    set(&world, json!([{"unit": "tokens", "window": "minute", "amount": 3}])).await.ok();
    let refused = embed(&world).await;
    refused.is_error(429, "request_above_quota", None, &["up to", "limit is 3 per minute"]);
    assert_eq!(refused.header("retry-after"), None);
}

#[tokio::test]
async fn a_client_that_leaves_early_does_not_get_around_its_limit() {
    let world = World::new().await;
    set(&world, json!([{"unit": "requests", "window": "day", "amount": 2}])).await.ok();
    for _ in 0..2 {
        world.plain.inject(Fault::Slow(Duration::from_millis(300)));
        let body = json!({"model": PLAIN, "input": "one two"}).to_string();
        let request = world.request("POST", "/v1/embeddings", body);
        let left = timeout(Duration::from_millis(100), world.send(request)).await;
        assert!(left.is_err(), "the answer came before the client left");
    }
    embed(&world).await.is_error(429, "quota_exceeded", None, &["2 requests per day"]);
}

#[tokio::test]
async fn limits_that_make_no_sense_are_refused_by_name() {
    let world = World::new().await;
    let limit = |unit: &str, window: &str, amount: Value| json!({"unit": unit, "window": window, "amount": amount});
    let twice = json!([limit("tokens", "day", 1.into()), limit("tokens", "day", 2.into())]);
    for (limits, param, words) in [
        (json!([limit("words", "day", 1.into())]), "limits[0].unit", "requests, tokens, micro_usd"),
        (json!([limit("tokens", "week", 1.into())]), "limits[0].window", "minute, day, month"),
        (json!([limit("tokens", "day", json!(-1))]), "limits[0].amount", "expected u64"),
        (json!([limit("tokens", "day", json!(1_u64 << 60))]), "limits[0].amount", "too large"),
        (twice, "limits[1]", "a second time"),
        (
            json!([{"unit": "tokens", "window": "day", "amount": 1, "model": "m".repeat(257)}]),
            "limits[0].model",
            "1 to 256",
        ),
        (json!("none"), "limits", "expected a sequence"),
    ] {
        set(&world, limits).await.is_error(400, "invalid_field", Some(param), &[words]);
    }
    let money = set(&world, json!([limit("micro_usd", "day", 1.into())])).await;
    money.is_error(400, "no_price", Some("limits[0].unit"), &["no model has a price here"]);
    let path = "/v1/tenants/a%20b/limits";
    ask(&world, &world.operator, "GET", path, Value::Null).await.is_error(
        400,
        "invalid_path",
        Some("tenant"),
        &["1 to 64"],
    );
}

#[tokio::test]
async fn a_tenant_sees_its_own_and_changes_nothing() {
    let world = World::new().await;
    let body = json!({"limits": []});
    for (method, path, body) in [
        ("PUT", "/v1/tenants/acme/limits", body),
        ("GET", "/v1/tenants/other/limits", Value::Null),
        ("GET", "/v1/tenants/other/usage", Value::Null),
        ("GET", "/v1/cluster", Value::Null),
    ] {
        let answer = ask(&world, &world.token, method, path, body).await;
        answer.is_error(403, "operators_only", None, &["--tier operator"]);
    }
    let own = ask(&world, &world.token, "GET", "/v1/tenants/acme/limits", Value::Null).await;
    assert_eq!(own.ok(), json!({"tenant": "acme", "revision": 0, "limits": []}));
}

#[tokio::test]
async fn the_cluster_shows_its_member_and_the_leases_that_run() {
    let world = World::new().await;
    embed(&world).await.ok();
    let status = ask(&world, &world.operator, "GET", "/v1/cluster", Value::Null).await.ok();
    let member = &status["members"][0];
    assert_eq!((&member["node"], &member["state"]), (&json!("test"), &json!("alive")));
    assert_eq!(member["offers"], json!(["embedding/plain@x"]));
    let lease = &status["leases"][0];
    assert_eq!((&lease["key"], &lease["owner"]), (&json!("tenant/acme"), &json!("test")));
    assert_eq!(lease["epoch"], 1);
    assert!(lease["remaining_ms"].as_u64().is_some_and(|left| left > 0));
}
