//! The cache on a clock that the test turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::double::{Fault, MemorySource};
use crate::{CacheSettings, SecretCache, SecretError, SecretName, SecretSource};

const LOST: Fault = Fault::Unavailable { retry_after_ms: 5 };

struct World {
    source: Arc<MemorySource>,
    clock_ms: Arc<AtomicU64>,
    cache: Arc<SecretCache>,
}

fn name(text: &str) -> SecretName {
    SecretName::new(text).unwrap()
}

/// Values are good for 60 ms, and for 300 ms more in need.
fn world(entries_max: usize) -> World {
    let source = Arc::new(MemorySource::new());
    let clock_ms = Arc::new(AtomicU64::new(1_000));
    let now = clock_ms.clone();
    let settings = CacheSettings { ttl_ms: 60, stale_ms: 300, entries_max };
    let clock = Arc::new(move || now.load(Ordering::Relaxed));
    let cache = Arc::new(SecretCache::new(source.clone(), clock, settings));
    World { source, clock_ms, cache }
}

impl World {
    /// What a question after so many more ms gives, and how often the source was asked by then.
    async fn check(&self, pass_ms: u64, expected: Result<&str, SecretError>, asks: u64) {
        self.clock_ms.fetch_add(pass_ms, Ordering::Relaxed);
        let value = self.cache.get("acme", &name("ONE")).await;
        let value = value.as_ref().map(|value| value.expose());
        assert_eq!(value, expected.as_ref().copied(), "at {:?}", self.clock_ms);
        assert_eq!(self.source.asks(), asks, "at {:?}", self.clock_ms);
    }
}

fn slow(gate: &Arc<Notify>) -> Fault {
    let gate = gate.clone();
    Fault::Slow(Arc::new(move || {
        let gate = gate.clone();
        Box::pin(async move { gate.notified().await })
    }))
}

#[tokio::test]
async fn a_value_is_kept_for_its_time() {
    let world = world(8);
    world.source.put("acme", name("ONE"), "1");
    world.check(0, Ok("1"), 1).await;
    world.source.put("acme", name("ONE"), "2");
    world.check(59, Ok("1"), 1).await;
    world.check(1, Ok("2"), 2).await;
}

#[tokio::test]
async fn a_lost_source_is_bridged_for_a_bounded_time() {
    let world = world(8);
    world.source.put("acme", name("ONE"), "1");
    world.check(0, Ok("1"), 1).await;
    world.source.set_fault(Some(LOST));
    world.check(60, Ok("1"), 2).await;
    // The source asked for 5 ms of peace.
    world.check(4, Ok("1"), 2).await;
    world.check(1, Ok("1"), 3).await;
    world.check(294, Ok("1"), 4).await;
    world.check(1, Err(SecretError::Unavailable { retry_after_ms: 5 }), 5).await;
    assert!(world.cache.is_empty());
    world.source.set_fault(None);
    world.check(0, Ok("1"), 6).await;
}

#[tokio::test]
async fn what_was_removed_or_denied_is_not_bridged() {
    for fault in [None, Some(Fault::Denied)] {
        let world = world(8);
        world.source.put("acme", name("ONE"), "1");
        world.check(0, Ok("1"), 1).await;
        world.source.remove("acme", &name("ONE"));
        let expected = match &fault {
            None => SecretError::unknown("acme", &name("ONE")),
            Some(_) => SecretError::denied("acme", &name("ONE")),
        };
        world.source.set_fault(fault);
        world.check(60, Err(expected), 2).await;
        world.source.set_fault(Some(LOST));
        world.check(0, Err(SecretError::Unavailable { retry_after_ms: 5 }), 3).await;
    }
}

