//! Tokens: who gets in, and to which models.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use headwater_actors::identity::RevokedToken;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::world::{KEY, World, request, token_for};
use crate::{Grant, GrantProblem, SigningKey};

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn claims() -> Value {
    json!({
        "iss": "headwater", "tenant": "acme", "models": ["*"], "tier": "standard",
        "iat": now_s(), "exp": now_s() + 600,
    })
}

fn with(field: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[field] = value;
    claims
}

fn without(field: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().expect("an object").remove(field);
    claims
}

fn signed(algorithm: Algorithm, key: &[u8], claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(key)).expect("signs")
}

/// A token put together by hand, as an attacker would.
fn forged(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

#[tokio::test]
async fn wrong_tokens_are_refused_with_the_reason_and_without_an_echo() {
    let world = World::new().await;
    let hs256 = |claims: &Value| signed(Algorithm::HS256, KEY, claims);
    let good = hs256(&claims());
    let (head, signature) = good.rsplit_once('.').expect("three parts");
    let (_, signed_claims) = head.split_once('.').expect("two parts");
    let none = URL_SAFE_NO_PAD.encode(json!({"alg": "none", "typ": "JWT"}).to_string());
    let widened = URL_SAFE_NO_PAD.encode(with("tenant", json!("root")).to_string());
    let bearer = |token: &str| format!("Bearer {token}");
    let table = [
        (bearer(&signed(Algorithm::HS256, &[7; 32], &claims())), "signature"),
        (
            bearer(&format!("{}.{widened}.{signature}", head.split_once('.').expect("two").0)),
            "signature",
        ),
        (bearer(&hs256(&with("exp", json!(now_s() - 2)))), "expired"),
        (bearer(&hs256(&without("exp"))), "not a headwater token"),
        (bearer(&hs256(&without("iss"))), "not a headwater token"),
        (bearer(&hs256(&with("iss", json!("elsewhere")))), "not issued by headwater"),
        (bearer(&hs256(&without("tenant"))), "not a headwater token"),
        (bearer(&hs256(&with("models", json!("*")))), "not a headwater token"),
        (bearer(&signed(Algorithm::HS512, KEY, &claims())), "HS256"),
        (bearer(&forged(&json!({"alg": "RS256", "typ": "JWT"}), &claims(), signature)), "HS256"),
        (bearer(&forged(&json!({"alg": "none"}), &claims(), "")), "not a headwater token"),
        (bearer(&format!("{none}.{signed_claims}.")), "not a headwater token"),
        (bearer(&format!("{none}.{signed_claims}.{signature}")), "not a headwater token"),
        (bearer("sk-1234567890"), "not a headwater token"),
        (bearer(""), "not a headwater token"),
        ("Bearer".to_owned(), "scheme"),
        (format!("Basic {good}"), "scheme"),
        (good.clone(), "scheme"),
        ("Bearer \u{e9}".to_owned(), "scheme"),
    ];
    for (header, reason) in table {
        for path in ["/v1/models", "/v1/models/plain", "/nowhere"] {
            let answer = world.send(request("GET", path, Some(&header), "")).await;
            answer.is_error(401, "invalid_api_key", None, &[reason, "the operator"]);
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            let sent = header.split_once(' ').map_or("", |(_, token)| token);
            assert!(sent.is_empty() || !answer.text().contains(sent), "the token is echoed");
        }
    }
}

#[tokio::test]
async fn a_request_without_a_token_is_told_how_to_get_one() {
    let world = World::new().await;
    for (method, path) in [("POST", "/v1/embeddings"), ("GET", "/v1/models"), ("GET", "/x")] {
        let answer = world.send(request(method, path, None, "")).await;
        answer.is_error(
            401,
            "missing_api_key",
            None,
            &["Authorization: Bearer", "headwater token"],
        );
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    for path in ["/embed", "/tokenize"] {
        let answer = world.send(request("POST", path, None, "")).await;
        answer.is_tei_error(401, "Validation", &["Authorization: Bearer"]);
    }
}

/// Its signature is not looked at again; its end and its revocation are, at each request.
#[tokio::test]
async fn a_token_that_was_good_ends_and_is_revoked_like_any_other() {
    let world = World::new().await;
    let named = |id: &str, exp: u64| {
        let mut claims = with("exp", json!(exp));
        claims["jti"] = json!(id);
        format!("Bearer {}", signed(Algorithm::HS256, KEY, &claims))
    };
    let end_s = now_s() + 2;
    let (short, revoked) = (named("short", end_s), named("revoked", now_s() + 600));
    let ask = async |header: &str| world.send(request("GET", "/v1/models", Some(header), "")).await;
    for header in [&short, &revoked, &short, &revoked] {
        assert_eq!(ask(header).await.status, 200);
    }
    let expires_ms = (now_s() + 600) * 1_000;
    let (issuer, id) = ("headwater".to_owned(), "revoked".to_owned());
    world.identity.revoke_token(RevokedToken { issuer, id, expires_ms }).await.expect("revoked");
    ask(&revoked).await.is_error(401, "invalid_api_key", None, &["revoked"]);
    while now_s() <= end_s {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    ask(&short).await.is_error(401, "invalid_api_key", None, &["expired"]);
}

#[tokio::test]
async fn a_good_token_passes_in_any_spelling_of_the_scheme() {
    let world = World::new().await;
    let token = signed(Algorithm::HS256, KEY, &claims());
    for header in
        [format!("Bearer {token}"), format!("bearer {token}"), format!("BEARER  {token} ")]
    {
        let answer = world.send(request("GET", "/v1/models", Some(&header), "")).await;
        assert_eq!(answer.status, 200, "{header}");
    }
}

#[tokio::test]
async fn a_token_opens_its_own_models_and_no_others() {
    let world = World::new().await;
    // (models of the token, model asked for, status)
    let table: [(&[&str], &str, u16); 12] = [
        (&["plain"], "plain", 200),
        (&["plain"], "ada", 200),
        (&["ada"], "ada", 200),
        // The right to an alias is the right to that name only.
        (&["ada"], "plain", 403),
        (&["plain"], "org/nested", 403),
        (&["plain"], "babbage", 403),
        (&["plain", "org/nested"], "org/nested", 200),
        // The answer does not tell whether the name is served.
        (&["plain"], "nobody/knows", 403),
        (&["ghost"], "ghost", 404),
        (&["*"], "nobody/knows", 404),
        (&["*"], "babbage", 200),
        (&["Plain"], "plain", 403),
    ];
    for (allowed, asked, status) in table {
        let header = format!("Bearer {}", token_for(allowed));
        let body = json!({"model": asked, "input": "a"}).to_string();
        let tei = json!({"model": asked, "inputs": "a"}).to_string();
        let requests = [
            request("POST", "/v1/embeddings", Some(&header), body),
            request("GET", &format!("/v1/models/{asked}"), Some(&header), ""),
            request("POST", "/embed", Some(&header), tei.clone()),
            request("POST", "/tokenize", Some(&header), tei),
        ];
        for request in requests {
            let path = request.uri().path().to_owned();
            let answer = world.send(request).await;
            assert_eq!(answer.status, status, "{allowed:?} {asked} {path} {}", answer.text());
            if path.starts_with("/v1") && status == 403 {
                answer.is_error(403, "model_not_allowed", Some("model"), &[asked]);
            }
        }
    }
}

#[tokio::test]
async fn a_stranger_to_a_model_learns_no_other_models_name() {
    let world = World::new().await;
    let header = format!("Bearer {}", token_for(&["ghost", "plain"]));
    let answer = world.send(request("GET", "/v1/models/ghost", Some(&header), "")).await;
    answer.is_error(404, "model_not_found", Some("model"), &["'ghost'", "served are: plain"]);
    assert!(!answer.text().contains("nested"));
    let answer = world.send(request("GET", "/v1/models", Some(&header), "")).await.ok();
    let names: Vec<_> =
        answer["data"].as_array().expect("a list").iter().map(|m| &m["id"]).collect();
    assert_eq!(names, ["plain"]);
    let default = token_for(&["org/nested"]);
    let answer = world
        .send(request("POST", "/embed", Some(&format!("Bearer {default}")), r#"{"inputs": "a"}"#))
        .await;
    answer.is_tei_error(403, "Validation", &["'plain'"]);
}

#[test]
fn grants_and_keys_are_checked_before_they_are_signed() {
    let grant = |tenant: &str, tier: &str, models: &[&str]| Grant::new(tenant, tier, models);
    let placed = |project: &str, user: &str| Grant {
        project: Some(project.to_owned()),
        user: Some(user.to_owned()),
        ..Grant::new("acme", "gold", &["m"])
    };
    let long = "a".repeat(65);
    let table = [
        (grant("acme-1._X", "gold", &["m"]), Ok(())),
        (grant("", "gold", &["m"]), Err(GrantProblem::Name { field: "tenant" })),
        (grant(&long, "gold", &["m"]), Err(GrantProblem::Name { field: "tenant" })),
        (grant("a b", "gold", &["m"]), Err(GrantProblem::Name { field: "tenant" })),
        (grant("a\n", "gold", &["m"]), Err(GrantProblem::Name { field: "tenant" })),
        (grant("acme", "gül", &["m"]), Err(GrantProblem::Name { field: "tier" })),
        (grant("acme", "gold", &[]), Err(GrantProblem::NoModels)),
        (placed("search", "auth0|ada@example.com"), Ok(())),
        (placed("a/b", "ada"), Err(GrantProblem::Name { field: "project" })),
        (placed("search", "ada b"), Err(GrantProblem::User)),
    ];
    let key = SigningKey::new(KEY.to_vec()).expect("long enough");
    for (grant, expected) in table {
        assert_eq!(grant.check(), expected, "{grant:?}");
        assert_eq!(key.mint(&grant, 60).map(drop), expected, "{grant:?}");
    }
    let short = SigningKey::new(vec![0; 31]).map(drop);
    assert_eq!(short, Err(GrantProblem::ShortKey { given: 31, needed: 32 }));
    assert_eq!(format!("{key:?}"), "SigningKey(..)");
}
