//! One node: admitted until a limit is used up, refused with its name, written down.

use super::world::{
    MODEL, Setup, Site, TENANT, ledger, minute, minute_limits, tokens_of, usage, used,
};
use crate::cluster::tests::world::{BEGIN_MS, World, pause, until, within};
use crate::tenancy::{Amounts, CounterKey, Limit, Limits, Refusal, Unit, Window, usage_rows};

/// Charges until it is refused for good, and returns how often it was admitted and the refusal.
/// What an allowance holds back for a moment comes back meanwhile.
async fn use_up(site: &Site, tokens: u64) -> (u64, Refusal) {
    let (mut admitted, mut refused) = (0, 0);
    loop {
        match site.charge(tokens).await {
            Ok(()) => (admitted, refused) = (admitted + 1, 0),
            Err(refusal) if refused == 10 => return (admitted, refusal),
            Err(_) => {
                refused += 1;
                pause(500).await;
            }
        }
    }
}

async fn one_node_from_end_to_end(as_tasks: bool) {
    let world = World::new();
    let site = Site::start(&world, "a", Setup { as_tasks, ..Setup::default() }).await;
    assert_eq!(site.set_limits(minute_limits(100)).await, 1);
    let (admitted, refusal) = use_up(&site, 10).await;
    assert_eq!(admitted, 10);
    let Refusal::UsedUp { exhausted, retry_after_ms, .. } = refusal else { panic!("{refusal:?}") };
    assert_eq!(exhausted.limit, minute(100));
    assert!(exhausted.remaining < 10);
    let now_ms = BEGIN_MS + world.now_ms();
    assert_eq!(now_ms + retry_after_ms, BEGIN_MS + 60_000, "until the minute ends");

    let books = within(site.handle.look(TENANT)).await.expect("the owner answers");
    let key = CounterKey::of(&minute(100), now_ms);
    assert_eq!(books.limits.limits, [minute(100)]);
    assert_eq!(books.counters.into_iter().collect::<Vec<_>>(), [(key, 100)]);

    pause(retry_after_ms).await;
    site.charge(10).await.expect("the next minute begins with a whole limit");
    let rows = ledger(&world, TENANT).await;
    assert_eq!(rows.len(), 11);
    for row in &rows {
        assert_eq!((row.entry.used, row.entry.model.as_str()), (usage(10), MODEL));
        assert_eq!(row.entry.uncovered, Amounts::ZERO);
        assert!(row.entry.allowance.is_some() && !row.entry.unverified);
        assert_eq!(row.epoch, 1);
    }
    assert_eq!(used(&world, TENANT).await, Amounts { requests: 11, tokens: 110, micro_usd: 0 });
    assert_eq!(site.metric("admissions_total{outcome=\"admitted\"}"), 11.0);
    assert!(site.metric("admissions_total{outcome=\"used_up\"}") >= 11.0);
}

#[tokio::test(start_paused = true)]
async fn one_node_with_actors() {
    one_node_from_end_to_end(false).await;
}

