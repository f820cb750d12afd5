//! Overload, timeouts, lost replicas and departing clients, as clients see them.

use std::time::Duration;

use headwater_models::EncodeError;
use headwater_models::double::Fault;
use serde_json::json;
use tower::ServiceExt;

use super::world::{Setup, World};

/// The encoder sleeps past the end of the test; nothing waits for it.
const FOR_EVER: Fault = Fault::Slow(Duration::from_secs(600));
const STARTED: &str = "headwater_embedding_tokens_total{model=\"plain\",pool=\"query\"}";

/// Returns when the first request is in the encoder.
async fn until_started(world: &World) {
    while world.metric(STARTED).await.is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_told_with_a_pause() {
    let world = World::with(Setup { queue_tokens: 20, ..Setup::default() }).await;
    world.plain.inject(FOR_EVER);
    let twelve = json!({"model": "plain", "input": "a b c d e f g h i j"});
    let running = world.request("POST", "/v1/embeddings", twelve.to_string());
    let running = tokio::spawn(super::world::send(world.router.clone(), running));
    until_started(&world).await;
    let refused = world.embeddings(&twelve).await;
    refused.is_error(503, "overloaded", None, &["queue is full", "try again in"]);
    let pause: u64 = refused.header("retry-after").expect("a pause").parse().expect("seconds");
    assert!((1..=60).contains(&pause));
    let refused = world.post("/embed", &json!({"inputs": twelve["input"]})).await;
    refused.is_tei_error(503, "Overloaded", &["queue is full"]);
    assert!(refused.header("retry-after").is_some());
    // The other model has a queue of its own.
    world.embeddings(&json!({"model": "org/nested", "input": "a"})).await.ok();
    running.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_late_is_not_waited_for() {
    let world = World::with(Setup { request_timeout_ms: 100, ..Setup::default() }).await;
    world.plain.inject(FOR_EVER);
    let late = world.embeddings(&json!({"model": "plain", "input": "a"})).await;
    late.is_error(504, "timeout", None, &["100 ms"]);
    assert!(late.header("retry-after").is_some());
    let late = world.post("/embed", &json!({"inputs": "a"})).await;
    late.is_tei_error(504, "Backend", &["100 ms"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_the_encoder_are_retried_once_and_then_told() {
    let warming = || Fault::Slow(Duration::ZERO);
    let body = json!({"model": "plain", "input": "a"});
    let world = World::new().await;
    world.plain.inject(Fault::Panic);
    world.embeddings(&body).await.ok();
    // A started replica warms up with two batches.
    for fault in [Fault::Panic, warming(), warming(), Fault::Panic] {
        world.plain.inject(fault);
    }
    let lost = world.embeddings(&body).await;
    lost.is_error(503, "replica_lost", None, &["try again"]);
    assert_eq!(lost.header("retry-after"), Some("1"));
    world.embeddings(&body).await.ok();
    world.plain.inject(Fault::Error(EncodeError::Input("odd sequences".to_owned())));
    let refused = world.embeddings(&body).await;
    refused.is_error(400, "refused_input", Some("input"), &["odd sequences"]);
    assert_eq!(refused.header("retry-after"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_frees_the_gate_and_the_queue() {
    let world = World::new().await;
    world.plain.inject(FOR_EVER);
    let body = json!({"model": "plain", "input": "a"}).to_string();
    let call = world.router.clone().oneshot(world.request("POST", "/v1/embeddings", body));
    let call = tokio::spawn(call);
    until_started(&world).await;
    assert!(world.gate.inside() > 0);
    call.abort();
    assert!(call.await.expect_err("aborted").is_cancelled());
    tokio::time::timeout(Duration::from_secs(60), world.gate.empty()).await.expect("frees");
    let left = "headwater_embedding_requests_total{model=\"plain\",pool=\"query\",\
                outcome=\"left\"}";
    assert_eq!(world.metric(left).await, Some(1.0));
}
