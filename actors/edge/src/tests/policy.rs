//! The one policy path: every route of the table is asked by callers of all kinds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headwater_actors::gateway::{AuditOutcome, AuditRecord, MemoryAudit};
use headwater_actors::identity::{Holder, NewKey, RevokedToken};
use headwater_models::Task;
use headwater_models::chat::double::ScriptedChat;
use headwater_models::double::DoubleModel;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::chat::CHAT;
use super::world::{Answer, KEY, PLAIN, Setup, World, request};
use crate::error::Shape;
use crate::gate::shape_of;
use crate::identity::token_names;
use crate::routes::{Counted, Route, Scope, routes};
use crate::{Grant, SigningKey};

/// The route's path with something in each place.
fn address(path: &str) -> String {
    let places = [
        ("{tenant}", "acme"),
        ("{*model}", PLAIN),
        ("{*alias}", "ada"),
        ("{name}", "notes"),
        ("{version}", "v1"),
        ("{action}", "pause"),
        ("{experiment}", "words"),
        ("{file}", "page.js"),
        ("{id}", "0123456789abcdef"),
        ("{*document}", "a/first"),
    ];
    let full = places.iter().fold(path.to_owned(), |path, (place, word)| path.replace(place, word));
    assert!(!full.contains('{'), "{path} has a place that this test does not know");
    full
}

