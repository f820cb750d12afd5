//! `/embed_sparse` over a double that counts words.

use headwater_models::double::DoubleModel;
use headwater_models::{Model, Task};
use serde_json::json;

use super::world::{Setup, World};

fn splade() -> DoubleModel {
    DoubleModel::new("splade", 8, 16).with_card(|card| card.task = Task::Sparse)
}

#[tokio::test]
async fn weights_are_listed_by_word_and_zeros_left_out() {
    let world = World::with(Setup { others: vec![splade()], ..Setup::default() }).await;
    let body = json!({"inputs": ["cat dog cat", "cat"], "model": "splade"});
    let answer = world.post("/embed_sparse", &body).await.ok();
    let id = |word: &str| splade().pieces(word, false).unwrap()[0].id;
    let mut first = [(id("cat"), 2.0), (id("dog"), 1.0)];
    first.sort_by_key(|(id, _)| *id);
    let weights = |list: &[(u32, f32)]| -> Vec<_> {
        list.iter().map(|(id, value)| json!({"index": id, "value": value})).collect()
    };
    assert_eq!(answer, json!([weights(&first), weights(&[(id("cat"), 1.0)])]));
    let long = vec!["word"; 40].join(" ");
    let cut = json!({"inputs": long, "model": "splade", "truncate": true});
    let cut = world.post("/embed_sparse", &cut).await;
    assert_eq!(cut.header("x-headwater-truncated"), Some("[0]"));
    assert_eq!(cut.ok(), json!([weights(&[(id("word"), 14.0)])]));
}

#[tokio::test]
async fn models_of_another_task_are_refused_by_name() {
    let world = World::with(Setup { others: vec![splade()], ..Setup::default() }).await;
    let dense = world.post("/embed_sparse", &json!({"inputs": "a", "model": "plain"})).await;
    dense.is_tei_error(400, "Validation", &["'plain' is for embed", "/embed", "sparse"]);
    let sparse = world.embeddings(&json!({"model": "splade", "input": "a"})).await;
    sparse.is_error(400, "wrong_task", Some("model"), &["'splade' is for sparse", "/embed_sparse"]);
    let empty = world.post("/embed_sparse", &json!({"inputs": [], "model": "splade"})).await;
    empty.is_tei_error(400, "Empty", &["inputs is empty"]);
    let direction = json!({"inputs": "a", "model": "splade", "truncation_direction": "Left"});
    let direction = world.post("/embed_sparse", &direction).await;
    direction.is_tei_error(400, "Validation", &["only Right"]);
}
