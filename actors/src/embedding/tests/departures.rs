//! Callers that go away, requests that run out of time, handles that are dropped.

use super::gated::GatedModel;
use super::service::{Service, batching, double, expected, limits, until, within};
use crate::embedding::{EmbedError, EmbeddingSettings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_leaves_takes_its_request_out_of_the_queue() {
    let model = GatedModel::new(double());
    let service = Service::start(model.clone(), 1, batching(), limits()).await;
    model.shut();
    let running = service.spawn("running");
    until(|| model.batches().len() == 1).await;
    let queued = service.spawn("queued");
    service.until_queued(1).await;
    queued.abort();
    assert!(within(queued).await.expect_err("aborted").is_cancelled());
    service.until_queued(0).await;
    model.open_gate();
    let embedded = within(running).await.expect("no panic").expect("answers");
    assert_eq!(embedded.vectors, expected(&["running"]));
    service.until_quiet().await;
    assert!(service.embed(&["after"]).await.is_ok());
    assert_eq!(model.batches().len(), 2, "the text that left was not run");
    assert_eq!((service.requests("ok"), service.requests("left")), (2.0, 1.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_leaves_a_running_batch_disturbs_nobody() {
    let model = GatedModel::new(double());
    let service = Service::start(model.clone(), 1, batching(), limits()).await;
    model.shut();
    let running = service.spawn("running");
    until(|| model.batches().len() == 1).await;
    running.abort();
    let next = service.spawn("next");
    service.until_queued(1).await;
    model.open_gate();
    let embedded = within(next).await.expect("no panic").expect("answers");
    assert_eq!(embedded.vectors, expected(&["next"]));
    service.until_quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_out_of_time_is_told_so_and_leaves_the_queue() {
    let model = GatedModel::new(double());
    let settings = EmbeddingSettings { request_timeout_ms: 300, ..limits() };
    let service = Service::start(model.clone(), 1, batching(), settings).await;
    model.shut();
    let tasks = [service.spawn("running"), service.spawn("queued")];
    for task in tasks {
        let answer = within(task).await.expect("no panic");
        assert_eq!(answer, Err(EmbedError::TimedOut { timeout_ms: 300 }));
    }
    service.until_queued(0).await;
    assert_eq!(service.requests("timeout"), 2.0);
    model.open_gate();
    service.until_quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_answered_though_every_other_handle_is_dropped() {
    let model = GatedModel::new(double());
    let service = Service::start(model.clone(), 1, batching(), limits()).await;
    model.shut();
    let running = service.spawn("running");
    let queued = service.spawn("queued");
    until(|| !model.batches().is_empty()).await;
    drop(service);
    model.open_gate();
    for (text, task) in [("running", running), ("queued", queued)] {
        let embedded = within(task).await.expect("no panic").expect("answers");
        assert_eq!(embedded.vectors, expected(&[text]));
    }
}
