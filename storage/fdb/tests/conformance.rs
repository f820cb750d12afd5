//! The port's conformance suite, and what only this engine has, on a live cluster.
//!
//! `FDB_CLUSTER_FILE=… cargo test -p headwater-storage-fdb --features fdb --test conformance`.
//! Each test works in a directory of its own below `headwater-conformance` and removes it.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use foundationdb::directory::{Directory, DirectoryLayer};
use foundationdb::options::DatabaseOption;
use foundationdb::{Database, FdbBindingError};
use headwater_storage::{
    Environment, KeyRange, RangeRead, ReadMode, Stamped, Store, StoreError, conformance,
};
use headwater_storage_fdb::{FdbSettings, open};

/// Each history is ten small transactions, of a few ms each on a cluster nearby.
const HISTORIES: usize = 100;

fn cluster_file() -> PathBuf {
    match std::env::var_os("FDB_CLUSTER_FILE") {
        Some(path) if !path.is_empty() => PathBuf::from(path),
        _ => panic!(
            "these tests need a FoundationDB 7.3 cluster: set FDB_CLUSTER_FILE to the path of \
             its cluster file, or leave the feature `fdb` out"
        ),
    }
}

fn drawn_number() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock");
    (since.as_nanos() as u64).rotate_left(17) ^ u64::from(std::process::id())
}

fn environment() -> Environment {
    let origin = Instant::now();
    Environment::new(
        move || origin.elapsed().as_millis() as u64,
        |ms| Box::pin(tokio::time::sleep(Duration::from_millis(ms))),
        drawn_number,
    )
}

/// Runs a test's body on a fresh directory and removes that, whatever the body does.
async fn on_fresh_directory<F>(name: &str, body: impl FnOnce(FdbSettings) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let unique = format!("{name}-{:016x}", drawn_number());
    let directory = vec!["headwater-conformance".to_owned(), unique];
    let settings = FdbSettings { cluster_file: Some(cluster_file()), directory };
    let outcome = tokio::spawn(body(settings.clone())).await;
    let removed = remove(&settings).await;
    if let Err(failed) = outcome {
        std::panic::resume_unwind(failed.into_panic());
    }
    removed.expect("the test's directory can be removed");
}

async fn remove(settings: &FdbSettings) -> Result<bool, FdbBindingError> {
    let database = Database::new(settings.cluster_file.as_deref().and_then(|path| path.to_str()))?;
    database.set_option(DatabaseOption::TransactionTimeout(10_000))?;
    let path = &settings.directory;
    let removal = database.run(|transaction, _| async move {
        let layer = DirectoryLayer::default();
        layer.remove_if_exists(&transaction, path).await.map_err(FdbBindingError::from)
    });
    removal.await
}

async fn opened(settings: &FdbSettings) -> Arc<dyn Store> {
    open(settings).await.unwrap_or_else(|error| panic!("opening {settings:?}: {error}"))
}

async fn put(store: &dyn Store, key: &[u8], value: &[u8]) {
    let mut transaction = store.begin().await.expect("begin");
    transaction.set(key, value).expect("set");
    transaction.commit().await.expect("commit");
}

