//! Who may ask what: models, tokens, nodes without chat, and errors before an answer begins.

use axum::body::Body;
use axum::http::Request;
use headwater_actors::gateway::GatewayError;
use headwater_actors::tenancy::{Amounts, Refusal};
use headwater_models::chat::ChatError;
use headwater_models::chat::double::ScriptedChat;
use serde_json::{Value, json};

use super::{CHAT, OTHER, saying};
use crate::error::{ApiError, Shape};
use crate::tests::world::{Setup, World, request, token_for};

const OPENAI: &str = "/v1/chat/completions";
const ANTHROPIC: &str = "/v1/messages";

fn ask(model: &str, stream: bool) -> Value {
    let messages = json!([{"role": "user", "content": "hi"}]);
    json!({"model": model, "max_tokens": 5, "messages": messages, "stream": stream})
}

#[tokio::test]
async fn a_node_without_chat_says_so() {
    let world = World::new().await;
    let answer = world.post(OPENAI, &ask(CHAT, false)).await;
    answer.is_error(404, "no_gateway", None, &["not set up", "`gateway.backends`"]);
    for path in [ANTHROPIC, "/v1/messages/count_tokens"] {
        let answer = world.post(path, &ask(CHAT, false)).await;
        assert_eq!(answer.status, 404);
        assert_eq!(answer.json()["error"]["type"], "not_found_error");
    }
    assert_eq!(world.get("/v1/models/talker").await.status, 404);
}

#[tokio::test]
async fn a_token_opens_its_own_models_and_no_others() {
    let (world, model) = saying(ScriptedChat::words(1, &["ok"])).await;
    // (models of the token, model asked for, status)
    let table: [(&[&str], &str, u16); 6] = [
        (&[CHAT], CHAT, 200),
        (&["*"], OTHER, 200),
        (&[CHAT], OTHER, 403),
        // The answer does not tell whether the name is served.
        (&[CHAT], "ghost", 403),
        (&["ghost", CHAT], "ghost", 404),
        (&["*"], "plain", 404),
    ];
    for (allowed, asked, status) in table {
        let before = model.asked().len();
        let header = format!("Bearer {}", token_for(allowed));
        for (path, stream) in [(OPENAI, false), (OPENAI, true), (ANTHROPIC, true)] {
            let body = ask(asked, stream).to_string();
            let answer = world.send(request("POST", path, Some(&header), body)).await;
            assert_eq!(answer.status, status, "{allowed:?} {asked} {}", answer.text());
            if path == OPENAI && status == 403 {
                answer.is_error(403, "model_not_allowed", Some("model"), &[asked]);
            }
            if path == OPENAI && status == 404 {
                answer.is_error(404, "model_not_found", Some("model"), &[asked, CHAT]);
                assert_eq!(answer.text().contains(OTHER), allowed == ["*"]);
            }
        }
        assert_eq!(model.asked().len() > before, status == 200);
    }
}

#[tokio::test]
async fn chat_models_stand_beside_the_encoders() {
    let (world, _) = saying(ScriptedChat::words(1, &["ok"])).await;
    let names = async |models: &[&str]| {
        let header = format!("Bearer {}", token_for(models));
        let answer = world.send(request("GET", "/v1/models", Some(&header), "")).await.ok();
        let data = answer["data"].as_array().expect("a list").clone();
        data.iter()
            .map(|model| model["id"].as_str().expect("a name").to_owned())
            .collect::<Vec<_>>()
    };
    let all = names(&["*"]).await;
    assert!(["plain", CHAT, OTHER].iter().all(|name| all.iter().any(|had| had == name)), "{all:?}");
    assert_eq!(names(&[OTHER]).await, [OTHER]);
    let one = world.get(&format!("/v1/models/{OTHER}")).await.ok();
    let expected = json!({
        "id": OTHER, "object": "model", "created": 0, "owned_by": "scripted", "task": "chat",
    });
    assert_eq!(one, expected);
    let header = format!("Bearer {}", token_for(&[CHAT]));
    let path = format!("/v1/models/{OTHER}");
    assert_eq!(world.send(request("GET", &path, Some(&header), "")).await.status, 403);
}

