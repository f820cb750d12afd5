//! The replica controller on a running model.

use super::gated::GatedModel;
use super::service::{Service, batching, double, expected, limits, served, until, within};
use crate::embedding::{
    BatchSettings, EmbeddingSettings, ModelPools, NodePools, Pool, ScaleSettings, ServedModel,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_texts_add_replicas_and_calm_takes_them_away_again() {
    let model = GatedModel::new(double());
    let scale = ScaleSettings {
        min_replicas: 1,
        max_replicas: 3,
        target_age_ms: 20,
        busy_percent: 70,
        cool_down_ms: 10,
        calm_ms: 50,
    };
    let pools = ModelPools { query_scale: Some(scale), ..ModelPools::borrowing(0) };
    // One text a batch, so that texts wait while replicas stand still.
    let batch = BatchSettings { batch_rows: 1, ..batching() };
    let served = ServedModel { batch, pools, ..served(model.clone(), &[]) };
    let step = NodePools { control_step_ms: 5, ..NodePools::default() };
    let service = Service::serve(served, EmbeddingSettings { pools: step, ..limits() }).await;
    model.shut();
    let tasks: Vec<_> = (0..6).map(|_| service.spawn("a text")).collect();
    until(|| service.model.live_replicas() == 3 && model.batches().len() == 3).await;
    assert_eq!(service.metric("queue_items", ""), 3.0);
    until(|| service.metric("queue_oldest_age_ms", "") > 20.0).await;
    until(|| service.metric("busy_share", "") > 0.9).await;
    assert_eq!(service.metric("replica_changes_total", ",direction=\"up\""), 2.0);
    model.open_gate();
    for task in tasks {
        let embedded = within(task).await.expect("no panic").expect("answers");
        assert_eq!(embedded.vectors, expected(&["a text"]));
    }
    until(|| service.model.live_replicas() == 1).await;
    assert_eq!(service.metric("replica_changes_total", ",direction=\"down\""), 2.0);
    assert_eq!(service.model.replicas(), 1);
    assert_eq!(service.metric("replicas_lost_total", ""), 0.0);
    service.until_quiet().await;
    assert!(service.embed(&["after"]).await.is_ok());
    assert_eq!(service.model.live_replicas_of(Pool::Ingest), 0);
}
