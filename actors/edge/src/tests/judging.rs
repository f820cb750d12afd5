//! Judges that change, what people say of answers, and flags that become golden cases.

use headwater_models::chat::double::ScriptedChat;
use serde_json::{Value, json};

use super::chat::CHAT;
use super::prompts::check;
use super::world::{Setup, World, token_of};

const GREETING: &str = "/v1/prompts/greeting";
const SET: &str = "/v1/golden/greetings";

/// A world whose model says yes to everything, and a prompt with a version and a golden set.
async fn world(judge: Value) -> World {
    let chat = ScriptedChat::new(vec![ScriptedChat::words(3, &["yes", " it", " is"])]);
    let world = World::with(Setup { chat: Some(chat), ..Setup::default() }).await;
    let own = token_of("acme", None);
    let document = json!({"document": {"text": "Is it?", "model": {"model": CHAT}}});
    check(&world, &own, "POST", &format!("{GREETING}/versions"), document, (201, "draft")).await;
    check(&world, &own, "PUT", SET, set(&judge), (201, "\"judges_may_gate\":true")).await;
    let gates = json!({"gates": {"golden_set": "greetings"}});
    check(&world, &own, "PUT", &format!("{GREETING}/settings"), gates, (200, "greetings")).await;
    world
}

fn set(judge: &Value) -> Value {
    let case = |id: usize| json!({"id": id.to_string(), "judge": judge});
    json!({"cases": (0..12).map(case).collect::<Vec<_>>()})
}

fn pattern(pattern: &str) -> Value {
    json!({"type": "regex", "pattern": pattern})
}

/// Requests of the whole team, one after the other.
async fn all(world: &World, requests: Vec<(&str, String, Value, (u16, &str))>) -> Vec<Value> {
    let own = token_of("acme", None);
    let mut answers = Vec::new();
    for (method, path, body, expected) in requests {
        answers.push(check(world, &own, method, &path, body, expected).await);
    }
    answers
}

fn at(path: &str) -> String {
    format!("{GREETING}{path}")
}

#[tokio::test]
async fn a_changed_judge_decides_once_it_has_judged_the_anchors() {
    let world = world(pattern("yes")).await;
    let eval = || json!({"version": 1, "golden_set": "greetings"});
    let checks = || format!("{SET}/judge-checks");
    let ask = || json!({"prompt": "greeting"});
    let begin = || json!({"version": 1, "reason": "first"});
    let told = all(
        &world,
        vec![
            ("POST", checks(), ask(), (409, "has judges that decide already")),
            ("POST", at("/evals"), eval(), (201, "\"score\":1.0")),
            // The judges change: nobody is promoted by them before they are compared.
            ("PUT", SET.to_owned(), set(&pattern("^yes")), (201, "\"judges_may_gate\":false")),
            ("POST", at("/evals"), eval(), (201, "\"judges_unchecked\":true")),
            ("POST", at("/promotions"), begin(), (409, "headwater prompts golden check")),
            ("POST", checks(), json!({"prompt": "No"}), (400, "prompt: must be")),
            ("POST", checks(), json!({"prompt": "other"}), (201, "no whole answer of 'other'")),
            ("POST", checks(), ask(), (201, "\"state\":\"passed\"")),
            ("GET", SET.to_owned(), Value::Null, (200, "\"judges_of\":2")),
            ("POST", at("/promotions"), begin(), (201, "fast_eval")),
            ("POST", at("/promotions/1/withdraw"), Value::Null, (200, "withdrawn")),
        ],
    )
    .await;
    let drift = &told[7]["drift"];
    assert_eq!((&drift["compared"], &drift["difference"]), (&json!(12), &json!(0.0)), "{drift}");
    assert_eq!(drift["agreement"]["plain"]["estimate"], 1.0);
    // A judge that says the opposite is told so, and taken by somebody else only.
    let told = all(
        &world,
        vec![
            ("PUT", SET.to_owned(), set(&pattern("no")), (201, "\"judges_of\":2")),
            ("POST", checks(), ask(), (201, "\"state\":\"refused\"")),
            ("POST", at("/promotions"), begin(), (409, "12 of 12 verdicts flipped")),
            ("POST", format!("{}/7/accept", checks()), json!({"reason": "r"}), (404, "not_found")),
            ("POST", format!("{}/3/accept", checks()), json!({}), (400, "reason: is missing")),
            ("POST", format!("{}/3/accept", checks()), json!({"reason": "r"}), (409, "second")),
        ],
    )
    .await;
    assert_eq!(told[1]["drift"]["difference"], -1.0, "{}", told[1]);
    let (whole, eve) = (token_of("acme", None), token_of("acme", Some("eve")));
    let accept = format!("{SET}/judge-checks/3/accept");
    let reason = json!({"reason": "the pattern before was wrong"});
    check(&world, &eve, "POST", &accept, reason.clone(), (403, "promoter")).await;
    let roles = json!({"default": "viewer", "roles": {"eve": "promoter"}});
    check(&world, &whole, "PUT", "/v1/prompt-access", roles, (200, "promoter")).await;
    check(&world, &eve, "POST", &accept, reason, (200, "\"state\":\"accepted\"")).await;
    check(&world, &whole, "POST", &at("/promotions"), begin(), (201, "fast_eval")).await;
}

