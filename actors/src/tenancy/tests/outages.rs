//! The store does not answer: admitted within a bound, marked, and written down afterwards.

use super::world::{MODEL, Setup, Site, TENANT, ledger, minute_limits, sites, tokens_of, usage};
use crate::cluster::tests::world::{World, pause, until, within};
use crate::tenancy::{EdgeSettings, Refusal, TenancyError, TenancySettings};

const LIMIT: u64 = 1000;
/// 10 % of the limit.
const BUDGET: u64 = 100;
const OUTAGE_MS: u64 = 10_000;

fn setup() -> Setup {
    let edge = EdgeSettings { outage_ms: OUTAGE_MS, ..EdgeSettings::default() };
    Setup { edge: TenancySettings { edge, ..TenancySettings::default() }, ..Setup::default() }
}

/// Charges until the edge refuses; returns the tokens that were admitted without the owner.
async fn use_budget(site: &Site) -> u64 {
    let mut unverified = 0;
    loop {
        match site.reserve(10).await {
            Ok(share) => {
                unverified += if share.is_unverified() { 10 } else { 0 };
                within(share.settle(usage(10))).await;
            }
            Err(Refusal::Unanswered { retry_after_ms }) => {
                assert!(retry_after_ms > 0);
                return unverified;
            }
            Err(refusal) => panic!("{refusal:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_bridged_within_a_bound_and_written_down_after_it() {
    let world = World::new();
    let site = Site::start(&world, "a", setup()).await;
    site.set_limits(minute_limits(LIMIT)).await;
    site.charge(10).await.expect("within the limit");
    world.store_down();
    assert_eq!(use_budget(&site).await, BUDGET);
    assert_eq!(site.metric("outages"), 1.0);
    assert_eq!(site.metric("admissions_total{outcome=\"unverified\"}"), 10.0);
    until(|| site.metric("unwritten_entries") >= 10.0).await;

    world.heal();
    until(|| site.metric("outages") == 0.0 && site.metric("unwritten_entries") == 0.0).await;
    site.charge(10).await.expect("the owner answers again");
    let rows = ledger(&world, TENANT).await;
    let unverified: Vec<_> = rows.iter().filter(|row| row.entry.unverified).cloned().collect();
    assert_eq!(tokens_of(&unverified), BUDGET);
    for row in &unverified {
        assert_eq!((row.entry.allowance, row.entry.uncovered), (None, row.entry.used));
    }
    let settled = tokens_of(&rows);
    assert!(within(site.handle.drain(5000)).await);
    let books = within(site.handle.look(TENANT)).await.expect("answers");
    assert_eq!(books.counters.values().sum::<u64>(), settled, "it counts against the limit");
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_goes_on_is_no_licence() {
    let world = World::new();
    let site = Site::start(&world, "a", setup()).await;
    site.set_limits(minute_limits(LIMIT)).await;
    site.charge(1).await.expect("within the limit");
    world.store_down();
    pause(Setup::default().owners.grants.allowance_ms).await;
    let share = site.reserve(0).await.expect("the outage begins");
    assert!(share.is_unverified());
    drop(share);
    let began_ms = world.now_ms();
    while world.now_ms() < began_ms + OUTAGE_MS - 1 {
        let share = site.reserve(0).await.expect("within the time");
        assert!(share.is_unverified());
        pause(100.min(began_ms + OUTAGE_MS - 1 - world.now_ms())).await;
    }
    pause(1).await;
    for _ in 0..100 {
        let refusal = site.reserve(0).await.map(|_| ()).expect_err("the time is over");
        assert!(matches!(refusal, Refusal::Unanswered { .. }), "{refusal:?}");
        // Over the next minutes too, which bring new budgets.
        pause(2000).await;
    }
    world.heal();
    until(|| site.metric("outages") == 0.0).await;
    site.charge(1).await.expect("the owner answers again");
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_an_edge_never_met_gets_the_fallback_in_an_outage() {
    let world = World::new();
    let site = Site::start(&world, "a", setup()).await;
    world.store_down();
    let fallback = setup().edge.edge.outage_fallback.requests;
    let mut admitted = 0;
    while let Ok(share) = within(site.handle.reserve("new", MODEL, usage(1))).await {
        assert!(share.is_unverified());
        within(share.settle(usage(1))).await;
        admitted += 1;
    }
    assert_eq!(admitted, fallback);
    world.heal();
    until(|| site.metric("unwritten_entries") == 0.0 && site.metric("outages") == 0.0).await;
    assert_eq!(ledger(&world, "new").await.len() as u64, fallback);
}

#[tokio::test(start_paused = true)]
async fn an_operator_is_told_that_the_store_is_down() {
    let world = World::new();
    let site = Site::start(&world, "a", setup()).await;
    world.store_down();
    let outcome = within(site.handle.set_limits(TENANT, minute_limits(1))).await;
    assert_eq!(outcome, Err(TenancyError::StoreDown));
    assert_eq!(within(site.handle.look(TENANT)).await, Err(TenancyError::StoreDown));
    world.heal();
    assert_eq!(site.set_limits(minute_limits(1)).await, 1);
}

#[tokio::test(start_paused = true)]
async fn an_edge_that_is_cut_off_bridges_and_tells_later() {
    let world = World::new();
    let sites = sites(&world, &["a", "b"], setup()).await;
    let (owner, edge) = match sites[0].node.members.candidates(b"tenant/acme", 1)[0].as_str() {
        "a" => (&sites[0], &sites[1]),
        _ => (&sites[1], &sites[0]),
    };
    edge.set_limits(minute_limits(LIMIT)).await;
    edge.charge(10).await.expect("within the limit");
    assert!(owner.owns(TENANT));
    // The edge's node reaches the store, but not the owner, who keeps its lease.
    for (from, to) in [(owner, edge), (edge, owner)] {
        world.network.cut(&from.node.id, &to.node.id);
    }
    assert_eq!(use_budget(edge).await, BUDGET);
    assert!(owner.owns(TENANT) && !edge.owns(TENANT));
    owner.charge(10).await.expect("the owner's own edge works on");
    for (from, to) in [(owner, edge), (edge, owner)] {
        world.network.mend(&from.node.id, &to.node.id);
    }
    until(|| edge.metric("outages") == 0.0 && edge.metric("unwritten_entries") == 0.0).await;
    let rows = ledger(&world, TENANT).await;
    let unverified = rows.iter().filter(|row| row.entry.unverified).count() as u64;
    assert_eq!(unverified, BUDGET / 10);
}