#[tokio::test]
async fn either_header_holds_the_token_and_both_must_agree() {
    let (world, _) = saying(ScriptedChat::words(1, &["ok"])).await;
    let good = token_for(&["*"]);
    let other = token_for(&[CHAT]);
    let bearer = format!("Bearer {good}");
    // (Authorization, x-api-key, status)
    let table = [
        (None, Some(good.as_str()), 200),
        (Some(bearer.as_str()), Some(good.as_str()), 200),
        (Some(bearer.as_str()), None, 200),
        (Some(bearer.as_str()), Some(other.as_str()), 401),
        (None, Some("not-a-token"), 401),
        (None, Some(bearer.as_str()), 401),
        (Some("Basic x"), Some(good.as_str()), 401),
        (None, None, 401),
    ];
    for (authorization, key, status) in table {
        for path in [OPENAI, ANTHROPIC] {
            let body = ask(CHAT, false).to_string();
            let mut sent: Request<Body> = request("POST", path, authorization, body);
            if let Some(key) = key {
                sent.headers_mut().insert("x-api-key", key.parse().expect("a value"));
            }
            let answer = world.send(sent).await;
            assert_eq!(answer.status, status, "{path} {authorization:?} {key:?}");
            if status == 401 {
                let told = answer.json();
                assert!(!answer.text().contains(&good) && !answer.text().contains(&other));
                let expected = match path {
                    OPENAI => "invalid_request_error",
                    _ => "authentication_error",
                };
                assert_eq!(told["error"]["type"], expected);
            }
        }
    }
}

#[tokio::test]
async fn errors_before_the_answer_have_a_status() {
    let refused = |status, code: Option<&str>| ChatError::Refused {
        status,
        code: code.map(str::to_owned),
        message: "too many words".to_owned(),
    };
    let limited = ChatError::Limited { retry_after_ms: Some(2500), message: "slow".to_owned() };
    let gone = ChatError::Unavailable { status: None, reason: "down".to_owned() };
    let cut = ChatError::Cut { reason: "gone".to_owned() };
    // (error, OpenAI's status, code, retry-after, Anthropic's status, Anthropic's type)
    let table = [
        (refused(422, Some("odd")), 422, "odd", None, 422, "invalid_request_error"),
        (refused(404, None), 404, "refused_by_model", None, 404, "not_found_error"),
        (refused(200, None), 400, "refused_by_model", None, 400, "invalid_request_error"),
        (limited, 429, "backend_limited", Some("3"), 429, "rate_limit_error"),
        (gone, 503, "backend_unavailable", Some("1"), 529, "overloaded_error"),
        (ChatError::TimedOut { after_ms: 9 }, 504, "timeout", Some("1"), 504, "timeout_error"),
        (cut, 503, "backend_unavailable", Some("1"), 529, "overloaded_error"),
    ];
    for (error, status, code, pause, other, kind) in table {
        // At once, and as the first that the stream gives.
        for script in [Err(error.clone()), Ok(vec![Err(error)])] {
            let model = ScriptedChat::new(vec![script]);
            let world = World::with(Setup { chat: Some(model), ..Setup::default() }).await;
            for stream in [false, true] {
                let answer = world.post(OPENAI, &ask(CHAT, stream)).await;
                answer.is_error(status, code, None, &[]);
                assert_eq!(answer.header("retry-after"), pause);
                let answer = world.post(ANTHROPIC, &ask(CHAT, stream)).await;
                assert_eq!(answer.status, other);
                assert_eq!(answer.header("retry-after"), pause);
                let told = answer.json();
                assert_eq!(
                    (&told["type"], &told["error"]["type"]),
                    (&json!("error"), &json!(kind))
                );
                assert_eq!(told["request_id"].as_str(), answer.header("x-request-id"));
                assert_eq!(told["request_id"].as_str(), answer.header("request-id"));
            }
        }
    }
}