#[tokio::test]
async fn people_say_what_they_think_of_answers() {
    let world = world(pattern("yes")).await;
    let eval = json!({"version": 1, "golden_set": "greetings"});
    let labels = || at("/evals/1/labels");
    let label = |case: &str, verdict: &str| json!({"case": case, "verdict": verdict});
    let leaked = ["AKIA", "Z7VRSQ5TJN2XMKLQ"].concat();
    let told = all(
        &world,
        vec![
            ("POST", at("/evals"), eval, (201, "\"score\":1.0")),
            ("POST", labels(), label("1", "good"), (400, "verdict")),
            ("POST", labels(), label("x", "pass"), (404, "the case 'x' of eval 1")),
            ("POST", at("/evals/9/labels"), label("1", "pass"), (404, "eval 9")),
            (
                "POST",
                labels(),
                json!({"case": "1", "verdict": "fail", "note": format!("says {leaked}")}),
                (422, "secret_found"),
            ),
            ("POST", labels(), label("1", "fail"), (201, "\"judge\":\"regex\"")),
            ("POST", labels(), label("2", "pass"), (201, "pass")),
            // Somebody who changes their mind is counted once.
            ("POST", labels(), label("2", "fail"), (201, "fail")),
            ("POST", labels(), label("3", "pass"), (201, "pass")),
            ("GET", labels(), Value::Null, (200, "\"verdict\":\"fail\"")),
            ("GET", at("/evals/1"), Value::Null, (200, "\"agreement\":[{")),
            ("GET", at("/evals"), Value::Null, (200, "\"agreement\":[{")),
        ],
    )
    .await;
    assert_eq!(told[9]["data"].as_array().map(Vec::len), Some(3));
    for told in &told[10..] {
        let found = &told["agreement"][0];
        assert_eq!((&found["judge"], &found["count"]), (&json!("regex"), &json!(3)), "{found}");
        let share = found["plain"]["estimate"].as_f64().unwrap();
        assert!((share - 1.0 / 3.0).abs() < 1e-9, "{found}");
    }
}