#[tokio::test]
async fn many_questions_are_one_flight() {
    let world = world(8);
    world.source.put("acme", name("ONE"), "1");
    world.source.put("other", name("ONE"), "2");
    let gate = Arc::new(Notify::new());
    world.source.set_fault(Some(slow(&gate)));
    let ask = |team: &'static str| {
        let cache = world.cache.clone();
        tokio::spawn(async move { cache.get(team, &name("ONE")).await.unwrap() })
    };
    let first = ask("acme");
    let mut waiting: Vec<_> = (0..9).map(|_| ask("acme")).collect();
    waiting.push(ask("other"));
    tokio::task::yield_now().await;
    assert_eq!(world.source.asks(), 2);
    // Who asked first leaves; the others are served all the same.
    first.abort();
    tokio::task::yield_now().await;
    gate.notify_waiters();
    let mut values = Vec::new();
    for task in waiting {
        values.push(task.await.unwrap().expose().to_owned());
    }
    assert_eq!(values, [vec!["1"; 9], vec!["2"]].concat());
    assert_eq!(world.source.asks(), 2);
}

#[tokio::test]
async fn a_value_is_as_old_as_the_beginning_of_its_read() {
    let world = world(8);
    world.source.put("acme", name("ONE"), "1");
    let gate = Arc::new(Notify::new());
    world.source.set_fault(Some(slow(&gate)));
    let cache = world.cache.clone();
    let slowly = tokio::spawn(async move { cache.get("acme", &name("ONE")).await.is_ok() });
    tokio::task::yield_now().await;
    world.clock_ms.fetch_add(50, Ordering::Relaxed);
    gate.notify_waiters();
    assert!(slowly.await.unwrap());
    world.source.set_fault(None);
    world.check(9, Ok("1"), 1).await;
    world.check(1, Ok("1"), 2).await;
}

#[tokio::test]
async fn a_flight_that_nobody_waits_for_is_flown_again() {
    let world = world(8);
    world.source.put("acme", name("ONE"), "1");
    world.source.set_fault(Some(slow(&Arc::new(Notify::new()))));
    let cache = world.cache.clone();
    let left = tokio::spawn(async move { cache.get("acme", &name("ONE")).await });
    tokio::task::yield_now().await;
    left.abort();
    assert!(left.await.unwrap_err().is_cancelled());
    world.source.set_fault(None);
    world.check(0, Ok("1"), 2).await;
}

#[tokio::test]
async fn the_oldest_goes_when_there_are_too_many() {
    let world = world(2);
    for one in ["ONE", "TWO", "THREE"] {
        world.source.put("acme", name(one), one);
        world.clock_ms.fetch_add(1, Ordering::Relaxed);
        assert_eq!(world.cache.get("acme", &name(one)).await.unwrap().expose(), one);
    }
    assert_eq!((world.cache.len(), world.source.asks()), (2, 3));
    world.cache.get("acme", &name("THREE")).await.unwrap();
    assert_eq!(world.source.asks(), 3);
    world.cache.get("acme", &name("ONE")).await.unwrap();
    assert_eq!((world.cache.len(), world.source.asks()), (2, 4));
}

#[tokio::test]
async fn a_cache_of_none_keeps_none() {
    let world = world(0);
    world.source.put("acme", name("ONE"), "1");
    world.check(0, Ok("1"), 1).await;
    world.check(0, Ok("1"), 2).await;
    assert!(world.cache.is_empty());
}

#[tokio::test]
async fn values_go_with_time_and_with_the_cache() {
    let world = world(8);
    world.source.put("acme", name("ONE"), "1");
    let holders = world.cache.get("acme", &name("ONE")).await.unwrap().holders();
    world.source.remove("acme", &name("ONE"));
    world.clock_ms.fetch_add(359, Ordering::Relaxed);
    world.cache.sweep();
    assert!(holders.upgrade().is_some());
    world.clock_ms.fetch_add(1, Ordering::Relaxed);
    world.cache.sweep();
    assert!(holders.upgrade().is_none());

    world.source.put("acme", name("ONE"), "2");
    let holders = world.cache.get("acme", &name("ONE")).await.unwrap().holders();
    world.source.remove("acme", &name("ONE"));
    assert!(holders.upgrade().is_some());
    drop(world.cache);
    assert!(holders.upgrade().is_none());
}