#[tokio::test]
async fn wrong_methods_and_drain_in_anthropics_shape() {
    let (world, _) = saying(ScriptedChat::words(1, &["ok"])).await;
    let wrong = world.get(ANTHROPIC).await;
    assert_eq!((wrong.status.as_u16(), &wrong.json()["type"]), (405, &json!("error")));
    let unknown = world.get("/v1/messages/other").await;
    assert_eq!(unknown.json()["error"]["type"], "not_found_error");
    world.gate.drain();
    let refused = world.post(ANTHROPIC, &ask(CHAT, false)).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, Some("1")));
    assert_eq!(refused.json()["error"]["type"], "api_error");
}

#[tokio::test]
async fn a_quota_that_does_not_cover_the_chat_is_told_as_for_embeddings() {
    let estimate = Amounts { requests: 1, tokens: 9, micro_usd: 0 };
    let refusal = Refusal::Overloaded { retry_after_ms: 2500 };
    for (shape, status) in [(Shape::OpenAi, 503), (Shape::Anthropic, 529)] {
        let refusal = refusal.clone();
        let error = ApiError::from_gateway(GatewayError::OverQuota { refusal, estimate });
        let response = error.respond(shape);
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers()["retry-after"], "3");
    }
}

#[tokio::test]
async fn answers_and_refusals_tell_how_the_limits_stand() {
    let (world, _) = saying(ScriptedChat::words(1, &["ok"])).await;
    let limits = json!({"limits": [
        {"unit": "requests", "window": "day", "amount": 3},
        {"unit": "tokens", "window": "minute", "amount": 100_000},
    ]});
    let operator = format!("Bearer {}", world.operator);
    let path = "/v1/tenants/acme/limits";
    world.send(request("PUT", path, Some(&operator), limits.to_string())).await.ok();
    let number = |answer: &crate::tests::world::Answer, name: &str| {
        let value = answer.header(name).unwrap_or_else(|| panic!("no {name}"));
        value.parse::<u64>().expect("a number")
    };
    for (route, stream) in [(OPENAI, false), (OPENAI, true), (ANTHROPIC, false)] {
        let answer = world.post(route, &ask(CHAT, stream)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(number(&answer, "x-ratelimit-limit-requests"), 3);
        assert!(number(&answer, "x-ratelimit-remaining-requests") <= 3);
        assert_eq!(number(&answer, "x-ratelimit-limit-tokens"), 100_000);
        assert!(number(&answer, "x-ratelimit-remaining-tokens") < 100_000);
        let reset = answer.header("x-ratelimit-reset-requests").expect("a span");
        assert!(reset.ends_with('s'), "{reset}");
    }
    let refused = world.post(OPENAI, &ask(CHAT, false)).await;
    refused.is_error(429, "quota_exceeded", None, &["3 requests per day"]);
    assert_eq!(number(&refused, "x-ratelimit-limit-requests"), 3);
    assert_eq!(number(&refused, "x-ratelimit-remaining-requests"), 0);
    assert!(number(&refused, "retry-after") >= 1);
}

#[tokio::test]
async fn a_monthly_cap_in_money_holds_for_chats() {
    let (world, model) = saying(ScriptedChat::words(1, &["ok"])).await;
    let limits = json!({"limits": [{"unit": "micro_usd", "window": "month", "amount": 100}]});
    let operator = format!("Bearer {}", world.operator);
    let path = "/v1/tenants/acme/limits";
    world.send(request("PUT", path, Some(&operator), limits.to_string())).await.ok();
    let mut admitted = 0;
    let refused = loop {
        let answer = world.post(OPENAI, &ask(CHAT, false)).await;
        if answer.status != 200 {
            break answer;
        }
        admitted += 1;
        assert!(admitted < 100, "the cap never held");
    };
    refused.is_error(429, "quota_exceeded", None, &["100 micro_usd per month"]);
    assert!(admitted > 0);
    assert_eq!(model.asked().len(), admitted, "who is refused costs nothing");
}
