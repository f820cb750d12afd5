//! `/v1/prompts`: what is answered, who may do what, and what bad input is told.

use headwater_models::chat::double::ScriptedChat;
use serde_json::{Value, json};

use super::chat::CHAT;
use super::world::{Setup, World, request, token_of};

const GREETING: &str = "/v1/prompts/greeting";

/// One request of somebody, and the status and a part of what it must be told.
pub(super) async fn check(
    world: &World,
    token: &str,
    method: &str,
    path: &str,
    body: Value,
    expected: (u16, &str),
) -> Value {
    let header = format!("Bearer {token}");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = world.send(request(method, path, Some(&header), body)).await;
    let told = answer.text();
    assert_eq!(answer.status.as_u16(), expected.0, "{method} {path}: {told}");
    assert!(told.contains(expected.1), "{method} {path}: {told} has no '{}'", expected.1);
    if told.is_empty() { Value::Null } else { answer.json() }
}

fn text(text: &str) -> Value {
    json!({"document": {"text": text}})
}

#[tokio::test]
async fn a_prompt_is_written_promoted_and_taken_back() {
    let world = World::new().await;
    let own = token_of("acme", None);
    let run = |method: &'static str, path: String, body: Value, expected: (u16, &'static str)| {
        let (world, own) = (&world, own.as_str());
        async move { check(world, own, method, &path, body, expected).await }
    };
    let at = |path: &str| format!("{GREETING}{path}");
    run("GET", at(""), Value::Null, (404, "prompt_not_found")).await;
    run("POST", at("/resolve"), Value::Null, (404, "prompt_not_found")).await;
    run(
        "POST",
        at("/versions"),
        text("Hello {{ who }}"),
        (400, "uses 'who', which is not declared"),
    )
    .await;
    let document = json!({"text": "Hello {{ who }}", "variables": {"who": {"default": "you"}}});
    run("POST", at("/check"), json!({"document": document}), (200, "\"sha256\":")).await;
    let preview = json!({"document": document, "variables": {"who": "Ada"}});
    run("POST", at("/preview"), preview, (200, "Hello Ada")).await;
    let commit = json!({"document": document, "message": "first", "expected_newest": 0});
    run("POST", at("/versions"), commit.clone(), (201, "\"version\":1")).await;
    run("POST", at("/versions"), commit, (409, "version_moved")).await;
    run("POST", at("/resolve"), Value::Null, (404, "nothing_promoted")).await;
    run("POST", at("/promotions"), json!({"version": 2}), (404, "not_found")).await;
    let first = json!({"version": 1, "reason": "first", "auto": true});
    run("POST", at("/promotions"), first, (201, "\"stage\":\"done\"")).await;
    run("POST", at("/resolve"), Value::Null, (200, "\"source\":\"")).await;
    let rendered =
        run("POST", at("/render"), json!({"variables": {"who": "Bo"}}), (200, "Hello Bo")).await;
    assert_eq!((&rendered["version"], &rendered["label"]), (&json!(1), &json!("production")));
    run("POST", at("/render"), json!({"variables": {"you": "Bo"}}), (400, "variables.you")).await;
    run("POST", at("/versions"), text("Hi"), (201, "\"parent\":1")).await;
    run("GET", at("/diff?from=1&to=2"), Value::Null, (200, "\"insert\"")).await;
    run("GET", at("/diff?from=1"), Value::Null, (400, "to is missing")).await;
    let second = json!({"version": 2, "reason": "shorter"});
    run("POST", at("/promotions"), second.clone(), (201, "\"stage\":\"ready\"")).await;
    run("POST", at("/promotions"), second, (409, "in progress")).await;
    run("POST", at("/promotions/2/dance"), Value::Null, (400, "must be promote")).await;
    run("POST", at("/promotions/2/promote"), Value::Null, (200, "\"stage\":\"guard\"")).await;
    run("POST", at("/promotions/2/promote"), Value::Null, (409, "is not ready")).await;
    run("POST", at("/resolve"), Value::Null, (200, "\"version\":2")).await;
    run("POST", at("/rollback"), json!({"reason": "too short"}), (200, "\"production\":1")).await;
    run("POST", at("/resolve"), json!({"fresh": true}), (200, "\"version\":1")).await;
    run("GET", at("/promotions/2"), Value::Null, (200, "\"stage\":\"rolled_back\"")).await;
    run("POST", at("/rollback"), json!({"to_version": 7}), (400, "was not in production")).await;
    let history = run("GET", at("/history"), Value::Null, (200, "too short")).await;
    assert_eq!(history["data"].as_array().map(Vec::len), Some(5));
    run("GET", "/v1/prompts?limit=1".to_owned(), Value::Null, (200, "\"next_after\":\"greeting\""))
        .await;
    run("PUT", at("/settings"), json!({"gates": {"min_score": 2.0}}), (400, "gates.min_score"))
        .await;
    run("PUT", at("/settings"), json!({"gate": {}}), (400, "gate")).await;
    run("POST", "/v1/prompts/Not%20One/versions".to_owned(), text("x"), (400, "1 to 64 of a-z"))
        .await;
}

