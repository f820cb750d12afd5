//! Limits of projects and users over HTTP: who pays, what a refusal says, and who may look.

use serde_json::{Value, json};

use super::world::{Answer, KEY, PLAIN, World, request};
use crate::{Grant, SigningKey};

const PROJECT: &str = "/v1/tenants/acme%2Fsearch";
const USER: &str = "/v1/tenants/acme%2F%2Fada%40example.com";

fn token(team: &str, project: Option<&str>, user: Option<&str>) -> String {
    let mut grant = Grant::new(team, "standard", &["*"]);
    grant.project = project.map(str::to_owned);
    grant.user = user.map(str::to_owned);
    let key = SigningKey::new(KEY.to_vec()).expect("long enough");
    key.mint(&grant, 600).expect("mints")
}

async fn ask(world: &World, token: &str, method: &str, path: &str, body: Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    world.send(request(method, path, Some(&format!("Bearer {token}")), body)).await
}

async fn set(world: &World, subject: &str, limits: Value) -> Value {
    let body = json!({ "limits": limits });
    ask(world, &world.operator, "PUT", &format!("{subject}/limits"), body).await.ok()
}

async fn embed(world: &World, token: &str) -> Answer {
    let body = json!({"model": PLAIN, "input": "one two"});
    ask(world, token, "POST", "/v1/embeddings", body).await
}

/// What is taken of a subject's first limit.
async fn taken(world: &World, subject: &str) -> Value {
    let path = format!("{subject}/limits");
    ask(world, &world.operator, "GET", &path, Value::Null).await.ok()["limits"][0]["taken"].clone()
}

#[tokio::test]
async fn a_user_pays_for_team_project_and_itself_and_a_refusal_names_whose_limit_it_is() {
    let world = World::new().await;
    let (search, ada) = (Some("search"), Some("ada@example.com"));
    let both = token("acme", search, ada);
    let limit = |amount: u64| json!([{"unit": "requests", "window": "day", "amount": amount}]);
    set(&world, "/v1/tenants/acme", limit(100)).await;
    set(&world, PROJECT, limit(50)).await;
    let answer = set(&world, USER, limit(3)).await;
    assert_eq!(answer["tenant"], "acme//ada@example.com");
    let mut admitted = 0;
    let refused = loop {
        let answer = embed(&world, &both).await;
        if answer.status != 200 {
            break answer;
        }
        admitted += 1;
        // Until this node has read that the user has a limit, the user's is not met.
        assert!(admitted <= 60, "the limit is never met");
    };
    let words = ["3 requests per day", "user 'ada@example.com' of team 'acme'", "leaves 0"];
    refused.is_error(429, "quota_exceeded", None, &words);
    assert!(refused.header("retry-after").is_some());
    assert_eq!(refused.header("x-ratelimit-limit-requests"), Some("3"));
    assert_eq!(taken(&world, USER).await, 3);
    let usage = ask(&world, &both, "GET", &format!("{USER}/usage"), Value::Null).await.ok();
    assert_eq!(usage["usage"][0]["requests"], 3);
    let team = ask(&world, &both, "GET", "/v1/tenants/acme/usage", Value::Null).await.ok();
    assert_eq!(team["usage"][0]["requests"], admitted, "each request once, whoever else pays");
    // Another user of the project goes on.
    embed(&world, &token("acme", search, Some("bob"))).await.ok();
    embed(&world, &token("acme", None, None)).await.ok();
}

#[tokio::test]
async fn everyone_sees_the_own_limits_and_only_operators_change_any() {
    let world = World::new().await;
    let whole = token("acme", None, None);
    let search = token("acme", Some("search"), None);
    let ada = token("acme", Some("ads"), Some("ada@example.com"));
    let other = token("other", Some("search"), Some("ada@example.com"));
    for (token, path, status) in [
        (&whole, PROJECT, 200),
        (&whole, USER, 200),
        (&search, PROJECT, 200),
        (&search, "/v1/tenants/acme", 200),
        (&search, "/v1/tenants/acme%2Fads", 403),
        (&search, USER, 403),
        (&ada, USER, 200),
        (&ada, "/v1/tenants/acme%2F%2Fbob", 403),
        (&ada, PROJECT, 403),
        (&other, PROJECT, 403),
        (&other, USER, 403),
        (&world.operator, USER, 200),
    ] {
        for what in ["limits", "usage"] {
            let path = format!("{path}/{what}");
            let answer = ask(&world, token, "GET", &path, Value::Null).await;
            assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text());
        }
        if *token != world.operator {
            let body = json!({"limits": []});
            let answer = ask(&world, token, "PUT", &format!("{path}/limits"), body).await;
            answer.is_error(403, "operators_only", None, &["--tier operator"]);
        }
    }
    for path in ["acme%2F", "%2Fsearch", "acme%2F%2F", "acme%2Fa%2Fb", "acme%2F%2Fa%20b"] {
        let path = format!("/v1/tenants/{path}/limits");
        let answer = ask(&world, &world.operator, "GET", &path, Value::Null).await;
        answer.is_error(400, "invalid_path", Some("tenant"), &["TEAM/PROJECT", "TEAM//USER"]);
    }
}
