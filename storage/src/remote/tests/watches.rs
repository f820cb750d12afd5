//! Watches over the wire: when they end, and that they are lost with an error.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::network::{Fates, Network, environment};
use super::{remote, served};
use crate::memory::MemoryStore;
use crate::remote::{ExchangeError, RemoteStore, ServerLimits, StoreServer, WATCH_IDLE_MS};
use crate::{Environment, Store, StoreError, Transaction, Watch};

async fn begin(store: &dyn Store) -> Box<dyn Transaction> {
    store.begin().await.expect("begin")
}

async fn put(store: &dyn Store, value: &[u8]) {
    let mut transaction = begin(store).await;
    transaction.set(b"key", value).expect("set");
    transaction.commit().await.expect("commit");
}

async fn watch(store: &dyn Store) -> Watch {
    let mut transaction = begin(store).await;
    let watch = transaction.watch(b"key").await.expect("watch");
    transaction.commit().await.expect("commit");
    watch
}

fn network(environment: &Environment) -> (Arc<Network>, RemoteStore) {
    let network = Network::new(served(environment), environment, "node", 1, Fates::default());
    let network = Arc::new(network);
    (Arc::clone(&network), remote(&network, environment))
}

/// What the transaction does around the watch, and whether the watch ends at the commit.
/// The memory store says what is right.
#[tokio::test(start_paused = true)]
async fn own_writes_count_by_their_place() {
    let environment = environment(1);
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::new(environment.clone()));
    let (_, remote) = network(&environment);
    for store in [memory, Arc::new(remote)] {
        for (before, after, ends) in [
            (None, Some(b"1"), true),
            (Some(b"2"), None, false),
            (Some(b"3"), Some(b"4"), true),
            (Some(b"5"), Some(b"5"), false),
            (None, None, false),
        ] {
            let mut transaction = begin(store.as_ref()).await;
            if let Some(value) = before {
                transaction.set(b"key", value).expect("set");
            }
            let mut watch = transaction.watch(b"key").await.expect("watch");
            if let Some(value) = after {
                transaction.set(b"key", value).expect("set");
            }
            transaction.commit().await.expect("commit");
            let ended = timeout(Duration::from_secs(100), &mut watch).await;
            let place = format!("{} {before:?} {after:?}", store.engine());
            assert_eq!(ended.is_ok(), ends, "{place}");
            if !ends {
                put(store.as_ref(), place.as_bytes()).await;
                assert_eq!(watch.await, Ok(()), "{place}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_waits_long_and_ends_with_the_change() {
    let environment = environment(2);
    let (network, store) = network(&environment);
    let watch = watch(&store).await;
    let writer = store.clone();
    let pause = environment.pause(100_000);
    let writes = async move {
        pause.await;
        put(&writer, b"1").await;
    };
    let (ended, ()) = tokio::join!(watch, writes);
    assert_eq!(ended, Ok(()));
    begin(&store).await;
    assert_eq!(network.server().watches(), 0, "the client has told that it is done with it");
}

#[tokio::test(start_paused = true)]
async fn every_loss_is_an_error() {
    let is_lost = |ended: Result<(), StoreError>| matches!(ended, Err(StoreError::Unavailable(_)));
    // The answer is lost.
    let environment = environment(3);
    let (network, store) = network(&environment);
    let lost = watch(&store).await;
    network.fail_next(true, ExchangeError::Unknown("gone".to_owned()));
    assert!(is_lost(lost.await));

    // The commit's answer is lost, so the client never learns of its watch.
    let mut transaction = begin(&store).await;
    let lost = transaction.watch(b"key").await.expect("watch");
    network.fail_next(true, ExchangeError::Unknown("gone".to_owned()));
    let outcome = transaction.commit().await;
    assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "nothing to write: {outcome:?}");
    assert!(is_lost(lost.await));

    // Nobody asked for too long.
    let lost = watch(&store).await;
    environment.pause(WATCH_IDLE_MS + 2_000).await;
    begin(&store).await;
    assert_eq!(network.server().watches(), 0);
    assert!(is_lost(lost.await));

    // The transaction conflicts.
    let mut transaction = begin(&store).await;
    let lost = transaction.watch(b"key").await.expect("watch");
    transaction.set(b"other", b"").expect("set");
    put(&store, b"1").await;
    assert_eq!(transaction.commit().await, Err(StoreError::Conflict));
    assert!(is_lost(lost.await));
}

#[tokio::test(start_paused = true)]
async fn the_server_keeps_only_so_many() {
    let environment = environment(4);
    let store = Arc::new(MemoryStore::new(environment.clone()));
    let limits = ServerLimits { watches_per_client: 2, watches: 3, ..ServerLimits::default() };
    let server = StoreServer::new(store, environment.clone(), limits);
    let [ann, bob] = ["ann", "bob"].map(|name| {
        let network = Network::new(server.clone(), &environment, name, 4, Fates::default());
        remote(&Arc::new(network), &environment)
    });
    let mut transaction = begin(&ann).await;
    let mut watches = Vec::new();
    for _ in 0..3 {
        watches.push(transaction.watch(b"key").await.expect("watch"));
    }
    transaction.commit().await.expect("the commit itself does not fail");
    assert_eq!(server.watches(), 2);
    let third = watches.pop().expect("three");
    assert!(third.await.is_err(), "there was no room for it");
    let kept = watch(&bob).await;
    assert_eq!(server.watches(), 3);
    assert!(watch(&bob).await.await.is_err(), "all nodes together have three");

    // A dropped watch gives its place back with the next request.
    watches.pop();
    begin(&ann).await;
    assert_eq!(server.watches(), 2);
    put(&bob, b"1").await;
    assert_eq!(kept.await, Ok(()));
    assert_eq!(watches.remove(0).await, Ok(()));
    begin(&ann).await;
    begin(&bob).await;
    assert_eq!(server.watches(), 0);
}