async fn value(store: &dyn Store, key: &[u8]) -> Option<Vec<u8>> {
    let mut transaction = store.begin().await.expect("begin");
    transaction.get(key, ReadMode::Serializable).await.expect("get")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_passes_the_suite() {
    on_fresh_directory("suite", |settings| async move {
        let store = opened(&settings).await;
        let seed = drawn_number();
        let report = conformance::run(store, &environment(), seed, HISTORIES).await;
        let report = report.unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        println!("seed {seed}: {report:?}");
        assert!(report.cases > 0, "{report:?}");
        assert!(report.histories.conflicts > 0, "{report:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_found_again_and_keeps_to_itself() {
    on_fresh_directory("nested", |settings| async move {
        let below = |name: &str| {
            let mut settings = settings.clone();
            settings.directory.push(name.to_owned());
            settings
        };
        let (one, other) = (opened(&below("one")).await, opened(&below("other")).await);
        // The first and the last key that a directory can have.
        put(one.as_ref(), b"", b"1").await;
        put(one.as_ref(), &[0xfe; 8], b"2").await;
        put(other.as_ref(), b"x", b"3").await;
        let again = opened(&below("one")).await;
        let mut transaction = again.begin().await.expect("begin");
        let whole = RangeRead::all(KeyRange::new([], [0xff]));
        let pairs = transaction.range(whole).await.expect("range");
        assert_eq!(pairs, [(vec![], b"1".to_vec()), (vec![0xfe; 8], b"2".to_vec())]);
        transaction.clear_range(&KeyRange::new([], [0xff])).expect("clear_range");
        transaction.commit().await.expect("commit");
        assert_eq!(value(one.as_ref(), b"").await, None);
        assert_eq!(value(other.as_ref(), b"x").await, Some(b"3".to_vec()));
    })
    .await;
}

/// FoundationDB gives a range in parts of some 80 kB.
#[tokio::test(flavor = "multi_thread")]
async fn a_range_of_many_parts_is_whole() {
    on_fresh_directory("parts", |settings| async move {
        let store = opened(&settings).await;
        let mut all: Vec<_> =
            (0..600_u16).map(|number| (number.to_be_bytes().to_vec(), vec![7; 1_000])).collect();
        let mut transaction = store.begin().await.expect("begin");
        for (key, value) in &all {
            transaction.set(key, value).expect("set");
        }
        transaction.commit().await.expect("commit");
        for reverse in [false, true] {
            for limit in [1, 99, 599, 600, 601, usize::MAX] {
                let whole = KeyRange::new([], [0xff]);
                let read = RangeRead { reverse, ..RangeRead::all(whole).limit(limit) };
                let mut transaction = store.begin().await.expect("begin");
                let pairs = transaction.range(read).await.expect("range");
                assert!(pairs == all[..limit.min(600)], "limit {limit}, reverse {reverse}");
            }
            all.reverse();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_of_stamped_keys_cannot_be_read() {
    on_fresh_directory("stamped", |settings| async move {
        let store = opened(&settings).await;
        let key = Stamped::between(b"log/", b"");
        let read = RangeRead::all(KeyRange::of_prefix(b"log/"));
        let mut transaction = store.begin().await.expect("begin");
        transaction.set_stamped_key(&key, b"0").expect("set_stamped_key");
        let answer = transaction.range(read.clone()).await;
        assert!(matches!(answer, Err(StoreError::Usage(_))), "{answer:?}");
        // FoundationDB's transactions do not commit after a refused read.
        let mut transaction = store.begin().await.expect("begin");
        transaction.set_stamped_key(&key, b"1").expect("set_stamped_key");
        let committed = transaction.commit().await.expect("commit");
        let stamp = committed.stamp.expect("a stamp");
        let mut transaction = store.begin().await.expect("begin");
        let pairs = transaction.range(read).await.expect("range");
        assert_eq!(pairs, [(key.fill(&stamp), b"1".to_vec())]);
        assert!(transaction.read_version().await.expect("a version") >= committed.version.unwrap());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_beside_writes_reports_after_the_commit() {
    on_fresh_directory("watch", |settings| async move {
        let store = opened(&settings).await;
        let mut transaction = store.begin().await.expect("begin");
        transaction.set(b"watched", b"own").expect("set");
        let watch = transaction.watch(b"watched").await.expect("watch");
        transaction.commit().await.expect("commit");
        put(store.as_ref(), b"watched", b"another's").await;
        watch.await.expect("the watch ends");
    })
    .await;
}

/// FoundationDB's client library ends the process for an inverted range to clear.
#[tokio::test(flavor = "multi_thread")]
async fn empty_and_inverted_ranges_do_nothing() {
    on_fresh_directory("inverted", |settings| async move {
        let store = opened(&settings).await;
        put(store.as_ref(), b"b", b"1").await;
        let mut transaction = store.begin().await.expect("begin");
        for range in [KeyRange::new(*b"b", *b"b"), KeyRange::new(*b"c", *b"a")] {
            transaction.clear_range(&range).expect("clear_range");
            transaction.add_read_conflict(&range).expect("add_read_conflict");
            transaction.add_write_conflict(&range).expect("add_write_conflict");
            let pairs = transaction.range(RangeRead::all(range)).await.expect("range");
            assert_eq!(pairs, []);
        }
        let committed = transaction.commit().await.expect("commit");
        assert_eq!(committed.version, None);
        assert_eq!(value(store.as_ref(), b"b").await, Some(b"1".to_vec()));
    })
    .await;
}

/// FoundationDB itself would take the version at the first read.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_reads_what_was_committed_when_it_began() {
    on_fresh_directory("begin", |settings| async move {
        let store = opened(&settings).await;
        let mut transaction = store.begin().await.expect("begin");
        put(store.as_ref(), b"late", b"1").await;
        let seen = transaction.get(b"late", ReadMode::Serializable).await.expect("get");
        assert_eq!(seen, None);
        transaction.set(b"other", b"2").expect("set");
        assert_eq!(transaction.commit().await, Err(StoreError::Conflict));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_cluster_file_is_told_at_once() {
    let cluster_file = cluster_file().with_file_name("no-such.cluster");
    let settings = FdbSettings { cluster_file: Some(cluster_file), ..FdbSettings::default() };
    let Err(StoreError::Usage(text)) = open(&settings).await else {
        panic!("opened without a cluster file");
    };
    assert!(text.contains("no-such.cluster"), "{text}");
}
