//! Pairwise evals over HTTP: what is refused, and what is told.

use headwater_models::chat::double::ScriptedChat;
use serde_json::{Value, json};

use super::chat::CHAT;
use super::prompts::check;
use super::world::{Setup, World, token_of};

const GREETING: &str = "/v1/prompts/greeting";
const SET: &str = "/v1/golden/greetings";

fn set(judge: &Value) -> Value {
    let case = |id: usize| json!({"id": id.to_string(), "judge": judge});
    json!({"cases": (0..5).map(case).collect::<Vec<_>>()})
}

#[tokio::test]
async fn pairs_are_told_with_their_interval() {
    // A model that likes whatever it reads first.
    let chat = ScriptedChat::new(vec![ScriptedChat::words(3, &["{\"winner\": \"first\"}"])]);
    let world = World::with(Setup { chat: Some(chat.clone()), ..Setup::default() }).await;
    let own = token_of("acme", None);
    let run = |method: &'static str, path: &str, body: Value, expected: (u16, &'static str)| {
        let (world, own, path) = (&world, own.as_str(), path.to_owned());
        async move { check(world, own, method, &path, body, expected).await }
    };
    let (versions, evals) = (format!("{GREETING}/versions"), format!("{GREETING}/evals"));
    for words in ["Is it?", "Is it so?"] {
        let document = json!({"document": {"text": words, "model": {"model": CHAT}}});
        run("POST", &versions, document, (201, "draft")).await;
    }
    let compare = json!({"document": {"text": "{{ first }} or {{ second }}?",
        "variables": {"first": {}, "second": {}}}});
    run("POST", "/v1/prompts/compare/versions", compare, (201, "draft")).await;
    let judge =
        |prompt: &str| json!({"type": "pairwise", "model": CHAT, "prompt": prompt, "version": 1});
    run("PUT", SET, set(&judge("No")), (400, "cases[0].judge.prompt")).await;
    run("PUT", SET, set(&judge("compare")), (201, "pairwise")).await;
    let eval = |more: Value| {
        let mut body = json!({"version": 2, "golden_set": "greetings"});
        more.as_object().unwrap().iter().for_each(|(name, value)| body[name] = value.clone());
        body
    };
    for (more, told) in [
        (json!({}), "baseline: is missing, and no version is in production"),
        (json!({"dry_run": true}), "baseline: is missing"),
        (json!({"baseline": 2}), "baseline: is version 2 itself"),
        (json!({"baseline": 7}), "baseline: names version 7"),
    ] {
        run("POST", &evals, eval(more), (400, told)).await;
    }
    assert!(chat.asked().is_empty());
    let dry =
        run("POST", &evals, eval(json!({"baseline": 1, "dry_run": true})), (200, "tokens")).await;
    assert!(chat.asked().is_empty());
    let told = run("POST", &evals, eval(json!({"baseline": 1})), (201, "\"score\":0.5")).await;
    // Two answers and two judgings for each case.
    assert_eq!(chat.asked().len(), 20);
    let (most, cost) = (&dry["estimate"]["micro_usd"], &told["cost_micro_usd"]);
    assert!(cost.as_u64() > Some(0) && most.as_u64() >= cost.as_u64(), "{most} {cost}");
    let pairs = &told["pairwise"];
    let counts = |name: &str| pairs[name].as_u64().unwrap();
    let names = ["baseline", "compared", "wins", "ties", "losses", "orders_disagreed"];
    assert_eq!(names.map(counts), [1, 5, 0, 5, 0, 5], "{pairs}");
    let rate = &pairs["win_rate"];
    assert_eq!(rate["estimate"], 0.5);
    assert!(rate["lower"].as_f64() < Some(0.5) && rate["upper"].as_f64() > Some(0.5), "{rate}");
    let one = &told["results"][0]["pairwise"];
    assert_eq!((&one["outcome"], &one["orders_agree"]), (&json!("tie"), &json!(false)), "{one}");
    assert_eq!(one["baseline_answer"], "{\"winner\": \"first\"}");
    let listed = run("GET", &evals, Value::Null, (200, "\"orders_disagreed\":5")).await;
    assert_eq!(&listed["data"][0]["pairwise"], pairs);
    // Another measure asks no baseline.
    run("PUT", SET, set(&json!({"type": "regex", "pattern": "a"})), (201, "regex")).await;
    let told = (400, "no case that is asked is judged pairwise");
    run("POST", &evals, eval(json!({"baseline": 1})), told).await;
    let told = run("POST", &evals, eval(json!({})), (201, "\"score\":0.0")).await;
    assert_eq!(told["pairwise"], Value::Null);
}
