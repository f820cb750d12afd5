//! `/v1/keys` and `/v1/tokens/revoke`, and what a key opens.

use axum::http::header;
use serde_json::{Value, json};

use super::world::{Answer, PLAIN, Setup, World, request};

async fn operate(world: &World, method: &str, path: &str, body: Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    world.send(request(method, path, Some(&format!("Bearer {}", world.operator)), body)).await
}

async fn made(world: &World, body: Value) -> (String, String) {
    let answer = operate(world, "POST", "/v1/keys", body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.json();
    let text = |field: &str| body[field].as_str().expect("a text").to_owned();
    (text("id"), text("key"))
}

async fn embed(world: &World, key: &str) -> Answer {
    let body = json!({"model": PLAIN, "input": "one"}).to_string();
    world.send(request("POST", "/v1/embeddings", Some(&format!("Bearer {key}")), body)).await
}

#[tokio::test]
async fn a_key_is_made_shown_once_used_rotated_and_revoked() {
    let world = World::new().await;
    let (id, key) = made(
        &world,
        json!({
            "team": "acme", "project": "search", "user": "ada@example.com", "models": [PLAIN],
            "tier": "gold", "note": "the nightly job",
        }),
    )
    .await;
    embed(&world, &key).await.ok();
    let other = json!({"model": "org/nested", "input": "one"}).to_string();
    let header = format!("Bearer {key}");
    let other = world.send(request("POST", "/v1/embeddings", Some(&header), other)).await;
    other.is_error(403, "model_not_allowed", Some("model"), &["org/nested"]);
    let mut by_header = request("POST", "/v1/embeddings", None, r#"{"model":"plain","input":"a"}"#);
    by_header.headers_mut().insert("x-api-key", key.parse().expect("a header"));
    world.send(by_header).await.ok();

    let shown = operate(&world, "GET", &format!("/v1/keys/{id}"), Value::Null).await.ok();
    let expected = json!({
        "id": id, "object": "key", "team": "acme", "project": "search", "user": "ada@example.com",
        "models": [PLAIN], "tier": "gold", "note": "the nightly job",
        "created_at": shown["created_at"], "expires_at": null, "rotated_at": null,
        "previous_until": null, "revoked_at": null,
    });
    assert_eq!(shown, expected);
    let list = operate(&world, "GET", "/v1/keys", Value::Null).await;
    assert!(!list.text().contains(key.rsplit('_').next().expect("three parts")));
    assert_eq!(list.ok(), json!({"object": "list", "data": [expected], "next_after": null}));

    let rotate = format!("/v1/keys/{id}/rotate");
    let rotated = operate(&world, "POST", &rotate, json!({"grace_s": 600})).await.ok();
    let fresh = rotated["key"].as_str().expect("a key").to_owned();
    assert_ne!(fresh, key);
    embed(&world, &key).await.ok();
    embed(&world, &fresh).await.ok();
    let rotated = operate(&world, "POST", &rotate, json!({"grace_s": 0})).await.ok();
    let newest = rotated["key"].as_str().expect("a key").to_owned();
    embed(&world, &fresh).await.is_error(401, "invalid_api_key", None, &["revoked"]);
    embed(&world, &newest).await.ok();

    let revoked = operate(&world, "POST", &format!("/v1/keys/{id}/revoke"), Value::Null).await.ok();
    assert!(revoked["revoked_at"].is_u64());
    for dead in [&key, &fresh, &newest] {
        let refused = embed(&world, dead).await;
        refused.is_error(401, "invalid_api_key", None, &["no such key, or it was revoked"]);
        assert!(!refused.text().contains(dead.as_str()), "the key is echoed");
    }
    let again = operate(&world, "POST", &rotate, Value::Null).await;
    again.is_error(409, "key_revoked", None, &["make a new one"]);
}

#[tokio::test]
async fn what_is_wrong_with_a_key_is_named() {
    let world = World::new().await;
    let table = [
        (json!({"team": "a b"}), "team"),
        (json!({"team": "acme", "models": []}), "models"),
        (json!({"team": "acme", "tier": ""}), "tier"),
        (json!({"team": "acme", "expires_at": 1}), "expires_at"),
        (json!({"team": "acme", "project": "a/b"}), "project"),
        (json!({"team": "acme", "user": "a b"}), "user"),
    ];
    for (body, param) in table {
        let answer = operate(&world, "POST", "/v1/keys", body).await;
        answer.is_error(400, "invalid_field", Some(param), &[param]);
    }
    let unknown = operate(&world, "POST", "/v1/keys", json!({"team": "acme", "colour": 1})).await;
    assert_eq!(unknown.status, 400);
    for (method, path) in [
        ("GET", "/v1/keys/0123456789abcdef"),
        ("GET", "/v1/keys/x"),
        ("POST", "/v1/keys/x/revoke"),
        ("POST", "/v1/keys/0123456789abcdef/rotate"),
    ] {
        let answer = operate(&world, method, path, Value::Null).await;
        answer.is_error(404, "key_not_found", None, &["no key", "GET /v1/keys"]);
    }
    let path = "/v1/keys/0123456789abcdef/rotate";
    let long = operate(&world, "POST", path, json!({"grace_s": 9_999_999})).await;
    long.is_error(400, "invalid_field", Some("grace_s"), &["thirty days"]);
    let query = operate(&world, "GET", "/v1/keys?team=acme", Value::Null).await;
    assert_eq!(query.status, 400);
}

#[tokio::test]
async fn a_signed_token_is_revoked_by_itself_or_by_its_name() {
    let world = World::new().await;
    let is_good = async |token: &str| {
        let header = format!("Bearer {token}");
        world.send(request("GET", "/v1/models", Some(&header), "")).await.status == 200
    };
    let (whole, named) = (super::world::token_for(&["*"]), super::world::token_for(&["*"]));
    assert!(is_good(&whole).await && is_good(&named).await);
    let path = "/v1/tokens/revoke";
    operate(&world, "POST", path, json!({ "token": whole })).await.ok();
    assert!(!is_good(&whole).await && is_good(&named).await);
    let (_, jti, expires_at) = crate::identity::token_names(&named).expect("it has names");
    let body = json!({"jti": jti, "expires_at": expires_at});
    let answer = operate(&world, "POST", path, body).await.ok();
    assert_eq!(answer, json!({"issuer": "headwater", "jti": jti, "revoked": true}));
    assert!(!is_good(&named).await && is_good(&world.token).await);
    for body in [json!({}), json!({"token": "x"}), json!({"token": whole, "jti": "y"})] {
        let answer = operate(&world, "POST", path, body).await;
        answer.is_error(400, "invalid_field", Some("token"), &["token"]);
    }
}

#[tokio::test]
async fn an_open_node_takes_anything_but_a_key_that_is_none() {
    let world = World::with(Setup { open: true, ..Setup::default() }).await;
    for token in [None, Some("Bearer sk-anything"), Some("Basic abc")] {
        let answer = world.send(request("GET", "/v1/keys", token, "")).await;
        assert_eq!(answer.status, 200, "{token:?}");
    }
    let (id, key) = made(&world, json!({"team": "acme"})).await;
    let used = embed(&world, &key).await;
    used.ok();
    assert!(used.headers.get(header::WWW_AUTHENTICATE).is_none());
    operate(&world, "POST", &format!("/v1/keys/{id}/revoke"), Value::Null).await.ok();
    assert_eq!(embed(&world, &key).await.status, 401);
    let limited = world.send(request("GET", "/v1/keys", Some(&format!("Bearer {key}")), "")).await;
    assert_eq!(limited.status, 401);
}
