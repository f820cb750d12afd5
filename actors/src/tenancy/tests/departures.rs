//! Clients that leave: what they held is given back.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use headwater_storage::memory::{Fault, FaultPoint};

use super::world::{MODEL, Setup, Site, TENANT, ledger, minute_limits, usage};
use crate::cluster::tests::world::{World, pause, until, within};
use crate::tenancy::Refusal;

/// How long a refusal is believed, and a little.
const BELIEVED_MS: u64 = 250;

async fn site(world: &World) -> Site {
    let site = Site::start(world, "a", Setup::default()).await;
    site.set_limits(minute_limits(100)).await;
    site
}

/// Fails unless the whole limit can be had again well before the minute ends.
async fn until_whole(site: &Site) {
    loop {
        match site.reserve(100).await {
            Ok(share) => {
                assert!(!share.is_unverified());
                return;
            }
            Err(Refusal::UsedUp { .. }) => pause(100).await,
            Err(refusal) => panic!("{refusal:?}"),
        }
        assert!(site.node.runtime.now_ms() < 30_000, "a part of the limit is lost");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_share_is_given_back_and_nothing_is_charged() {
    let world = World::new();
    let site = site(&world).await;
    let share = site.reserve(100).await.expect("within the limit");
    assert!(site.reserve(100).await.is_err());
    drop(share);
    pause(BELIEVED_MS).await;
    until_whole(&site).await;
    pause(5000).await;
    assert_eq!(ledger(&world, TENANT).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_it_waits_takes_nothing_with_it() {
    let world = World::new();
    let site = site(&world).await;
    world.fail(|point| (point == FaultPoint::Commit).then_some(Fault::Delay { ms: 200 }));
    let handle = site.handle.clone();
    let leaving = tokio::spawn(async move { handle.reserve(TENANT, MODEL, usage(100)).await });
    pause(50).await;
    leaving.abort();
    assert!(within(leaving).await.err().expect("aborted").is_cancelled());
    world.heal();
    until_whole(&site).await;
    assert_eq!(ledger(&world, TENANT).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_as_it_is_admitted_takes_nothing_with_it() {
    let world = World::new();
    let site = site(&world).await;
    {
        let mut leaving = pin!(site.handle.reserve(TENANT, MODEL, usage(100)));
        let mut context = Context::from_waker(Waker::noop());
        assert!(matches!(leaving.as_mut().poll(&mut context), Poll::Pending));
        // The answer comes, and the client never looks at it.
        until(|| site.metric("asks_total{outcome=\"granted\"}") == 1.0).await;
    }
    until_whole(&site).await;
    assert_eq!(ledger(&world, TENANT).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_it_settles_is_charged() {
    let world = World::new();
    let site = site(&world).await;
    let share = site.reserve(10).await.expect("within the limit");
    {
        let mut leaving = pin!(share.settle(usage(7)));
        let mut context = Context::from_waker(Waker::noop());
        assert!(matches!(leaving.as_mut().poll(&mut context), Poll::Pending));
    }
    until(|| site.metric("unwritten_entries") == 1.0 || site.metric("asks_total") == 0.0).await;
    pause(1000).await;
    let rows = ledger(&world, TENANT).await;
    assert_eq!(rows.iter().map(|row| row.entry.used).collect::<Vec<_>>(), [usage(7)]);
}
