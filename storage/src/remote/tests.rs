//! The remote store against the port's suite, over good and bad networks.

mod garbage;
mod network;
mod protocol;
mod watches;

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use network::{Fates, Network, environment, generous, own_clock};

use super::{ExchangeError, RemoteStore, ServerLimits, StoreServer};
use crate::conformance::{Draw, run};
use crate::limits::TRANSACTION_MS;
use crate::memory::{Fault, MemoryStore};
use crate::retry::{Applied, BodyFuture, OperationId, Retry, RetryPolicy};
use crate::{AtomicOp, Environment, KeyRange, RangeRead, ReadMode, Store, StoreError, Transaction};

fn served(environment: &Environment) -> StoreServer {
    let store = Arc::new(MemoryStore::new(environment.clone()));
    StoreServer::new(store, environment.clone(), generous())
}

fn remote(network: &Arc<Network>, environment: &Environment) -> RemoteStore {
    RemoteStore::new(Arc::clone(network) as _, environment.clone())
}

async fn suite(seed: u64, histories: usize, fates: Fates) -> Arc<Network> {
    let environment = environment(seed);
    let network = Arc::new(Network::new(served(&environment), &environment, "node", seed, fates));
    let store = Arc::new(remote(&network, &environment));
    let report = run(store, &environment, seed, histories).await;
    let report = report.unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!(report.cases, 21);
    assert!(report.histories.conflicts > histories / 2, "{report:?}");
    network
}

#[tokio::test(start_paused = true)]
async fn the_suite_passes() {
    let network = suite(1, 600, Fates::default()).await;
    assert!(network.server().open_transactions() < 50, "dropped transactions are released");
}

/// Nothing is lost, but most requests come again, at once or much later.
#[tokio::test(start_paused = true)]
async fn the_suite_passes_when_requests_come_again() {
    let fates = Fates { twice: 60, late: 40, ..Fates::default() };
    let network = suite(2, 300, fates).await;
    let counts = network.counts();
    assert!(counts.twice > 1_000 && counts.late > 1_000, "{counts:?}");
}

/// Polls by hand; a future that waits for anything but its own clock never ends.
fn drive<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..1_000_000 {
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut context) {
            return outcome;
        }
    }
    panic!("the future never ends");
}

#[test]
fn the_suite_passes_without_a_runtime() {
    let environment = own_clock(3);
    let server = served(&environment);
    let network = Network::new(server, &environment, "node", 3, Fates::default());
    let store = Arc::new(remote(&Arc::new(network), &environment));
    let report = drive(run(store, &environment, 3, 100));
    assert!(report.is_ok(), "{report:?}");
}

fn count(transaction: &mut dyn Transaction) -> BodyFuture<'_, u64> {
    Box::pin(async move {
        let old = transaction.get(b"count", ReadMode::Serializable).await?;
        let old = old.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().expect("8 bytes")));
        transaction.atomic(b"count", AtomicOp::Add, &1_u64.to_le_bytes())?;
        Ok(old + 1)
    })
}

