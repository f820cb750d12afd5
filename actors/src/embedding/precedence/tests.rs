//! Ingest waits while a query is inside, and not for ever.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

use super::Precedence;

/// Far above what any step takes: reaching it means that the step hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a thread that takes one step of ingest, and tells when it is done.
fn step(precedence: &Precedence) -> mpsc::Receiver<()> {
    let (pace, (done, is_done)) = (precedence.pace(), mpsc::channel());
    thread::spawn(move || {
        pace();
        let _ = done.send(());
    });
    is_done
}

#[test]
fn a_step_waits_for_the_last_query_to_leave() {
    let paused = Counter::default();
    let precedence = Precedence::new(PATIENCE * 10, paused.clone());
    step(&precedence).recv_timeout(PATIENCE).expect("nobody is inside");
    assert_eq!(paused.get(), 0.0);
    for _ in 0..50 {
        let (first, second) = (precedence.enter(), precedence.enter());
        let waits = step(&precedence);
        drop(first);
        assert!(waits.recv_timeout(Duration::from_millis(2)).is_err(), "one is still inside");
        drop(second);
        waits.recv_timeout(PATIENCE).expect("the last one left");
    }
    assert!(paused.get() > 0.0);
}

#[test]
fn queries_that_never_cease_do_not_stop_ingest() {
    let precedence = Precedence::new(Duration::from_millis(1), Counter::default());
    let _inside = precedence.enter();
    for _ in 0..3 {
        step(&precedence).recv_timeout(PATIENCE).expect("the pause has an end");
    }
}