fn new_key(tier: &str, models: &[&str], expires_ms: Option<u64>) -> NewKey {
    let holder = Holder {
        team: "acme".to_owned(),
        project: None,
        user: None,
        models: models.iter().map(ToString::to_string).collect(),
        tier: tier.to_owned(),
    };
    NewKey { holder, note: String::new(), expires_ms }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

async fn ask(world: &World, route: &Route, header: Option<&str>, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    world.send(request(route.method.name(), &address(route.path), header, body)).await
}

/// OpenAI's code of an error, or the text of one in another shape.
fn code(answer: &Answer) -> String {
    let body = answer.json();
    body["error"]["code"]
        .as_str()
        .unwrap_or_else(|| body["error"]["type"].as_str().unwrap_or(""))
        .to_owned()
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

/// An operator's token that was good until a while ago.
fn ended_token() -> String {
    let claims = json!({
        "iss": "headwater", "tenant": "ops", "models": ["*"], "tier": "operator",
        "iat": now_ms() / 1000 - 60, "exp": now_ms() / 1000 - 5,
    });
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(KEY)).expect("signs")
}

/// Callers whom no guarded route lets in, each by name.
async fn strangers(world: &World) -> Vec<(&'static str, Option<String>)> {
    let keys = &world.identity;
    let (revoked, revoked_key) =
        keys.create(new_key("operator", &["*"], None)).await.expect("made");
    keys.revoke(&revoked.id).await.expect("revoked");
    let soon_ms = now_ms() + 30;
    let (_, expired_key) =
        keys.create(new_key("operator", &["*"], Some(soon_ms))).await.expect("made");
    let (rotated, old_key) = keys.create(new_key("operator", &["*"], None)).await.expect("made");
    keys.rotate(&rotated.id, 0).await.expect("rotated");
    while now_ms() <= soon_ms {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let signing = SigningKey::new(KEY.to_vec()).expect("long enough");
    let operator = Grant::new("ops", "operator", &["*"]);
    let ended = ended_token();
    let withdrawn = signing.mint(&operator, 600).expect("mints");
    let (issuer, id, expires_s) = token_names(&withdrawn).expect("it has names");
    let token = RevokedToken { issuer, id, expires_ms: expires_s * 1000 };
    keys.revoke_token(token).await.expect("revoked");
    let other = SigningKey::new(vec![9; 32]).expect("long enough").mint(&operator, 600);
    let (good, _) = revoked_key.reveal().rsplit_once('_').expect("two parts");
    vec![
        ("nobody", None),
        ("another scheme", Some(format!("Basic {}", world.operator))),
        ("no token", Some(bearer("sk-1234"))),
        ("a token of another key", Some(bearer(&other.expect("mints")))),
        ("an expired token", Some(bearer(&ended))),
        ("a revoked token", Some(bearer(&withdrawn))),
        ("a revoked key", Some(bearer(revoked_key.reveal()))),
        ("an expired key", Some(bearer(expired_key.reveal()))),
        ("a rotated key's old secret", Some(bearer(old_key.reveal()))),
        ("an invented key", Some(bearer(&format!("{good}_{}", "0".repeat(64))))),
        ("half a key", Some(bearer(good))),
    ]
}

#[tokio::test]
async fn no_guarded_route_lets_a_stranger_in() {
    let world = World::with(Setup { ingest: true, ..Setup::default() }).await;
    let strangers = strangers(&world).await;
    for route in routes() {
        for (name, header) in &strangers {
            let answer = ask(&world, &route, header.as_deref(), &Value::Null).await;
            let place = format!("{} {} for {name}", route.method.name(), route.path);
            if route.scope == Scope::Open {
                assert_eq!(answer.status, 200, "{place}: {}", answer.text());
            } else {
                assert_eq!(answer.status, 401, "{place}: {}", answer.text());
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{place}");
            }
        }
    }
    // Neither does a path that is none, nor a method that is another one.
    for (method, path) in [("GET", "/v1/secret"), ("PATCH", "/v1/keys"), ("DELETE", "/embed")] {
        let answer = world.send(request(method, path, None, "")).await;
        assert_eq!(answer.status, 401, "{method} {path}");
    }
}

#[tokio::test]
async fn only_operators_reach_operators_routes() {
    let world = World::with(Setup { ingest: true, ..Setup::default() }).await;
    let key = |tier: &str| world.identity.create(new_key(tier, &["*"], None));
    let (_, standard) = key("standard").await.expect("made");
    let (_, operator) = key("operator").await.expect("made");
    let low = [bearer(&world.token), bearer(standard.reveal())];
    let high = [bearer(&world.operator), bearer(operator.reveal())];
    let mut guarded = 0;
    for route in routes() {
        let place = format!("{} {}", route.method.name(), route.path);
        for header in &low {
            let answer = ask(&world, &route, Some(header), &Value::Null).await;
            match route.scope {
                Scope::Operator => {
                    assert_eq!(answer.status, 403, "{place}: {}", answer.text());
                    answer.is_error(403, "operators_only", None, &["operator"]);
                    guarded += 1;
                }
                Scope::Open | Scope::Identity => {
                    let code =
                        if answer.status.is_success() { String::new() } else { code(&answer) };
                    assert_ne!(code, "operators_only", "{place}");
                    assert_ne!(answer.status, 401, "{place}");
                }
            }
        }
        // With an empty body nothing is changed but what an address alone says; that is left out.
        if route.scope == Scope::Operator && route.method.name() != "DELETE" {
            for header in &high {
                let answer = ask(&world, &route, Some(header), &Value::Null).await;
                assert!(![401, 403].contains(&answer.status.as_u16()), "{place}");
            }
        }
    }
    assert!(guarded > 20, "{guarded}");
    let other = ask_path(&world, "GET", "/v1/tenants/other/usage", &low[1]).await;
    other.is_error(403, "operators_only", None, &[]);
    let own = ask_path(&world, "GET", "/v1/tenants/acme/usage", &low[1]).await;
    assert_eq!(own.status, 200, "{}", own.text());
}

async fn ask_path(world: &World, method: &str, path: &str, header: &str) -> Answer {
    world.send(request(method, path, Some(header), "")).await
}

#[tokio::test]
async fn a_node_that_cannot_know_what_is_revoked_lets_nobody_in_and_says_why() {
    let world = World::with(Setup { stale_ms: 0, ..Setup::default() }).await;
    let (_, key) = world.identity.create(new_key("operator", &["*"], None)).await.expect("made");
    for route in routes().into_iter().filter(|route| route.scope != Scope::Open) {
        for token in [key.reveal(), &world.operator] {
            let answer = ask(&world, &route, Some(&bearer(token)), &Value::Null).await;
            let place = format!("{} {}", route.method.name(), route.path);
            assert_eq!(answer.status, 503, "{place}: {}", answer.text());
            assert_eq!(answer.header("retry-after"), Some("1"), "{place}");
            if shape_of(route.path) == Shape::OpenAi {
                let words = ["not heard from the store", "revoked", "another node"];
                answer.is_error(503, "identity_unavailable", None, &words);
            }
        }
    }
}

/// A request that asks this route for work, with a model that the route is for.
fn work(path: &str, model: Option<&str>) -> Value {
    let chat = |name: &str| json!([{"role": "user", "content": name}]);
    let model = |own: &str| model.unwrap_or(own).to_owned();
    match path {
        "/v1/embeddings" => json!({"model": model(PLAIN), "input": "one"}),
        "/embed" => json!({"model": model(PLAIN), "inputs": "one"}),
        "/embed_sparse" => json!({"model": model("splade"), "inputs": "one"}),
        "/rerank" => json!({"model": model("judge"), "query": "q", "texts": ["one"]}),
        "/v1/rerank" => json!({"model": model("judge"), "query": "q", "documents": ["one"]}),
        "/v1/search" => json!({"collection": "notes", "query": "one"}),
        "/v1/chat/completions" => json!({"model": model(CHAT), "messages": chat("hi")}),
        "/v1/completions" => json!({"model": model(CHAT), "prompt": "hi"}),
        "/v1/responses" => json!({"model": model(CHAT), "input": "hi"}),
        "/v1/messages" => json!({"model": model(CHAT), "max_tokens": 9, "messages": chat("hi")}),
        other => panic!("say how work is asked for at {other}"),
    }
}

async fn working_world(chat: &ScriptedChat) -> World {
    audited_world(chat, None).await
}

async fn audited_world(chat: &ScriptedChat, audit: Option<MemoryAudit>) -> World {
    let judge = DoubleModel::new("judge", 8, 16).with_card(|card| card.task = Task::Rerank);
    let splade = DoubleModel::new("splade", 8, 16).with_card(|card| card.task = Task::Sparse);
    let others = vec![judge, splade];
    let chat = Some(chat.clone());
    let world = World::with(Setup { chat, others, audit, ..Setup::default() }).await;
    let made = world.post("/v1/collections", &json!({"name": "notes", "model": PLAIN})).await;
    assert_eq!(made.status, 201, "{}", made.text());
    world
}

fn counted() -> impl Iterator<Item = Route> {
    routes().into_iter().filter(|route| route.counted == Counted::Yes)
}

#[tokio::test]
async fn no_counted_route_works_for_a_tenant_whose_quota_is_used_up() {
    let chat = ScriptedChat::new(vec![ScriptedChat::words(1, &["hello"])]);
    let world = working_world(&chat).await;
    let header = bearer(&world.token);
    for route in counted() {
        let answer = ask(&world, &route, Some(&header), &work(route.path, None)).await;
        assert_eq!(answer.status, 200, "{}: {}", route.path, answer.text());
    }
    // Another world, where the limit stands before anything is handed out.
    let chat = ScriptedChat::new(vec![ScriptedChat::words(1, &["hello"])]);
    let world = working_world(&chat).await;
    let (_, key) = world.identity.create(new_key("standard", &["*"], None)).await.expect("made");
    let limits = json!({"limits": [{"unit": "requests", "window": "month", "amount": 1}]});
    let path = "/v1/tenants/acme/limits";
    let set = request("PUT", path, Some(&bearer(&world.operator)), limits.to_string());
    world.send(set).await.ok();
    world.embeddings(&work("/v1/embeddings", None)).await.ok();
    let mut refused = 0;
    for route in counted() {
        for header in [bearer(&world.token), bearer(key.reveal())] {
            let answer = ask(&world, &route, Some(&header), &work(route.path, None)).await;
            assert_eq!(answer.status, 429, "{}: {}", route.path, answer.text());
            assert!(answer.header("retry-after").is_some(), "{}", route.path);
            refused += 1;
        }
    }
    assert!(refused >= 20, "{refused}");
    assert!(chat.asked().is_empty(), "a model was asked");
}

#[tokio::test]
async fn no_counted_route_works_with_a_model_that_the_key_does_not_allow() {
    let chat = ScriptedChat::new(vec![ScriptedChat::words(1, &["hello"])]);
    let world = working_world(&chat).await;
    let (_, key) = world.identity.create(new_key("standard", &["none"], None)).await.expect("made");
    let header = bearer(key.reveal());
    for route in counted() {
        let answer = ask(&world, &route, Some(&header), &work(route.path, None)).await;
        assert_eq!(answer.status, 403, "{}: {}", route.path, answer.text());
    }
    assert!(chat.asked().is_empty());
}

#[tokio::test]
async fn every_counted_route_leaves_one_record_answered_or_refused() {
    for (limit, status, outcome) in
        [(100, 200, AuditOutcome::Whole), (0, 429, AuditOutcome::OverQuota)]
    {
        let lake = MemoryAudit::new();
        let chat = ScriptedChat::new(vec![ScriptedChat::words(1, &["hello"])]);
        let world = audited_world(&chat, Some(lake.clone())).await;
        let new = new_key("standard", &["*"], None);
        let (key, secret) = world.identity.create(new).await.expect("made");
        let limits = json!({"limits": [{"unit": "requests", "window": "month", "amount": limit}]});
        let operator = bearer(&world.operator);
        let path = "/v1/tenants/acme/limits";
        world.send(request("PUT", path, Some(&operator), limits.to_string())).await.ok();
        for (place, route) in counted().enumerate() {
            let header = bearer(secret.reveal());
            let answer = ask(&world, &route, Some(&header), &work(route.path, None)).await;
            assert_eq!(answer.status, status, "{}: {}", route.path, answer.text());
            let records = written(&lake, place + 1).await;
            let record = records.last().expect("one");
            assert_eq!((record.route.as_str(), record.outcome), (route.path, outcome));
            assert_eq!((record.team.as_str(), record.key_id.as_ref()), ("acme", Some(&key.id)));
            assert_eq!(record.tokens_in > 0, status == 200, "{record:?}");
        }
    }
}

/// The records, once there are so many, and no more.
async fn written(lake: &MemoryAudit, count: usize) -> Vec<AuditRecord> {
    for _ in 0..2_000 {
        let records = lake.records();
        if records.len() >= count {
            assert_eq!(records.len(), count, "{records:?}");
            return records;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{count} records are not written");
}
