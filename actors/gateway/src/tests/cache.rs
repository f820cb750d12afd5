//! What is asked again, and who takes an old answer.

use headwater_models::chat::{Body, ChatRequest, Message, Protocol, Role};
use serde_json::{Value, json};

use crate::{AnswerKey, CacheWish, Price, Target};

fn target(model: &str) -> Target {
    Target::of("a", model, 1, Price::FREE)
}

fn body(fields: Value) -> Option<Body> {
    let Value::Object(fields) = fields else { panic!("no object") };
    Some(Body { protocol: Protocol::OpenAiChat, fields, headers: Vec::new() })
}

fn asked(text: &str) -> ChatRequest {
    ChatRequest::new("chat", vec![Message::text(Role::User, text)])
}

fn key(team: &str, model: &str, request: &ChatRequest) -> AnswerKey {
    AnswerKey::of(team, "chat", &target(model), request)
}

#[test]
fn a_question_is_the_same_when_all_that_bears_on_its_answer_is() {
    let with = |fields: Value| ChatRequest { body: body(fields), ..asked("hello") };
    let base = json!({"model": "chat", "messages": [1], "seed": 1});
    let same = |fields: Value| key("t", "m", &with(fields)) == key("t", "m", &with(base.clone()));
    for (fields, is_same) in [
        (json!({"seed": 1, "messages": [1], "model": "chat"}), true),
        (json!({"model": "alias", "messages": [1], "seed": 1, "user": "u", "metadata": {}}), true),
        (json!({"model": "chat", "messages": [1], "seed": 2}), false),
        (json!({"model": "chat", "messages": [2], "seed": 1}), false),
        (json!({"model": "chat", "messages": [1], "seed": 1, "unknown": true}), false),
    ] {
        assert_eq!(same(fields.clone()), is_same, "{fields}");
    }
    let own = |request: &ChatRequest| key("t", "m", request);
    let hello = asked("hello");
    assert_eq!(own(&hello), own(&asked("hello")));
    for other in [
        asked("hello "),
        ChatRequest { stream: true, ..asked("hello") },
        ChatRequest { max_tokens: Some(1), ..asked("hello") },
        ChatRequest { choices: 2, ..asked("hello") },
        with(base.clone()),
    ] {
        assert_ne!(own(&hello), own(&other), "{other:?}");
    }
    assert_ne!(key("t", "m", &hello), key("u", "m", &hello), "teams are apart");
    assert_ne!(key("t", "m", &hello), key("t", "n", &hello), "models are apart");
}

#[test]
fn a_wish_is_read_as_caches_read_it() {
    let of = |text: &str| CacheWish::read(text, false);
    for (text, takes_new, takes_old) in [
        ("", true, true),
        ("no-cache", false, false),
        ("No-Store", false, false),
        ("max-age=60", true, false),
        ("private, max-age=\"60\"", true, false),
        ("max-age=soon", false, false),
        ("max-age=0", false, false),
        ("max-stale=5, immutable", true, true),
    ] {
        let told = (of(text).takes(0), of(text).takes(60_000));
        assert_eq!(told, (takes_new, takes_old), "{text}");
    }
    assert!(of("only-if-cached").only && !of("").only);
    let drawn = asked("hello");
    let mut certain = asked("hello");
    certain.sampling.temperature = Some(0.0);
    assert!(!of("").covers(&drawn) && of("").covers(&certain));
    assert!(CacheWish::read("", true).covers(&drawn));
}
