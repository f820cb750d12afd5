//! Service tiers, models that come and go, and aliases, as clients and operators see them.

use axum::body::Body;
use serde_json::{Value, json};

use super::world::{Answer, BROKEN, LATER, World, request, send};

async fn operate(world: &World, method: &str, path: &str, body: &Value) -> Answer {
    let token = format!("Bearer {}", world.operator);
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    send(world.router.clone(), request(method, path, Some(&token), body)).await
}

fn points(model: &str) -> Value {
    json!({"targets": [{"model": model, "percent": 100}]})
}

#[tokio::test]
async fn a_tier_names_the_pool_and_the_answer_says_which_it_was() {
    let world = World::new().await;
    for (asked, told, pool) in [
        (json!("auto"), "default", "query"),
        (json!("default"), "default", "query"),
        (json!("priority"), "default", "query"),
        (Value::Null, "default", "query"),
        (json!("flex"), "flex", "ingest"),
    ] {
        let line = format!(
            "headwater_embedding_requests_total{{model=\"plain\",pool=\"{pool}\",outcome=\"ok\"}}"
        );
        let before = world.metric(&line).await.unwrap_or(0.0);
        let body = json!({"model": "plain", "input": "a", "service_tier": asked});
        let answer = world.embeddings(&body).await.ok();
        assert_eq!(answer["service_tier"], told, "{asked}");
        assert_eq!(world.metric(&line).await, Some(before + 1.0), "{asked}");
    }
    let refused = json!({"model": "plain", "input": "a", "service_tier": "scale"});
    let allowed = ["'scale'", "auto, default, priority and flex"];
    let answer = world.embeddings(&refused).await;
    answer.is_error(400, "invalid_field", Some("service_tier"), &allowed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_of_the_settings_is_loaded_served_and_unloaded() {
    let world = World::new().await;
    let call = json!({"model": LATER, "input": "a"});
    world.embeddings(&call).await.is_error(404, "model_not_found", Some("model"), &[LATER]);
    let loaded = operate(&world, "POST", "/v1/models", &json!({"name": LATER})).await;
    assert_eq!(loaded.status, 201, "{}", loaded.text());
    let shown = loaded.json();
    assert_eq!((&shown["id"], &shown["state"]), (&json!(LATER), &json!("serving")));
    assert_eq!(shown["replicas"]["ingest"]["wanted"], 1);
    let answer = world.embeddings(&call).await;
    assert_eq!(answer.header("x-headwater-model-version"), Some("double-org/later-8-16"));
    assert_eq!(answer.ok()["model"], LATER);
    let again = operate(&world, "POST", "/v1/models", &json!({"name": LATER})).await;
    again.is_error(409, "name_taken", Some("name"), &[LATER]);
    let path = format!("/v1/models/{LATER}");
    let gone = operate(&world, "DELETE", &path, &Value::Null).await.ok();
    assert_eq!(gone, json!({"id": LATER, "object": "model", "deleted": true}));
    world.embeddings(&call).await.is_error(404, "model_not_found", Some("model"), &[LATER]);
    let again = operate(&world, "DELETE", &path, &Value::Null).await;
    again.is_error(404, "model_not_found", Some("model"), &[LATER]);
    let broken = operate(&world, "POST", "/v1/models", &json!({"name": BROKEN})).await;
    broken.is_error(502, "model_not_loaded", Some("name"), &["there are no weights"]);
    let unknown = operate(&world, "POST", "/v1/models", &json!({"name": "none"})).await;
    unknown.is_error(404, "model_not_found", Some("name"), &["none"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alias_is_pointed_split_and_removed() {
    let world = World::new().await;
    let set = operate(&world, "PUT", "/v1/aliases/embed", &points("plain")).await.ok();
    assert_eq!(set["targets"], points("plain")["targets"]);
    let call = json!({"model": "embed", "input": "a"});
    assert_eq!(world.embeddings(&call).await.ok()["model"], "plain", "the concrete name");
    let held = operate(&world, "DELETE", "/v1/models/plain", &Value::Null).await;
    held.is_error(409, "is_target", Some("model"), &["ada, embed", "point it elsewhere"]);
    let halves = json!({"targets": [
        {"model": "plain", "percent": 50}, {"model": "org/nested", "percent": 50},
    ]});
    operate(&world, "PUT", "/v1/aliases/embed", &halves).await.ok();
    // One tenant stays with one model; keys of its own spread over both.
    let first = world.embeddings(&call).await.ok()["model"].clone();
    assert_eq!(world.embeddings(&call).await.ok()["model"], first);
    let mut seen = std::collections::BTreeSet::new();
    for key in 0..40 {
        let mut request = world.request("POST", "/v1/embeddings", call.to_string());
        let key = key.to_string().parse().expect("a header");
        request.headers_mut().insert("x-headwater-canary-key", key);
        let answer = world.send(request).await.ok();
        seen.insert(answer["model"].as_str().expect("a name").to_owned());
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
    let all = operate(&world, "GET", "/v1/aliases", &Value::Null).await.ok();
    let names: Vec<&Value> =
        all["data"].as_array().expect("a list").iter().map(|a| &a["id"]).collect();
    assert_eq!(names, ["ada", "babbage", "embed"]);
    operate(&world, "DELETE", "/v1/aliases/embed", &Value::Null).await.ok();
    let gone = operate(&world, "DELETE", "/v1/aliases/embed", &Value::Null).await;
    gone.is_error(404, "alias_not_found", Some("alias"), &["embed"]);
    world.embeddings(&call).await.is_error(404, "model_not_found", Some("model"), &["embed"]);
}

#[tokio::test]
async fn aliases_that_cannot_be_are_refused() {
    let world = World::new().await;
    let target = |model: &str, percent: u32| json!({"model": model, "percent": percent});
    let targets = |list: Vec<Value>| json!({"targets": list});
    let long = format!("/v1/aliases/{}", "x".repeat(129));
    for (path, body, status, code, param, word) in [
        ("/v1/aliases/new", targets(vec![]), 400, "invalid_targets", "targets", "empty"),
        (
            "/v1/aliases/new",
            targets(vec![target("plain", 99)]),
            400,
            "invalid_targets",
            "targets",
            "99",
        ),
        ("/v1/aliases/new", points("none"), 404, "model_not_found", "targets", "none"),
        ("/v1/aliases/plain", points("org/nested"), 409, "name_taken", "targets", "plain"),
        ("/v1/aliases/a%20b", points("plain"), 400, "invalid_name", "alias", "128 bytes"),
        (long.as_str(), points("plain"), 400, "invalid_name", "alias", "128 bytes"),
    ] {
        operate(&world, "PUT", path, &body).await.is_error(status, code, Some(param), &[word]);
    }
    let unknown = operate(&world, "PUT", "/v1/aliases/new", &json!({"target": []})).await;
    assert_eq!(unknown.status, 400);
    // Nothing changed.
    let all = operate(&world, "GET", "/v1/aliases", &Value::Null).await.ok();
    assert_eq!(all["data"].as_array().expect("a list").len(), 2);
}

#[tokio::test]
async fn only_operators_manage() {
    let world = World::new().await;
    for (method, path) in [
        ("POST", "/v1/models"),
        ("DELETE", "/v1/models/plain"),
        ("GET", "/v1/aliases"),
        ("PUT", "/v1/aliases/embed"),
        ("DELETE", "/v1/aliases/ada"),
    ] {
        let answer = world.send(world.request(method, path, points("plain").to_string())).await;
        answer.is_error(403, "operators_only", None, &["operator"]);
    }
    world.embeddings(&json!({"model": "ada", "input": "a"})).await.ok();
}