#[tokio::test]
async fn roles_say_who_may_do_what() {
    let world = World::new().await;
    let (whole, ann, eve) =
        (token_of("acme", None), token_of("acme", Some("ann")), token_of("acme", Some("eve")));
    let commit = || text("Hello");
    let versions = "/v1/prompts/greeting/versions";
    check(&world, &ann, "POST", versions, commit(), (403, "you are a viewer")).await;
    let roles = json!({"default": "viewer", "roles": {"ann": "editor", "eve": "promoter"}});
    check(&world, &ann, "PUT", "/v1/prompt-access", roles.clone(), (403, "role_missing")).await;
    check(&world, &whole, "PUT", "/v1/prompt-access", roles, (200, "promoter")).await;
    check(&world, &ann, "POST", versions, commit(), (201, "\"author\":\"ann\"")).await;
    let promotions = "/v1/prompts/greeting/promotions";
    check(&world, &ann, "POST", promotions, json!({"version": 1, "auto": true}), (403, "promoter"))
        .await;
    check(&world, &ann, "POST", promotions, json!({"version": 1}), (201, "ready")).await;
    check(
        &world,
        &ann,
        "POST",
        "/v1/prompts/greeting/promotions/1/promote",
        Value::Null,
        (403, "promoter"),
    )
    .await;
    check(
        &world,
        &eve,
        "POST",
        "/v1/prompts/greeting/promotions/1/promote",
        Value::Null,
        (200, "done"),
    )
    .await;
}

#[tokio::test]
async fn another_team_sees_what_is_shared_and_copies_it() {
    let world = World::new().await;
    let (whole, other) = (token_of("acme", None), token_of("other", None));
    let promotion = json!({"version": 1, "auto": true});
    let versions = "/v1/prompts/greeting/versions";
    check(&world, &whole, "POST", versions, text("Hello"), (201, "draft")).await;
    check(&world, &whole, "POST", "/v1/prompts/greeting/promotions", promotion, (201, "done"))
        .await;
    check(
        &world,
        &other,
        "GET",
        "/v1/prompts/greeting?team=acme",
        Value::Null,
        (404, "prompt_not_found"),
    )
    .await;
    let fork = json!({"from": {"team": "acme", "prompt": "greeting"}});
    check(&world, &other, "POST", "/v1/prompts/copy/fork", fork.clone(), (404, "prompt_not_found"))
        .await;
    check(
        &world,
        &whole,
        "PUT",
        "/v1/prompts/greeting/settings",
        json!({"shared": true}),
        (200, "\"shared\":true"),
    )
    .await;
    check(
        &world,
        &other,
        "POST",
        "/v1/prompts/copy/fork",
        fork,
        (201, "forked from acme/greeting"),
    )
    .await;
    check(&world, &other, "GET", "/v1/prompts/copy", Value::Null, (200, "\"forked_from\":{\""))
        .await;
    let back = json!({"reason": "no"});
    check(
        &world,
        &other,
        "POST",
        "/v1/prompts/greeting/rollback?team=acme",
        back.clone(),
        (404, "prompt_not_found"),
    )
    .await;
    check(
        &world,
        &world.operator,
        "GET",
        "/v1/prompts/greeting?team=acme",
        Value::Null,
        (200, "\"role\":\"admin\""),
    )
    .await;
}

