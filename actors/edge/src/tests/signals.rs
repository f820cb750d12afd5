//! The signals that replica controllers read are really there.

use std::collections::BTreeSet;

use serde_json::json;

use super::world::World;

const SCALED_OBJECT: &str = include_str!("../../../../deploy/kubernetes/keda-embedding.yaml");

/// Every metric of ours that the text names.
fn named(text: &str) -> BTreeSet<&str> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let words = text.split(|letter: char| !is_letter(letter));
    words.filter(|word| word.starts_with("headwater_embedding_")).collect()
}

#[tokio::test]
async fn the_scaled_object_asks_for_metrics_that_a_node_shows() {
    let world = World::new().await;
    world.embeddings(&json!({"model": "plain", "input": "a"})).await.ok();
    // The controller's first step is what fills in the rest.
    let age = "headwater_embedding_queue_oldest_age_ms{model=\"plain\",pool=\"query\"}";
    while world.metric(age).await.is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let page = world.get("/metrics").await.text();
    let asked = named(SCALED_OBJECT);
    assert!(asked.len() >= 3, "{asked:?}");
    for metric in asked {
        let start = format!("{metric}{{model=\"plain\",pool=\"");
        assert!(page.contains(&start), "{metric} is not shown");
    }
    for signal in ["queue_tokens", "queue_items", "batch_fill", "busy_share", "live_replicas"] {
        let line = format!("headwater_embedding_{signal}{{model=\"plain\",pool=\"query\"}}");
        assert!(world.metric(&line).await.is_some(), "{signal}");
    }
}
