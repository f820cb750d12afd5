//! The embedded engine against the port's suite, in both fsync modes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater_storage::conformance::{Draw, run};
use headwater_storage::{Environment, ReadMode, Store, StoreError};
use headwater_storage_embedded::{EmbeddedSettings, EmbeddedStore, Fsync};

fn environment() -> Environment {
    let origin = Instant::now();
    Environment::new(
        move || origin.elapsed().as_millis() as u64,
        |ms| Box::pin(tokio::time::sleep(Duration::from_millis(ms))),
        || 7,
    )
}

fn settings(folder: &tempfile::TempDir, fsync: Fsync) -> EmbeddedSettings {
    let path = folder.path().join("deep/store.redb");
    EmbeddedSettings { path, fsync, cache_bytes: 16 << 20 }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_passes_with_a_delayed_fsync() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = EmbeddedStore::open(&settings(&folder, Fsync::Delayed), environment());
    let store = Arc::new(store.expect("the store opens"));
    let report = run(store, &environment(), 1, 1_000).await;
    let report = report.unwrap_or_else(|violation| panic!("{violation}"));
    assert!(report.histories.conflicts > 500, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_passes_with_an_fsync_each() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = EmbeddedStore::open(&settings(&folder, Fsync::Always), environment());
    let store = Arc::new(store.expect("the store opens"));
    let report = run(store, &environment(), 2, 50).await;
    let report = report.unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!(report.histories.histories, 50);
}

/// Many tasks at once, so that commits really share groups: no increment is lost.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_increments_add_up() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = settings(&folder, Fsync::Always);
    let store = EmbeddedStore::open(&settings, environment()).expect("the store opens");
    let tasks: Vec<_> = (0..16_u64)
        .map(|seed| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut draw = Draw::new(seed);
                for _ in 0..25 {
                    while increment(&store).await == Err(StoreError::Conflict) {
                        tokio::time::sleep(Duration::from_millis(draw.below(20) as u64)).await;
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no increment failed for another reason");
    }
    drop(store);
    let store = EmbeddedStore::open(&settings, environment()).expect("it opens again");
    let mut transaction = store.begin().await.expect("begin");
    let count = transaction.get(b"count", ReadMode::Serializable).await.expect("get");
    assert_eq!(count, Some(400_u64.to_be_bytes().to_vec()));
}

async fn increment(store: &EmbeddedStore) -> Result<(), StoreError> {
    let mut transaction = store.begin().await?;
    let old = transaction.get(b"count", ReadMode::Serializable).await?;
    let old =
        old.map_or(0, |bytes| bytes.iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte)));
    transaction.set(b"count", &(old + 1).to_be_bytes())?;
    match transaction.commit().await {
        Ok(_) => Ok(()),
        Err(StoreError::Conflict) => Err(StoreError::Conflict),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_refused_with_its_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = settings(&folder, Fsync::Always);
    let first = EmbeddedStore::open(&settings, environment()).expect("the store opens");
    let second = EmbeddedStore::open(&settings, environment()).err().map(|e| e.to_string());
    assert!(second.is_some_and(|text| text.contains("store.redb is in use")));
    drop(first);
    std::fs::write(&settings.path, b"not a store at all").expect("the file can be written");
    let third = EmbeddedStore::open(&settings, environment()).err();
    assert!(
        matches!(&third, Some(StoreError::Corrupt(text)) if text.contains("store.redb")),
        "{third:?}"
    );
}
