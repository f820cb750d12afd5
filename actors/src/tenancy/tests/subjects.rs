//! Limits of projects and users besides their team's: all pay or none, and nothing counts twice.

use super::world::{
    MODEL, Setup, Site, TENANT, ledger, minute, minute_limits, sites, tokens_of, usage, used,
};
use crate::cluster::tests::world::{World, pause, until, within};
use crate::tenancy::{Limits, Payer, Refusal, Share};

const PROJECT: &str = "acme/search";
const USER: &str = "acme//ada";

fn ada_of_search() -> Payer<'static> {
    Payer { team: TENANT, project: Some("search"), user: Some("ada") }
}

async fn limit(site: &Site, subject: &str, limits: Limits) {
    within(site.handle.set_limits(subject, limits)).await.expect("the owner answers");
}

fn follow(world: &World, site: &Site) {
    site.node.runtime.spawn(site.handle.clone().follow_limited(world.retry(1_000)));
}

/// Reserves once everybody who should pays.
async fn reserve(site: &Site, tokens: u64, payers: &[&str]) -> Share {
    loop {
        let share = within(site.handle.reserve(ada_of_search(), MODEL, usage(tokens))).await;
        let share = share.expect("within the limits");
        let names: Vec<&str> = share.payers().map(|(name, _)| name).collect();
        if names == payers {
            return share;
        }
        pause(10).await;
    }
}

async fn taken(site: &Site, subject: &str) -> u64 {
    let books = within(site.handle.look(subject)).await.expect("the owner answers");
    books.counters.values().sum()
}

async fn until_taken(site: &Site, subject: &str, tokens: u64) {
    within(async {
        while taken(site, subject).await != tokens {
            pause(50).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn everybody_with_limits_pays_and_is_charged_what_was_used() {
    let world = World::new();
    let site = Site::start(&world, "a", Setup::default()).await;
    follow(&world, &site);
    site.set_limits(minute_limits(1_000)).await;
    limit(&site, PROJECT, minute_limits(500)).await;
    let share = reserve(&site, 100, &[TENANT, PROJECT]).await;
    limit(&site, USER, minute_limits(300)).await;
    let other = reserve(&site, 100, &[TENANT, PROJECT, USER]).await;
    assert_eq!(other.standing()[0].amount, 300, "the tightest limit is told");
    within(share.settle(usage(40))).await;
    within(other.settle(usage(60))).await;
    for (subject, tokens) in [(TENANT, 100), (PROJECT, 100), (USER, 60)] {
        assert_eq!(tokens_of(&ledger(&world, subject).await), tokens, "{subject}");
        assert_eq!(used(&world, subject).await.tokens, tokens, "{subject}");
        until_taken(&site, subject, tokens).await;
    }
    assert_eq!(site.metric("admissions_total{outcome=\"used_up\"}"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_one_gives_back_what_the_others_gave() {
    let world = World::new();
    let site = Site::start(&world, "a", Setup::default()).await;
    follow(&world, &site);
    site.set_limits(minute_limits(1_000)).await;
    limit(&site, PROJECT, minute_limits(500)).await;
    limit(&site, USER, minute_limits(50)).await;
    drop(reserve(&site, 10, &[TENANT, PROJECT, USER]).await);
    let refused = within(site.handle.reserve(ada_of_search(), MODEL, usage(60))).await;
    let Err(Refusal::UsedUp { tenant, exhausted, .. }) = refused.map(|_| ()) else {
        panic!("the user's limit is too small")
    };
    assert_eq!((tenant.as_str(), exhausted.limit), (USER, minute(50)));
    assert_eq!(site.handle.open(), 0);
    for subject in [TENANT, PROJECT, USER] {
        until_taken(&site, subject, 0).await;
        assert!(ledger(&world, subject).await.is_empty(), "{subject}");
    }
    // Others of the team are not in its way.
    let whole = within(site.handle.reserve(TENANT, MODEL, usage(900))).await;
    assert!(whole.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_leaves_after_the_work_began_pays_everywhere() {
    let world = World::new();
    let site = Site::start(&world, "a", Setup::default()).await;
    follow(&world, &site);
    limit(&site, PROJECT, minute_limits(500)).await;
    limit(&site, USER, minute_limits(500)).await;
    let mut share = reserve(&site, 70, &[TENANT, PROJECT, USER]).await;
    share.begin();
    drop(share);
    assert!(within(site.handle.drain(10_000)).await);
    for subject in [TENANT, PROJECT, USER] {
        assert_eq!(tokens_of(&ledger(&world, subject).await), 70, "{subject}");
    }
}

#[tokio::test(start_paused = true)]
async fn limits_set_on_one_node_count_on_the_other_and_end_there() {
    let world = World::new();
    let sites = sites(&world, &["a", "b"], Setup::default()).await;
    let [a, b] = sites.as_slice() else { panic!("two sites") };
    follow(&world, b);
    limit(a, USER, minute_limits(100)).await;
    drop(reserve(b, 10, &[TENANT, USER]).await);
    limit(a, USER, Limits::default()).await;
    drop(reserve(b, 10, &[TENANT]).await);
    until(|| b.handle.open() == 0).await;
}
