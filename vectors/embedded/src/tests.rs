//! The sink over the memory store: the port's suite, and what only this sink promises.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use headwater_storage::Environment;
use headwater_storage::memory::{Fault, FaultPoint, MemoryStore};
use headwater_storage::retry::{Retry, RetryPolicy};
use headwater_vectors::conformance;

use crate::{EmbeddedSink, EmbeddedVectorsSettings};

fn environment() -> Environment {
    let origin = tokio::time::Instant::now();
    let draws = AtomicU64::new(1);
    Environment::new(
        move || origin.elapsed().as_millis() as u64,
        |ms| Box::pin(tokio::time::sleep(Duration::from_millis(ms))),
        move || mixed(draws.fetch_add(1, Ordering::Relaxed)),
    )
}

/// SplitMix64's mixer, so that neighbouring draws have nothing in common.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn sink(
    store: &MemoryStore,
    environment: &Environment,
    settings: EmbeddedVectorsSettings,
) -> EmbeddedSink {
    let policy = RetryPolicy { tries: 50, ..RetryPolicy::default() };
    let retry = Retry::new(Arc::new(store.clone()), environment.clone(), policy);
    EmbeddedSink::new(retry, settings)
}

#[tokio::test(start_paused = true)]
async fn the_suite_passes() {
    let environment = environment();
    let store = MemoryStore::new(environment.clone());
    let sink = sink(&store, &environment, EmbeddedVectorsSettings::default());
    let count = conformance::run(&sink, 1).await;
    assert_eq!(count.unwrap_or_else(|violation| panic!("{violation}")), 19);
    assert_eq!(store.contents(), Vec::new(), "the suite drops its spaces, and nothing is left");
    assert_eq!(sink.spaces_in_memory(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn the_suite_passes_while_the_store_fails_now_and_then() {
    let environment = environment();
    let draws = AtomicU64::new(7);
    let store = MemoryStore::with_faults(environment.clone(), move |point| {
        let draw = mixed(draws.fetch_add(1, Ordering::Relaxed));
        match (point, draw % 200) {
            (FaultPoint::Commit, 0..6) => Some(Fault::Conflict),
            (FaultPoint::Commit, 6..12) => Some(Fault::UnknownCommitted),
            (FaultPoint::Commit, 12..18) => Some(Fault::UnknownLost),
            (FaultPoint::Begin, 0..2) => Some(Fault::Unavailable),
            _ => None,
        }
    });
    let settings = EmbeddedVectorsSettings {
        commits_per_mark: 2,
        marks_kept: 1,
        ..EmbeddedVectorsSettings::default()
    };
    let sink = sink(&store, &environment, settings);
    let count = conformance::run(&sink, 2).await;
    assert_eq!(count.unwrap_or_else(|violation| panic!("{violation}")), 19);
}
