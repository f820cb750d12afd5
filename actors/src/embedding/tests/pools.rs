//! Queries and ingest on one model: what each waits for, and what neither takes from the other.

use super::gated::{GatedModel, INGEST_THREADS};
use super::service::{Service, batching, call, double, expected, limits, served, until, within};
use crate::embedding::{
    BatchSettings, EmbedCall, EmbedError, EmbeddingSettings, ModelPools, NodePools, Pool,
    ServedModel,
};

/// Ingest on a replica of its own.
fn own() -> ModelPools {
    ModelPools {
        ingest_threads: Some(INGEST_THREADS),
        ingest_batch: batching(),
        ..ModelPools::default()
    }
}

async fn start(model: GatedModel, replicas: usize, pools: ModelPools) -> Service {
    let pools = ModelPools { ingest_batch: batching(), ..pools };
    let served = ServedModel { replicas, pools, ..served(model, &[]) };
    let service = Service::serve(served, limits()).await;
    service.until_quiet().await;
    service
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_ingest_batch_never_delays_a_query() {
    let model = GatedModel::new(double());
    let service = start(model.clone(), 1, own()).await;
    model.shut_ingest();
    let blocked = service.ingest("bulk");
    until(|| model.batches().len() == 1).await;
    let waits = service.ingest("more bulk");
    until(|| service.metric_of(Pool::Ingest, "queue_items", "") == 1.0).await;
    for number in 0..20 {
        let text = format!("query {number}");
        let embedded = service.embed(&[&text]).await.expect("answers");
        assert_eq!(embedded.vectors, expected(&[&text]));
    }
    assert!(!blocked.is_finished() && !waits.is_finished());
    model.open_gate();
    for (text, task) in [("bulk", blocked), ("more bulk", waits)] {
        let embedded = within(task).await.expect("no panic").expect("answers");
        assert_eq!(embedded.vectors, expected(&[text]));
    }
    service.until_quiet().await;
    assert_eq!(service.requests("ok"), 20.0);
    let ingested = service.metric_of(Pool::Ingest, "requests_total", ",outcome=\"ok\"");
    assert_eq!(ingested, 2.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn borrowed_ingest_leaves_the_reserved_replica_to_queries() {
    let model = GatedModel::new(double());
    let service = start(model.clone(), 2, ModelPools::borrowing(1)).await;
    model.shut();
    let (first, second) = (service.ingest("bulk"), service.ingest("more bulk"));
    until(|| service.metric_of(Pool::Ingest, "queue_items", "") == 1.0).await;
    assert_eq!(model.batches().len(), 1, "one of two replicas is lent");
    // The reserved replica takes the query at once, though it then stands still like the other.
    let query = service.spawn("query");
    until(|| model.batches().len() == 2).await;
    model.open_gate();
    for task in [first, second, query] {
        assert!(within(task).await.expect("no panic").is_ok());
    }
    service.until_quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_single_shared_replica_queries_go_first_and_ingest_ends() {
    let model = GatedModel::new(double());
    let service = start(model.clone(), 1, ModelPools::borrowing(5)).await;
    model.shut();
    let running = service.spawn("running");
    until(|| model.batches().len() == 1).await;
    let bulk = service.ingest("bulk");
    until(|| service.metric_of(Pool::Ingest, "queue_items", "") == 1.0).await;
    let query = service.spawn("a later query");
    service.until_queued(1).await;
    model.open_gate();
    for task in [running, bulk, query] {
        assert!(within(task).await.expect("no panic").is_ok());
    }
    let lengths: Vec<usize> =
        model.batches().iter().map(headwater_models::TokenBatch::longest).collect();
    assert_eq!(lengths, [3, 5, 3], "the later query ran before the bulk text");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingest_stands_still_while_a_query_is_inside_and_goes_on_after_it() {
    let model = GatedModel::new(double());
    let pools = NodePools { ingest_pause_ms: 100_000, ..NodePools::default() };
    let served = ServedModel { pools: own(), ..served(model.clone(), &[]) };
    let service = Service::serve(served, EmbeddingSettings { pools, ..limits() }).await;
    service.until_quiet().await;
    model.shut();
    let query = service.spawn("query");
    until(|| model.batches().len() == 1).await;
    let bulk = service.ingest("bulk");
    until(|| model.batches().len() == 2).await;
    model.open_gate();
    assert!(within(query).await.expect("no panic").is_ok());
    assert!(within(bulk).await.expect("no panic").is_ok());
    // A query that stays holds ingest up; one that leaves lets it go on.
    model.shut();
    let query = service.spawn("query");
    until(|| model.batches().len() == 3).await;
    model.shut_ingest();
    let bulk = service.ingest("bulk");
    until(|| model.batches().len() == 4).await;
    query.abort();
    model.open_gate();
    assert!(within(bulk).await.expect("no panic").is_ok());
    service.until_quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_pool_has_its_own_queue_and_time_limit() {
    let model = GatedModel::new(double());
    let pools = NodePools { ingest_timeout_ms: 300, ..NodePools::default() };
    let settings = EmbeddingSettings { queue_tokens: 12, pools, ..limits() };
    let served = ServedModel { pools: own(), ..served(model.clone(), &[]) };
    let service = Service::serve(served, settings).await;
    model.shut_ingest();
    let first = service.ingest("six tokens in all");
    until(|| service.model.permits(Pool::Ingest).available_permits() == 6).await;
    let text = call(&["six tokens in all"]);
    let ingest = EmbedCall { pool: Pool::Ingest, ..call(&["seven tokens are one more"]) };
    let refused = within(service.model.embed(ingest)).await;
    assert!(matches!(refused, Err(EmbedError::Overloaded { .. })), "{refused:?}");
    for _ in 0..3 {
        assert!(within(service.model.embed(text.clone())).await.is_ok(), "queries have room");
    }
    let late = within(first).await.expect("no panic");
    assert_eq!(late, Err(EmbedError::TimedOut { timeout_ms: 300 }));
    model.open_gate();
    service.until_quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_ingest_replica_is_mended_and_queries_do_not_notice() {
    let inner = double();
    let model = GatedModel::new(inner.clone());
    let service = start(model.clone(), 1, own()).await;
    model.shut_ingest();
    let bulk = service.ingest("bulk");
    until(|| model.batches().len() == 1).await;
    // Slot 0 is the query pool's replica, slot 1 ingest's.
    service.model.kill_replica(1);
    assert!(service.embed(&["query"]).await.is_ok());
    model.open_gate();
    assert!(within(bulk).await.expect("no panic").is_ok());
    service.until_quiet().await;
    assert_eq!(service.metric_of(Pool::Ingest, "replicas_lost_total", ""), 1.0);
    assert_eq!(service.metric("replicas_lost_total", ""), 0.0);
    assert_eq!(inner.opened(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_texts_become_small_batches() {
    let model = GatedModel::new(double());
    let ingest_batch = BatchSettings { batch_tokens: 12, ..batching() };
    let pools = ModelPools { ingest_batch, ..ModelPools::default() };
    let served = ServedModel { pools, ..served(model.clone(), &[]) };
    let service = Service::serve(served, limits()).await;
    let texts = ["a b"; 9];
    let bulk = EmbedCall { pool: Pool::Ingest, ..call(&texts) };
    let embedded = within(service.model.embed(bulk)).await.expect("answers");
    assert_eq!(embedded.vectors, expected(&texts));
    let rows: Vec<usize> = model.batches().iter().map(|batch| batch.sequences.len()).collect();
    assert_eq!(rows, [3, 3, 3]);
}