#[tokio::test]
async fn experiments_are_checked_and_counted() {
    let world = World::new().await;
    let own = token_of("acme", None);
    let run =
        |method: &'static str, path: &'static str, body: Value, expected: (u16, &'static str)| {
            let (world, own) = (&world, own.as_str());
            async move { check(world, own, method, path, body, expected).await }
        };
    for words in ["Hello", "Good day"] {
        run("POST", "/v1/prompts/greeting/versions", text(words), (201, "draft")).await;
    }
    let promote = json!({"version": 1, "auto": true});
    run("POST", "/v1/prompts/greeting/promotions", promote, (201, "done")).await;
    let experiments = "/v1/prompts/greeting/experiments";
    let ask = |weight: u32, kind: &str| {
        json!({"name": "words", "control": "a", "variants": [
            {"name": "a", "version": 1, "weight": weight}, {"name": "b", "version": 2}],
            "goals": [{"name": "ok", "kind": kind}]})
    };
    run("POST", experiments, ask(0, "binary"), (400, "control")).await;
    run("POST", experiments, ask(1, "colour"), (400, "goals[0].kind")).await;
    run("POST", experiments, ask(1, "binary"), (201, "\"state\":\"running\"")).await;
    run("POST", experiments, ask(1, "binary"), (409, "")).await;
    let mut variants = std::collections::BTreeSet::new();
    for user in 0..20 {
        let resolved = json!({"user": format!("u{user}")});
        let told =
            run("POST", "/v1/prompts/greeting/resolve", resolved.clone(), (200, "words")).await;
        let again = run("POST", "/v1/prompts/greeting/resolve", resolved, (200, "words")).await;
        assert_eq!(told["variant"], again["variant"]);
        variants.insert(told["variant"].to_string());
        for value in [1, 0] {
            let said = json!({"prompt": "greeting", "unit": format!("u{user}"), "goal": "ok", "value": value});
            run("POST", "/v1/feedback", said, (200, "\"experiments\":1")).await;
        }
    }
    assert_eq!(variants.len(), 2);
    let said = json!({"prompt": "greeting", "unit": "u", "goal": "good", "value": 1});
    run("POST", "/v1/feedback", said, (404, "there are: ok")).await;
    let said = json!({"prompt": "greeting", "unit": "u", "goal": "ok", "value": 3});
    run("POST", "/v1/feedback", said, (400, "value")).await;
    let told =
        run("GET", "/v1/prompts/greeting/experiments/words", Value::Null, (200, "undecided")).await;
    let units: u64 = told["units"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(units, 20, "{told}");
    // The first word of each user counts: all of them were 1.
    assert_eq!(told["analysis"][0]["difference"], 0.0, "{told}");
    run(
        "POST",
        "/v1/prompts/greeting/experiments/words/stop",
        json!({"reason": "enough"}),
        (200, "\"state\":\"ended\""),
    )
    .await;
    run("POST", "/v1/prompts/greeting/experiments/words/stop", json!({}), (404, "that runs")).await;
    run(
        "POST",
        "/v1/prompts/greeting/resolve",
        json!({"user": "u1"}),
        (200, "\"label\":\"production\""),
    )
    .await;
}

#[tokio::test]
async fn golden_sets_are_kept_in_versions() {
    let world = World::new().await;
    let own = token_of("acme", None);
    let run =
        |method: &'static str, path: &'static str, body: Value, expected: (u16, &'static str)| {
            let (world, own) = (&world, own.as_str());
            async move { check(world, own, method, path, body, expected).await }
        };
    let set =
        |id: &str| json!({"cases": [{"id": id, "expected": "x", "judge": {"type": "exact"}}]});
    run("GET", "/v1/golden/greetings", Value::Null, (404, "not_found")).await;
    run("PUT", "/v1/golden/greetings", json!({"cases": []}), (400, "cases")).await;
    run("PUT", "/v1/golden/greetings", set("a"), (201, "\"version\":1")).await;
    run("PUT", "/v1/golden/greetings", set("b"), (201, "\"version\":2")).await;
    let late = json!({"cases": set("c")["cases"], "expected_version": 1});
    run("PUT", "/v1/golden/greetings", late, (409, "version_moved")).await;
    run("GET", "/v1/golden/greetings", Value::Null, (200, "\"id\":\"b\"")).await;
    run("GET", "/v1/golden", Value::Null, (200, "greetings")).await;
    run("POST", "/v1/prompts/greeting/versions", text("Hello"), (201, "draft")).await;
    let eval = json!({"version": 1, "golden_set": "greetings"});
    run("POST", "/v1/prompts/greeting/evals", eval, (404, "no_gateway")).await;
}

#[tokio::test]
async fn a_response_is_made_of_a_prompt() {
    let chat = ScriptedChat::new(vec![ScriptedChat::words(3, &["yes"])]);
    let world = World::with(Setup { chat: Some(chat.clone()), ..Setup::default() }).await;
    let own = token_of("acme", None);
    let document = json!({"document": {
        "messages": [{"role": "system", "content": "Be kind to {{ who }}"}],
        "variables": {"who": {}}, "model": {"model": CHAT, "max_tokens": 7},
    }});
    check(&world, &own, "POST", &format!("{GREETING}/versions"), document, (201, "draft")).await;
    let promotion = json!({"version": 1, "auto": true});
    check(&world, &own, "POST", &format!("{GREETING}/promotions"), promotion, (201, "done")).await;
    let responses = "/v1/responses";
    let prompt = json!({"name": "greeting", "variables": {"who": "Ann"}});
    let ask = json!({"prompt": prompt, "instructions": "Be short", "input": "Hi"});
    let told = world
        .send(request("POST", responses, Some(&format!("Bearer {own}")), ask.to_string()))
        .await;
    assert_eq!(told.status.as_u16(), 200, "{}", told.text());
    assert_eq!(told.headers["x-headwater-prompt"], "greeting@1");
    let asked = chat.asked();
    let said: Vec<String> =
        asked[0].messages.iter().map(|one| format!("{:?} {:?}", one.role, one.parts)).collect();
    assert_eq!(
        said,
        ["System [Text(\"Be kind to Ann\")]", "System [Text(\"Be short\")]", "User [Text(\"Hi\")]"]
    );
    assert_eq!(asked[0].max_tokens, Some(7));
    for (field, body) in [
        ("prompt", json!({"prompt": "greeting", "input": "Hi", "model": CHAT})),
        ("prompt.variables.you", json!({"prompt": {"name": "greeting", "variables": {"you": 1}}})),
        ("input", json!({"prompt": prompt, "input": 5})),
        ("instructions", json!({"prompt": prompt, "instructions": 5})),
    ] {
        check(&world, &own, "POST", responses, body, (400, field)).await;
    }
}
