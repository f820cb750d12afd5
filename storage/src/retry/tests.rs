//! The retry loop under every fault: each write happens once, and its caller learns so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Applied, BodyFuture, OperationId, Retry, RetryPolicy};
use crate::conformance::Draw;
use crate::memory::{Fault, FaultPoint, MemoryStore};
use crate::{AtomicOp, Environment, ReadMode, StoreError, Transaction};

fn environment(seed: u64) -> Environment {
    let origin = tokio::time::Instant::now();
    let draws = AtomicU64::new(seed);
    Environment::new(
        move || origin.elapsed().as_millis() as u64,
        |ms| Box::pin(tokio::time::sleep(Duration::from_millis(ms))),
        move || Draw::new(draws.fetch_add(1, Ordering::Relaxed)).number(),
    )
}

/// A retry loop whose store meets these faults in this order, then none.
fn retry(seed: u64, faults: Vec<(FaultPoint, Fault)>) -> (Retry, MemoryStore) {
    let environment = environment(seed);
    let faults = std::sync::Mutex::new(faults.into_iter());
    let store = MemoryStore::with_faults(environment.clone(), move |at| {
        let mut faults = faults.lock().expect("no test panics inside");
        match faults.as_slice().first() {
            Some((point, _)) if *point == at => faults.next().map(|(_, fault)| fault),
            _ => None,
        }
    });
    let policy = RetryPolicy { tries: 6, ..RetryPolicy::default() };
    (Retry::new(Arc::new(store.clone()), environment, policy), store)
}

fn count(transaction: &mut dyn Transaction) -> BodyFuture<'_, u64> {
    Box::pin(async move {
        let old = transaction.get(b"count", ReadMode::Serializable).await?;
        let old = old
            .map_or(0, |bytes| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
        transaction.atomic(b"count", AtomicOp::Add, &1_u64.to_le_bytes())?;
        Ok(old + 1)
    })
}

fn read_count(transaction: &mut dyn Transaction) -> BodyFuture<'_, Option<Vec<u8>>> {
    Box::pin(transaction.get(b"count", ReadMode::Serializable))
}

async fn counted(retry: &Retry) -> Option<Vec<u8>> {
    retry.read(read_count).await.expect("no fault is left")
}

#[tokio::test(start_paused = true)]
async fn each_fault_alone() {
    use Fault::{Conflict, Delay, TooOld, Unavailable, UnknownCommitted, UnknownLost};
    for (point, fault) in [
        (FaultPoint::Begin, Unavailable),
        (FaultPoint::Read, TooOld),
        (FaultPoint::Read, Delay { ms: 9_000 }),
        (FaultPoint::Commit, Conflict),
        (FaultPoint::Commit, TooOld),
        (FaultPoint::Commit, UnknownCommitted),
        (FaultPoint::Commit, UnknownLost),
        (FaultPoint::Commit, Unavailable),
    ] {
        let (retry, _) = retry(1, vec![(point, fault)]);
        let id = OperationId::draw(1, retry.environment());
        let answer = retry.write(id, count).await;
        assert_eq!(answer, Ok(Applied::Now(1)), "{fault:?} at {point:?}");
        assert_eq!(retry.write(id, count).await, Ok(Applied::Earlier), "{fault:?} at {point:?}");
        assert_eq!(counted(&retry).await, Some(1_u64.to_le_bytes().to_vec()));
    }
}

#[tokio::test(start_paused = true)]
async fn patience_ends_with_the_truth() {
    let outage = (FaultPoint::Begin, Fault::Unavailable);
    let (down, _) = retry(2, vec![outage; 6]);
    let id = OperationId::draw(1, down.environment());
    let answer = down.write(id, count).await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");

    for unknown in [Fault::UnknownCommitted, Fault::UnknownLost] {
        let mut faults = vec![(FaultPoint::Commit, unknown)];
        faults.extend([outage; 5]);
        let (retry, _) = retry(3, faults);
        let id = OperationId::draw(1, retry.environment());
        assert_eq!(retry.write(id, count).await, Err(StoreError::CommitUnknown), "{unknown:?}");
        let happened = unknown == Fault::UnknownCommitted;
        let expected = if happened { Applied::Earlier } else { Applied::Now(1) };
        assert_eq!(retry.write(id, count).await, Ok(expected), "{unknown:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_body_is_not_repeated() {
    let (retry, store) = retry(4, Vec::new());
    let id = OperationId::draw(1, retry.environment());
    let mut calls = 0;
    let answer = retry.write::<()>(id, |_| {
        calls += 1;
        Box::pin(async { Err(StoreError::Usage("no".to_owned())) })
    });
    assert_eq!(answer.await, Err(StoreError::Usage("no".to_owned())));
    assert_eq!(calls, 1);
    assert_eq!(store.contents(), Vec::new());
}

#[tokio::test(start_paused = true)]
async fn old_operation_rows_are_dropped() {
    let (retry, store) = retry(5, Vec::new());
    for hour in [7, 8, 9] {
        let id = OperationId::draw(hour, retry.environment());
        assert!(retry.write(id, count).await.is_ok());
    }
    assert_eq!(store.contents().len(), 4);
    assert_eq!(retry.forget_before(9).await, Ok(()));
    assert_eq!(store.contents().len(), 2);
}

#[test]
fn pauses_grow_to_their_bound_and_are_never_nothing() {
    let policy = RetryPolicy::default();
    for draw in [0, 1, u64::MAX / 2, u64::MAX] {
        let pauses: Vec<u64> = (1..40).map(|failed| policy.pause_ms(failed, draw)).collect();
        assert!(pauses.iter().all(|pause| (1..=1_000).contains(pause)), "{pauses:?}");
        assert!(pauses[20..].iter().all(|pause| *pause >= 500), "{pauses:?}");
    }
}