/// Three nodes count up together over networks that do everything a network may do, while
/// the server restarts. Each increment happens once, and each caller learns which was its
/// own: an error that said "nothing was written" of a commit that happened would give
/// [`Applied::Earlier`].
#[tokio::test(start_paused = true)]
async fn increments_happen_once_whatever_the_network_does() {
    const EACH: u64 = 15;
    let mut seen = network::Counts::default();
    for seed in 0..40 {
        let environment = environment(seed);
        let draw = std::sync::Mutex::new(Draw::new(seed));
        let store = MemoryStore::with_faults(environment.clone(), move |_| {
            let mut draw = draw.lock().expect("no test panics inside");
            let ms = draw.below(300) as u64;
            draw.percent(15).then_some(Fault::Delay { ms })
        });
        let server = StoreServer::new(Arc::new(store.clone()), environment.clone(), generous());
        let slot = Arc::new(std::sync::Mutex::new(server));
        let mut tasks = Vec::new();
        let mut networks = Vec::new();
        for node in 0..3_u64 {
            let (name, seed) = (format!("node-{node}"), seed << 8 | node);
            let network = Network::new(Arc::clone(&slot), &environment, &name, seed, Fates::bad());
            let network = Arc::new(network);
            networks.push(Arc::clone(&network));
            let policy =
                RetryPolicy { tries: 10_000, total_ms: u64::MAX / 2, ..RetryPolicy::default() };
            let store = remote(&network, &environment);
            let retry = Retry::new(Arc::new(store), environment.clone(), policy);
            tasks.push(tokio::spawn(async move {
                let mut own = Vec::new();
                for _ in 0..EACH {
                    let id = OperationId::draw(1, retry.environment());
                    match retry.write(id, count).await {
                        Ok(Applied::Now(count)) => own.push(count),
                        other => panic!("seed {seed}: {other:?}"),
                    }
                }
                own
            }));
        }
        for _ in 0..5 {
            environment.pause(400).await;
            let store = Arc::new(store.clone());
            *slot.lock().expect("unpoisoned") =
                StoreServer::new(store, environment.clone(), generous());
        }
        let mut all = BTreeSet::new();
        for task in tasks {
            all.extend(task.await.expect("the task ends"));
        }
        assert_eq!(all, (1..=3 * EACH).collect(), "seed {seed}");
        let contents = store.contents();
        let counted = contents.iter().find(|(key, _)| key == b"count").map(|(_, value)| value);
        assert_eq!(counted, Some(&(3 * EACH).to_le_bytes().to_vec()), "seed {seed}");
        networks.iter().for_each(|network| seen.add(&network.counts()));
    }
    assert!(seen.least() > 50, "every fate must strike: {seen:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_message_means() {
    let unknown = || ExchangeError::Unknown("gone".to_owned());
    let not_sent = || ExchangeError::NotSent("no route".to_owned());
    // Whether the request arrives, what the exchange says of it, what the commit ends with,
    // and whether it was written.
    for (arrives, error, is_unknown, written) in [
        (true, unknown(), true, true),
        (false, unknown(), true, false),
        (false, not_sent(), false, false),
    ] {
        let environment = environment(5);
        let network = Network::new(served(&environment), &environment, "node", 5, Fates::default());
        let network = Arc::new(network);
        let store = remote(&network, &environment);
        let mut transaction = store.begin().await.expect("begin");
        transaction.set(b"key", b"value").expect("set");
        network.fail_next(arrives, error.clone());
        let read = transaction.get(b"other", ReadMode::Serializable).await;
        assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
        network.fail_next(arrives, error.clone());
        match transaction.commit().await {
            Err(StoreError::CommitUnknown) => assert!(is_unknown, "{error:?}"),
            Err(StoreError::Unavailable(text)) => {
                assert!(!is_unknown && text.contains("no route"), "{text}");
            }
            other => panic!("{other:?}"),
        }
        let mut after = store.begin().await.expect("begin");
        let value = after.get(b"key", ReadMode::Snapshot).await.expect("get");
        assert_eq!(value.is_some(), written, "{error:?}");
        network.fail_next(arrives, error.clone());
        assert!(matches!(store.begin().await.err(), Some(StoreError::Unavailable(_))));
    }
}

/// As much as one transaction may write, in stages; read back in pages. The network checks
/// the length of every message.
#[tokio::test(start_paused = true)]
async fn large_transactions_and_ranges_are_cut_to_messages() {
    let environment = environment(6);
    let network = Network::new(served(&environment), &environment, "node", 6, Fates::default());
    let network = Arc::new(network);
    let store = remote(&network, &environment);
    let key = |number: u32| [b"k".as_slice(), &number.to_be_bytes()].concat();
    let pairs: Vec<_> = (0..124_u32).map(|number| (key(number), vec![7; 80_000])).collect();
    let write = async |fail_at: Option<usize>| {
        let mut transaction = store.begin().await?;
        for (key, value) in &pairs {
            transaction.set(key, value)?;
        }
        // Many small parts, too.
        for number in 0..2_000_u32 {
            transaction.add_read_conflict(&KeyRange::new(number.to_be_bytes(), key(number)))?;
        }
        if let Some(number) = fail_at {
            network.fail_after(number, ExchangeError::Unknown("gone".to_owned()));
        }
        transaction.commit().await
    };
    let lost = write(Some(3)).await;
    assert!(matches!(lost, Err(StoreError::Unavailable(_))), "no commit was asked for: {lost:?}");
    assert_eq!(write(Some(20)).await, Err(StoreError::CommitUnknown), "the last message");
    let before = network.counts().exchanges;
    write(None).await.expect("commit");
    assert_eq!(network.counts().exchanges - before, 22, "a begin, 20 stages and a commit");

    let mut reader = store.begin().await.expect("begin");
    let all = RangeRead::all(KeyRange::of_prefix(b"k"));
    let found = reader.range(all.clone()).await.expect("range");
    assert!(found == pairs, "{} pairs", found.len());
    let mut reversed = pairs.clone();
    reversed.reverse();
    assert!(reader.range(all.clone().reverse()).await.expect("range") == reversed);
    let some = reader.range(all.clone().reverse().limit(50)).await.expect("range");
    assert!(some == reversed[..50]);
    assert!(reader.range(all.limit(50)).await.expect("range") == pairs[..50]);
}

#[tokio::test(start_paused = true)]
async fn a_full_table_says_what_to_do_and_empties() {
    let environment = environment(7);
    let store = Arc::new(MemoryStore::new(environment.clone()));
    let limits =
        ServerLimits { transactions_per_client: 2, transactions: 3, ..ServerLimits::default() };
    let server = StoreServer::new(store, environment.clone(), limits);
    let stores = ["ann", "bob"].map(|name| {
        let network = Network::new(server.clone(), &environment, name, 7, Fates::default());
        remote(&Arc::new(network), &environment)
    });
    let [ann, bob] = &stores;
    let refused = |outcome: Result<Box<dyn Transaction>, StoreError>| match outcome.err() {
        Some(StoreError::Unavailable(text)) => text,
        other => panic!("{other:?}"),
    };
    let first = ann.begin().await.expect("the first");
    let second = ann.begin().await.expect("the second");
    let text = refused(ann.begin().await);
    let hint = "open transactions on the store's node; end transactions sooner or raise";
    assert!(text.contains("node ann has 2 of 2") && text.contains(hint), "{text}");
    let third = bob.begin().await.expect("the third");
    let text = refused(bob.begin().await);
    assert!(text.contains("all nodes together have 3 of 3") && text.contains(hint), "{text}");
    // A dropped transaction gives its place back with the client's next request.
    drop(first);
    let fourth = ann.begin().await.expect("a place is free");
    // Those that nobody ends go by their age.
    environment.pause(TRANSACTION_MS + 1).await;
    assert_eq!(server.open_transactions(), 3);
    server.sweep();
    assert_eq!(server.open_transactions(), 0);
    drop((second, third, fourth));
    assert!(bob.begin().await.is_ok());
}
