//! `/rerank` and `/v1/rerank` over a double that scores pairs.

use headwater_models::double::DoubleModel;
use headwater_models::{Encoder, Model, OpenOptions, Sequence, Task, TokenBatch, TokenIds};
use serde_json::{Value, json};

use super::world::{Setup, World};

fn judge() -> DoubleModel {
    DoubleModel::new("judge", 8, 16).with_card(|card| card.task = Task::Rerank)
}

async fn world() -> World {
    World::with(Setup { others: vec![judge()], ..Setup::default() }).await
}

/// The raw scores of texts, and their places from the best to the worst.
fn scores(query: &str, texts: &[&str]) -> (Vec<f32>, Vec<usize>) {
    let model = judge();
    let pair = |text: &&str| {
        let TokenIds { ids, second, .. } = model.tokenize_pair(query, text, Some(16)).unwrap();
        Sequence::Tokens { ids, second }
    };
    let mut encoder: Box<dyn Encoder> = model.open(&OpenOptions::threads(1)).unwrap();
    let batch = TokenBatch { sequences: texts.iter().map(pair).collect() };
    let scores = encoder.encode(&batch).unwrap().values;
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    (scores, order)
}

fn column(answer: &Value, field: &str) -> Vec<Value> {
    answer.as_array().unwrap().iter().map(|row| row[field].clone()).collect()
}

fn numbers(column: Vec<Value>) -> Vec<f32> {
    column.iter().map(|value| value.as_f64().unwrap() as f32).collect()
}

const TEXTS: [&str; 4] = ["one", "two words", "three", "and four"];

#[tokio::test]
async fn tei_ranks_from_the_best_to_the_worst() {
    let world = world().await;
    let (raw, order) = scores("query", &TEXTS);
    assert_ne!(order, [0, 1, 2, 3], "the order shows that it was sorted");
    let ask = |raw_scores: Value, return_text: Value| {
        json!({
            "query": "query", "texts": TEXTS, "model": "judge", "raw_scores": raw_scores,
            "return_text": return_text, "truncation_direction": "right",
        })
    };
    let plain = world.post("/rerank", &ask(json!(true), json!(true))).await.ok();
    assert_eq!(column(&plain, "index"), order.iter().map(|i| json!(i)).collect::<Vec<_>>());
    assert_eq!(column(&plain, "text"), order.iter().map(|i| json!(TEXTS[*i])).collect::<Vec<_>>());
    let expected: Vec<f32> = order.iter().map(|index| raw[*index]).collect();
    assert_eq!(numbers(column(&plain, "score")), expected);
    let shares = world.post("/rerank", &ask(Value::Null, json!(false))).await.ok();
    for (found, raw) in numbers(column(&shares, "score")).iter().zip(&expected) {
        assert!((found - 1.0 / (1.0 + (-raw).exp())).abs() < 1e-6, "{found} of {raw}");
    }
    assert!(shares[0].get("text").is_none());
}

#[tokio::test]
async fn the_other_shape_names_documents_usage_and_version() {
    let world = world().await;
    let (_, order) = scores("query", &TEXTS);
    let documents = json!([TEXTS[0], {"text": TEXTS[1]}, TEXTS[2], TEXTS[3]]);
    let body = json!({
        "model": "judge-alias", "query": "query", "documents": documents, "top_n": 2,
        "return_documents": true,
    });
    let answer = world.post("/v1/rerank", &body).await.ok();
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    for (result, place) in results.iter().zip(&order) {
        assert_eq!(result["index"], json!(place));
        assert_eq!(result["document"], json!({"text": TEXTS[*place]}));
        assert!((0.0..1.0).contains(&result["relevance_score"].as_f64().unwrap()));
        assert!(result.get("truncated").is_none());
    }
    assert_eq!(answer["model"], json!("judge"));
    assert_eq!(answer["model_version"], json!("double-judge-8-16"));
    // Three special tokens, one of the query, and the texts' own: every pair is charged.
    assert_eq!(answer["usage"], json!({"prompt_tokens": 22, "total_tokens": 22}));
    let long = vec!["word"; 40].join(" ");
    let body = json!({
        "model": "judge", "query": "query", "documents": ["a", long], "truncate": true,
    });
    let answer = world.post("/v1/rerank", &body).await.ok();
    for result in answer["results"].as_array().unwrap() {
        assert_eq!(result.get("truncated").is_some(), result["index"] == json!(1));
    }
    let tei = json!({"model": "judge", "query": "query", "texts": ["a", long], "truncate": true});
    let tei = world.post("/rerank", &tei).await;
    assert_eq!(tei.header("x-headwater-truncated"), Some("[1]"));
}

#[tokio::test]
async fn wrong_requests_are_told_what_is_allowed() {
    let world = world().await;
    let long = vec!["word"; 40].join(" ");
    let table: [(Value, &str, &str, &[&str]); 8] = [
        (json!({"documents": []}), "empty_input", "documents", &["documents is empty"]),
        (json!({"query": ""}), "empty_input", "query", &["query is empty"]),
        (json!({"documents": ["a", ""]}), "empty_input", "documents[1]", &["no tokens"]),
        (json!({"documents": vec!["a"; 5]}), "too_many_inputs", "documents", &["at most 4"]),
        (json!({"documents": [long]}), "input_too_long", "documents[0]", &["at most 16"]),
        (json!({"top_n": 0}), "invalid_field", "top_n", &["top_n is 0", "1 or more"]),
        (json!({"model": "plain"}), "wrong_task", "model", &["'plain' is for embed", "rerank"]),
        (json!({"documents": [1]}), "invalid_field", "documents[0]", &["a string"]),
    ];
    for (change, code, param, words) in table {
        let mut body = json!({"model": "judge", "query": "query", "documents": ["a"]});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let answer = world.post("/v1/rerank", &body).await;
        println!("{body} -> {} {}", answer.status, answer.text());
        answer.is_error(400, code, Some(param), words);
    }
    let left = json!({
        "query": "a", "texts": ["b"], "model": "judge", "truncation_direction": "Left",
    });
    world.post("/rerank", &left).await.is_tei_error(400, "Validation", &["only Right"]);
    let wrong = json!({"query": "a", "texts": ["b"], "model": "plain"});
    world.post("/rerank", &wrong).await.is_tei_error(400, "Validation", &["'plain'", "/embed"]);
    let dense = json!({"model": "judge", "input": "a"});
    let dense = world.embeddings(&dense).await;
    dense.is_error(400, "wrong_task", Some("model"), &["'judge' is for rerank", "/v1/rerank"]);
    let dense = world.post("/embed", &json!({"model": "judge", "inputs": "a"})).await;
    dense.is_tei_error(400, "Validation", &["'judge' is for rerank"]);
    let listed = world.get("/v1/models/judge").await.ok();
    assert_eq!((&listed["task"], &listed["dimensions"]), (&json!("rerank"), &json!(1)));
}
