//! Three nodes, 64 clients, one limit.

use std::sync::{Arc, Mutex};

use super::world::{
    MODEL, Setup, Site, TENANT, ledger, minute_limits, sites, tokens_of, usage, used,
};
use crate::cluster::tests::world::{Draws, World, pause, within};
use crate::tenancy::{Refusal, TenancyHandle};

const CLIENTS: usize = 64;
const LIMIT: u64 = 1000;

/// The tokens of each request that was settled.
type Settled = Arc<Mutex<Vec<u64>>>;

/// Asks again and again until the world's clock says so.
async fn hammer(
    handle: TenancyHandle,
    runtime: crate::runtime::Runtime,
    seed: u64,
    until_ms: u64,
    exact: bool,
    settled: Settled,
) {
    let draws = Draws::new(seed);
    while runtime.now_ms() < until_ms {
        let estimate = 1 + draws.next() % 20;
        match handle.reserve(TENANT, MODEL, usage(estimate)).await {
            Ok(share) => {
                assert!(!share.is_unverified());
                pause(draws.next() % 50).await;
                let real = if exact { estimate } else { draws.next() % (estimate + 1) };
                settled.lock().unwrap().push(real);
                share.settle(usage(real)).await;
            }
            Err(Refusal::UsedUp { .. }) => pause(50 + draws.next() % 200).await,
            Err(refusal) => panic!("{refusal:?}"),
        }
    }
}

async fn strain(as_tasks: bool, exact: bool) {
    let world = World::new();
    let sites = sites(&world, &["a", "b", "c"], Setup { as_tasks, ..Setup::default() }).await;
    sites[0].set_limits(minute_limits(LIMIT)).await;
    let settled = Settled::default();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let Site { handle, node, .. } = &sites[client % sites.len()];
            let (handle, runtime, settled) =
                (handle.clone(), node.runtime.clone(), Arc::clone(&settled));
            tokio::spawn(hammer(handle, runtime, client as u64, 50_000, exact, settled))
        })
        .collect();
    for client in clients {
        within(client).await.expect("no panic");
    }
    for site in &sites {
        assert!(within(site.handle.drain(5000)).await);
        assert_eq!(site.metric("admissions_total{outcome=\"unverified\"}"), 0.0);
    }
    let mut expected = std::mem::take(&mut *settled.lock().unwrap());
    let rows = ledger(&world, TENANT).await;
    let mut written: Vec<u64> = rows.iter().map(|row| row.entry.used.tokens).collect();
    expected.sort_unstable();
    written.sort_unstable();
    assert_eq!(written, expected, "the ledger holds each request once");
    let total = tokens_of(&rows);
    assert!(total <= LIMIT, "{total} of {LIMIT} were admitted");
    assert!(total >= LIMIT * 9 / 10, "only {total} of {LIMIT} were admitted");
    assert_eq!(used(&world, TENANT).await.tokens, total);
    let books = within(sites[1].handle.look(TENANT)).await.expect("the owner answers");
    assert_eq!(books.counters.values().sum::<u64>(), total);
    let owners = sites.iter().filter(|site| site.owns(TENANT)).count();
    assert_eq!(owners, 1);
}

#[tokio::test(start_paused = true)]
async fn a_limit_is_kept_and_used_by_64_clients() {
    strain(false, true).await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_is_kept_and_used_when_less_is_used_than_estimated() {
    strain(false, false).await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_is_kept_and_used_with_owners_as_tasks() {
    strain(true, true).await;
}