#[tokio::test(start_paused = true)]
async fn one_node_with_tasks() {
    one_node_from_end_to_end(true).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_really_used_is_written_and_not_the_estimate() {
    let world = World::new();
    let site = Site::start(&world, "a", Setup::default()).await;
    site.set_limits(minute_limits(1000)).await;
    for (estimate, real) in [(100, 30), (10, 25), (50, 50), (40, 0)] {
        let share = site.reserve(estimate).await.expect("within the limit");
        within(share.settle(usage(real))).await;
    }
    let rows = ledger(&world, TENANT).await;
    let mut tokens: Vec<u64> = rows.iter().map(|row| row.entry.used.tokens).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, [0, 25, 30, 50], "written before settling ended");
    assert_eq!(used(&world, TENANT).await.tokens, 105);
    let counted = async || -> u64 {
        let books = within(site.handle.look(TENANT)).await.expect("answers");
        books.counters.values().sum()
    };
    while counted().await != 105 {
        assert!(world.now_ms() < 50_000, "{} are counted", counted().await);
        pause(500).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_without_limits_is_metered_all_the_same() {
    let world = World::new();
    let site = Site::start(&world, "a", Setup::default()).await;
    for _ in 0..20 {
        site.charge(1_000_000).await.expect("there is no limit");
    }
    assert_eq!(tokens_of(&ledger(&world, TENANT).await), 20_000_000);
    assert_eq!(used(&world, TENANT).await.requests, 20);
}

#[tokio::test(start_paused = true)]
async fn each_limit_is_in_the_way_of_what_it_counts_only() {
    let limit = |model: Option<&str>, unit, window, amount| Limit {
        model: model.map(str::to_owned),
        unit,
        window,
        amount,
    };
    let world = World::new();
    let site = Site::start(&world, "a", Setup::default()).await;
    let limits = vec![
        limit(Some("large"), Unit::Requests, Window::Minute, 2),
        limit(None, Unit::Tokens, Window::Day, 1000),
        limit(None, Unit::MicroUsd, Window::Month, 500),
    ];
    site.set_limits(Limits { revision: 0, limits: limits.clone() }).await;
    let try_one = async |model: &str, tokens: u64, micro_usd: u64| -> Option<Limit> {
        let amounts = Amounts { requests: 1, tokens, micro_usd };
        match within(site.handle.reserve(TENANT, model, amounts)).await {
            Ok(share) => {
                within(share.settle(amounts)).await;
                None
            }
            Err(Refusal::UsedUp { exhausted, .. }) => Some(exhausted.limit),
            Err(refusal) => panic!("{refusal:?}"),
        }
    };
    for _ in 0..2 {
        assert_eq!(try_one("large", 10, 0).await, None);
    }
    assert_eq!(try_one("large", 10, 0).await, Some(limits[0].clone()));
    assert_eq!(try_one("small", 10, 0).await, None);
    assert_eq!(try_one("small", 1001, 0).await, Some(limits[1].clone()));
    assert_eq!(try_one("small", 0, 501).await, Some(limits[2].clone()));
    assert_eq!(try_one("small", 0, 400).await, None);
    assert_eq!(try_one("small", 0, 400).await, Some(limits[2].clone()));
    pause(60_000).await;
    assert_eq!(try_one("large", 10, 0).await, None, "another minute");
    assert_eq!(try_one("small", 0, 400).await, Some(limits[2].clone()), "the same month");
    let by_model = usage_rows(&world.retry(1000), TENANT, 10).await.expect("reads");
    let by_model: Vec<_> =
        by_model.iter().map(|(_, model, used)| (model.as_str(), used.requests)).collect();
    assert_eq!(by_model, [("small", 2), ("large", 3)], "the last first");
}

#[tokio::test(start_paused = true)]
async fn tenants_do_not_share() {
    let world = World::new();
    let site = Site::start(&world, "a", Setup::default()).await;
    site.set_limits(minute_limits(10)).await;
    site.charge(10).await.expect("within the limit");
    assert!(site.charge(10).await.is_err());
    let other = within(site.handle.reserve("other", MODEL, usage(10))).await;
    within(other.expect("another tenant").settle(usage(10))).await;
    assert_eq!(ledger(&world, TENANT).await.len(), 1);
    assert_eq!(ledger(&world, "other").await.len(), 1);
    assert_eq!(ledger(&world, "acm").await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn new_limits_count_as_soon_as_what_was_handed_out_is_over() {
    let world = World::new();
    let site = Site::start(&world, "a", Setup::default()).await;
    site.set_limits(minute_limits(10)).await;
    site.charge(10).await.expect("within the limit");
    assert!(site.charge(10).await.is_err());
    assert_eq!(site.set_limits(minute_limits(10_000)).await, 2);
    until_admitted(&site, 1000).await;

    for _ in 0..20 {
        site.charge(10).await.expect("within the new limit");
    }
    let allowance_ms = Setup::default().owners.grants.allowance_ms;
    assert_eq!(site.set_limits(minute_limits(50)).await, 3);
    pause(allowance_ms + 100).await;
    let refusal = site.charge(10).await.expect_err("more than 50 are used");
    assert!(
        matches!(&refusal, Refusal::UsedUp { exhausted, .. } if exhausted.limit == minute(50)),
        "{refusal:?}"
    );
}

/// Waits until a request is admitted; fails when that takes longer than this.
async fn until_admitted(site: &Site, most_ms: u64) {
    let began_ms = site.node.runtime.now_ms();
    while site.charge(10).await.is_err() {
        assert!(site.node.runtime.now_ms() - began_ms < most_ms, "the old limit still counts");
        pause(50).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_drained_edge_has_nothing_left_to_tell() {
    let world = World::new();
    let site = Site::start(&world, "a", Setup::default()).await;
    site.set_limits(minute_limits(100)).await;
    site.charge(10).await.expect("within the limit");
    assert!(within(site.handle.drain(5000)).await);
    let books = within(site.handle.look(TENANT)).await.expect("answers");
    assert_eq!(books.counters.values().sum::<u64>(), 10, "the allowance came back");
    site.charge(10).await.expect("within the limit");
    world.store_down();
    assert!(!within(site.handle.drain(1000)).await, "an allowance is still out");
    world.heal();
    assert!(within(site.handle.drain(10_000)).await);
    until(|| site.metric("unwritten_entries") == 0.0).await;
}
