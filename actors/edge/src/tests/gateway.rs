//! What the gateway serves, as operators change it.

use axum::http::StatusCode;
use headwater_models::chat::double::ScriptedChat;
use serde_json::{Value, json};

use super::chat::CHAT;
use super::world::{Answer, Setup, World, request};

async fn world() -> World {
    let model = ScriptedChat::new(vec![ScriptedChat::words(7, &["hello"]); 20]);
    World::with(Setup { chat: Some(model), ..Setup::default() }).await
}

async fn operate(world: &World, method: &str, path: &str, body: &Value) -> Answer {
    let token = format!("Bearer {}", world.operator);
    let path = format!("/v1/gateway/config{path}");
    world.send(request(method, &path, Some(&token), body.to_string())).await
}

fn serving(names: &[&str]) -> Value {
    let model = |name: &&str| {
        let target = json!({"backend": "scripted", "price": {"input": 1.5, "output": 2.0}});
        json!({"name": name, "targets": [target]})
    };
    json!({"models": names.iter().map(model).collect::<Vec<_>>()})
}

async fn status_of(world: &World, model: &str) -> StatusCode {
    let message = json!({"role": "user", "content": "hello"});
    let body = json!({"model": model, "messages": [message]});
    world.post("/v1/chat/completions", &body).await.status
}

#[tokio::test]
async fn a_new_version_serves_at_once_and_a_step_back_is_one_call() {
    let world = world().await;
    let first = json!({"document": serving(&["one"]), "reason": "a try"});
    let made = operate(&world, "PUT", "", &first).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let made = made.json();
    assert_eq!((&made["version"], &made["served_here"]), (&json!(1), &json!(true)));
    assert_eq!(status_of(&world, "one").await, StatusCode::OK);
    assert_eq!(status_of(&world, CHAT).await, StatusCode::NOT_FOUND);
    let second = json!({"document": serving(&["two"]), "expected_version": 1});
    assert_eq!(operate(&world, "PUT", "", &second).await.json()["version"], 2);
    assert_eq!(status_of(&world, "one").await, StatusCode::NOT_FOUND);
    let back = operate(&world, "POST", "/rollback", &json!({"reason": "worse"})).await;
    let back = back.json();
    assert_eq!((&back["version"], &back["restores"]), (&json!(3), &json!(1)));
    assert_eq!(status_of(&world, "one").await, StatusCode::OK);
    let served = operate(&world, "GET", "", &Value::Null).await.json();
    let model = &served["document"]["models"][0];
    assert_eq!(
        (&model["name"], &model["targets"][0]["price"]["input"]),
        (&json!("one"), &json!(1.5))
    );
    let old = operate(&world, "GET", "/versions/2", &Value::Null).await;
    assert_eq!(old.json()["document"]["models"][0]["name"], "two");
    let listed = operate(&world, "GET", "/versions", &Value::Null).await;
    let listed = listed.json();
    let told: Vec<(u64, &str)> = listed["data"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| (one["version"].as_u64().unwrap_or(0), one["reason"].as_str().unwrap_or("-")))
        .collect();
    assert_eq!(told, [(3, "worse"), (2, ""), (1, "a try")]);
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_by_its_field_and_changes_nothing() {
    let world = world().await;
    let with = |change: fn(&mut Value)| {
        let mut document = serving(&["one"]);
        change(&mut document["models"][0]);
        json!({"document": document})
    };
    for (body, status, code, param) in [
        (
            with(|model| model["targets"][0]["backend"] = json!("nowhere")),
            400,
            "invalid_config",
            "models[0].targets[0].backend",
        ),
        (
            with(|model| model["targets"][0]["price"] = Value::Null),
            400,
            "invalid_config",
            "models[0].targets[0].price",
        ),
        (
            with(|model| model["targets"][0]["price"]["output"] = json!(-1)),
            400,
            "invalid_config",
            "models[0].targets[0].price.output",
        ),
        (
            with(|model| model["targets"][0]["weight"] = json!(0)),
            400,
            "invalid_config",
            "models[0].targets",
        ),
        (
            with(|model| model["targets"][0]["wait"] = json!(1)),
            400,
            "invalid_field",
            "document.models[0].targets[0].wait",
        ),
        (
            json!({"document": serving(&["one"]), "expected_version": 7}),
            409,
            "version_moved",
            "expected_version",
        ),
    ] {
        let answer = operate(&world, "PUT", "", &body).await;
        let error = answer.json()["error"].take();
        assert_eq!(answer.status.as_u16(), status, "{error}");
        assert_eq!((&error["code"], &error["param"]), (&json!(code), &json!(param)), "{error}");
        if code == "invalid_config" {
            let checked = operate(&world, "POST", "/check", &body).await;
            assert_eq!(checked.json()["error"]["param"], param);
        }
    }
    let checked = json!({"document": serving(&["one"])});
    assert_eq!(operate(&world, "POST", "/check", &checked).await.status, StatusCode::OK);
    let back = operate(&world, "POST", "/rollback", &json!({})).await;
    assert_eq!(back.json()["error"]["code"], "nothing_before");
    let unknown = operate(&world, "POST", "/rollback", &json!({"to_version": 9})).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(operate(&world, "GET", "", &Value::Null).await.json()["version"], 0);
    assert_eq!(status_of(&world, CHAT).await, StatusCode::OK, "what was served stays");
}

#[tokio::test]
async fn only_operators_change_what_is_served() {
    let world = world().await;
    for (method, path) in [
        ("GET", ""),
        ("PUT", ""),
        ("POST", "/check"),
        ("POST", "/rollback"),
        ("GET", "/versions"),
        ("GET", "/versions/1"),
    ] {
        let path = format!("/v1/gateway/config{path}");
        let answer = world.send(world.request(method, &path, "{}")).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
        assert_eq!(answer.json()["error"]["code"], "operators_only");
    }
}