#[tokio::test]
async fn a_flagged_answer_becomes_a_case_when_an_editor_takes_it() {
    let world = world(pattern("yes")).await;
    let flag = |answer: &str, expected: &str| {
        json!({"prompt": "greeting", "flag": {"answer": answer, "expected": expected,
            "messages": [{"role": "user", "content": "Is it?"}]}})
    };
    let feedback = || "/v1/feedback".to_owned();
    let leaked = ["AKIA", "Z7VRSQ5TJN2XMKLQ"].concat();
    let told = all(
        &world,
        vec![
            ("POST", feedback(), json!({"prompt": "greeting"}), (400, "unit: is missing")),
            ("POST", feedback(), flag("", "yes"), (400, "flag.answer: is missing")),
            ("POST", feedback(), flag(&leaked, "yes"), (422, "secret_found")),
            ("POST", feedback(), flag("no", "yes"), (200, "\"state\":\"waits\"")),
            ("POST", feedback(), flag("never", "yes"), (200, "\"times\":2")),
            ("POST", feedback(), flag("no", "maybe"), (200, "\"times\":1")),
            ("GET", at("/proposals"), Value::Null, (200, "\"golden_set\":\"greetings\"")),
            ("GET", SET.to_owned(), Value::Null, (200, "\"version\":1")),
        ],
    )
    .await;
    assert_eq!(told[6]["data"].as_array().map(Vec::len), Some(2));
    let id = |place: usize| told[place]["flag"]["proposal"].as_str().unwrap().to_owned();
    let act = |place: usize, action: &str| at(&format!("/proposals/{}/{action}", id(place)));
    let judge = json!({"judge": {"type": "exact"}, "case": "is-it"});
    let told = all(
        &world,
        vec![
            ("POST", act(3, "keep"), Value::Null, (400, "must be accept or drop")),
            ("POST", at("/proposals/none/drop"), Value::Null, (404, "the proposal none")),
            ("POST", act(3, "accept"), json!({"case": "1"}), (400, "cases[12].id")),
            ("POST", act(3, "accept"), judge, (200, "\"cases\":13")),
            ("POST", act(3, "accept"), Value::Null, (404, "not_found")),
            ("POST", feedback(), flag("no", "yes"), (200, "\"state\":\"taken\"")),
            ("POST", act(5, "drop"), Value::Null, (200, "dropped")),
            ("GET", at("/proposals"), Value::Null, (200, "\"data\":[]")),
            ("GET", SET.to_owned(), Value::Null, (200, "\"version\":2")),
        ],
    )
    .await;
    let case = told[8]["cases"].as_array().and_then(|cases| cases.last().cloned());
    let expected = json!({"id": "is-it", "expected": "yes", "judge": {"type": "exact", "ignore_case": false},
        "messages": [{"role": "user", "content": "Is it?"}], "weight": 1.0});
    assert_eq!(case, Some(expected));
    // Viewers flag, and take nothing.
    let ann = token_of("acme", Some("ann"));
    check(&world, &ann, "POST", "/v1/feedback", flag("no", "x"), (200, "waits")).await;
    check(&world, &ann, "POST", &act(5, "accept"), Value::Null, (403, "you are a viewer")).await;
    let none = json!({"gates": {}});
    all(
        &world,
        vec![
            ("PUT", at("/settings"), none, (200, "")),
            ("POST", feedback(), flag("no", "y"), (409, "gates.golden_set: is not set")),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_set_says_when_its_night_is() {
    let world = world(pattern("yes")).await;
    let put = |field: &str, value: Value| {
        let mut body = set(&pattern("yes"));
        body[field] = value;
        body
    };
    let nightly = |at: &str| put("nightly", at.into());
    all(
        &world,
        vec![
            ("PUT", SET.to_owned(), nightly("25:00"), (400, "nightly: must be a time")),
            (
                "PUT",
                SET.to_owned(),
                put("nightly_budget_micro_usd", 5.into()),
                (400, "nightly_budget_micro_usd: is given without nightly"),
            ),
            ("PUT", SET.to_owned(), nightly("02:30"), (201, "\"nightly\":\"02:30\"")),
            // A new version keeps it until somebody says otherwise.
            ("PUT", SET.to_owned(), set(&pattern("yes")), (201, "\"nightly\":\"02:30\"")),
            ("GET", "/v1/golden".to_owned(), Value::Null, (200, "\"nightly\":\"02:30\"")),
            ("PUT", SET.to_owned(), nightly("off"), (201, "\"nightly\":null")),
        ],
    )
    .await;
}
