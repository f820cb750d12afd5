//! Replicas and model actors that fail, with requests on board.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use headwater_models::EncodeError;
use headwater_models::double::Fault;

use super::gated::{GatedModel, WARMING};
use super::service::{Service, batching, double, expected, limits, until, within};
use crate::embedding::{BatchSettings, EmbedError};

fn out_of_memory() -> Fault {
    Fault::Error(EncodeError::OutOfMemory("3 GiB wanted".to_owned()))
}

fn device() -> Fault {
    Fault::Error(EncodeError::Device("fell off the bus".to_owned()))
}

fn refusal() -> Fault {
    Fault::Error(EncodeError::Input("sequences are odd".to_owned()))
}

/// A started replica runs warming batches, which take the faults in the middle.
fn warming() -> [Fault; WARMING] {
    [(); WARMING].map(|()| Fault::Slow(Duration::ZERO))
}

/// Orders the faults on a loaded service of one replica, sends one request and compares
/// its answer and the number of encoders that it took.
async fn check(faults: Vec<Fault>, answer: Result<(), EmbedError>, opened: usize) {
    let model = double();
    let service = Service::start(model.clone(), 1, batching(), limits()).await;
    for fault in &faults {
        model.inject(fault.clone());
    }
    let found = service.embed(&["a text", "another"]).await;
    let expected_answer = answer.map(|()| expected(&["a text", "another"]));
    assert_eq!(found.map(|embedded| embedded.vectors), expected_answer, "{faults:?}");
    service.until_quiet().await;
    assert_eq!(model.opened(), opened, "{faults:?}");
    assert_eq!(service.metric("replicas_lost_total", ""), (opened - 1) as f64, "{faults:?}");
    // Whatever happened, the service is whole again.
    assert!(service.embed(&["after"]).await.is_ok(), "{faults:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_replica_is_restarted_and_its_request_tried_once_more() {
    for fault in [Fault::Panic, out_of_memory(), device()] {
        check(vec![fault], Ok(()), 2).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_loses_two_replicas_gets_the_retryable_error() {
    for fault in [Fault::Panic, out_of_memory(), device()] {
        let [first, second] = warming();
        let faults = vec![fault.clone(), first, second, fault];
        check(faults, Err(EmbedError::Unavailable), 3).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_fails_while_it_loads_is_started_until_it_loads() {
    check(vec![Fault::Panic, Fault::Panic, device(), out_of_memory()], Ok(()), 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_batch_costs_no_replica() {
    check(vec![refusal()], Err(EmbedError::Refused("sequences are odd".to_owned())), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_start_is_waited_for() {
    let model = double();
    model.inject(Fault::Panic);
    model.inject(device());
    let service = Service::start(model.clone(), 1, batching(), limits()).await;
    assert!(service.handle.ready());
    assert_eq!(model.opened(), 3);
}

/// Several requests meet one fault in one batch.
async fn check_neighbours(fault: Fault, opened: usize) {
    let inner = double();
    let model = GatedModel::new(inner.clone());
    let service = Service::start(model.clone(), 1, batching(), limits()).await;
    model.shut();
    let first = service.spawn("in front");
    until(|| model.batches().len() == 1).await;
    let others: Vec<_> =
        ["one", "two", "three"].map(|text| (text, service.spawn(text))).into_iter().collect();
    service.until_queued(3).await;
    // The text in front takes this one.
    inner.inject(Fault::Slow(Duration::ZERO));
    inner.inject(fault);
    model.open_gate();
    assert!(within(first).await.expect("no panic").is_ok());
    for (text, task) in others {
        let embedded = within(task).await.expect("no panic").expect("the neighbour is answered");
        assert_eq!(embedded.vectors, expected(&[text]));
    }
    let rows: Vec<usize> = model.batches().iter().map(|batch| batch.sequences.len()).collect();
    assert_eq!(rows, [1, 3, 1, 1, 1], "together, then each alone");
    assert_eq!(inner.opened(), opened);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neighbours_of_a_failed_batch_run_again_apart() {
    check_neighbours(Fault::Panic, 2).await;
    check_neighbours(refusal(), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overdue_batch_is_taken_from_its_replica() {
    let model = double();
    let batch = BatchSettings { batch_timeout_ms: 1000, ..batching() };
    let service = Service::start(model.clone(), 1, batch, limits()).await;
    // The thread sleeps on after the test; nothing waits for it.
    model.inject(Fault::Slow(Duration::from_secs(600)));
    let embedded = service.embed(&["patient"]).await.expect("the next replica answers");
    assert_eq!(embedded.vectors, expected(&["patient"]));
    assert_eq!(model.opened(), 2);
    assert_eq!(service.metric("replicas_lost_total", ""), 1.0);
    service.until_quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_the_wrong_shape_is_a_fault_and_never_an_answer() {
    let model = GatedModel::new(double());
    let service = Service::start(model.clone(), 1, batching(), limits()).await;
    model.answer_short(true);
    assert_eq!(service.embed(&["one", "two"]).await, Err(EmbedError::Unavailable));
    model.answer_short(false);
    let embedded = service.embed(&["one", "two"]).await.expect("answers");
    assert_eq!(embedded.vectors, expected(&["one", "two"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_replicas_under_load_leave_every_request_with_an_end() {
    let model = double();
    let service = Service::start(model.clone(), 2, batching(), limits()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let (model, stop) = (service.model.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let text = format!("word{number}");
                let (mut answered, mut lost) = (0usize, 0usize);
                while !stop.load(Ordering::Relaxed) {
                    match model.embed(super::service::call(&[&text])).await {
                        Ok(embedded) => {
                            assert_eq!(embedded.vectors, expected(&[&text]));
                            answered += 1;
                        }
                        Err(EmbedError::Unavailable) => lost += 1,
                        Err(other) => panic!("{other}"),
                    }
                }
                (answered, lost)
            })
        })
        .collect();
    for round in 0..60 {
        let answered = service.requests("ok");
        service.model.kill_replica(round % 2);
        until(|| service.requests("ok") > answered).await;
    }
    service.model.kill_replica(99);
    stop.store(true, Ordering::Relaxed);
    let (mut answered, mut lost) = (0, 0);
    for task in tasks {
        let (more_answered, more_lost) = within(task).await.expect("no panic");
        answered += more_answered;
        lost += more_lost;
    }
    service.until_quiet().await;
    assert_eq!(service.requests("ok"), answered as f64);
    assert_eq!(service.requests("replica_lost"), lost as f64);
    assert!(service.metric("replicas_lost_total", "") > 0.0);
    assert!(service.embed(&["after"]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_model_actor_is_restarted_and_its_requests_may_be_sent_again() {
    let model = GatedModel::new(double());
    let service = Service::start(model.clone(), 2, batching(), limits()).await;
    model.shut();
    let running = service.spawn("running");
    until(|| model.batches().len() == 1).await;
    let actor = service.model.actor.borrow().clone().expect("started");
    actor.kill();
    assert_eq!(within(running).await.expect("no panic"), Err(EmbedError::Unavailable));
    model.open_gate();
    // A request in the gap waits for the next model actor.
    assert!(service.embed(&["after"]).await.is_ok());
    service.until_quiet().await;
}
