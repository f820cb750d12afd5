//! Owners come and go: death, drain, a better place, idleness.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use headwater_storage::memory::{Fault, FaultPoint};
use tokio::task::JoinHandle;

use super::world::{
    MODEL, Setup, Site, TENANT, know_each_other, ledger, minute_limits, sites, tokens_of, usage,
};
use crate::cluster::tests::world::{Draws, World, pause, until, within};
use crate::cluster::{MemberState, all_leases};
use crate::tenancy::{OwnersSettings, tenant_key};

const LIMIT: u64 = 100_000_000;

/// A client that asks all the time and takes no refusal.
struct Client {
    stop: Arc<AtomicBool>,
    settled: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Client {
    fn start(site: &Site) -> Client {
        let (stop, settled) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (handle, stopped, sum) = (site.handle.clone(), Arc::clone(&stop), Arc::clone(&settled));
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::SeqCst) {
                let share = within(handle.reserve(TENANT, MODEL, usage(10))).await;
                let share = share.expect("no refusal");
                assert!(!share.is_unverified());
                share.settle(usage(10)).await;
                sum.fetch_add(10, Ordering::SeqCst);
                pause(20).await;
            }
        });
        Client { stop, settled, task }
    }

    fn settled(&self) -> u64 {
        self.settled.load(Ordering::SeqCst)
    }

    async fn end(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        within(self.task).await.expect("no refusal");
        self.settled.load(Ordering::SeqCst)
    }
}

/// The owner first, then the others.
fn by_ownership(sites: Vec<Site>) -> (Site, Vec<Site>) {
    let (mut owners, others): (Vec<_>, Vec<_>) =
        sites.into_iter().partition(|site| site.owns(TENANT));
    assert_eq!(owners.len(), 1);
    (owners.remove(0), others)
}

async fn drained(sites: &[Site]) {
    for site in sites {
        assert!(within(site.handle.drain(10_000)).await);
    }
}

#[tokio::test(start_paused = true)]
async fn another_node_takes_over_when_the_owners_node_dies() {
    for as_tasks in [false, true] {
        let world = World::new();
        let setup = Setup { as_tasks, ..Setup::default() };
        let sites = sites(&world, &["a", "b", "c"], setup).await;
        sites[0].set_limits(minute_limits(LIMIT)).await;
        let (owner, others) = by_ownership(sites);
        let clients: Vec<Client> = others.iter().map(Client::start).collect();
        pause(3000).await;
        let before: Vec<u64> = clients.iter().map(Client::settled).collect();
        owner.node.kill();
        until(|| others.iter().any(|site| site.owns(TENANT))).await;
        until(|| clients.iter().zip(&before).all(|(now, before)| now.settled() > before + 100))
            .await;
        let mut settled = 0;
        for client in clients {
            settled += client.end().await;
        }
        drained(&others).await;
        let rows = ledger(&world, TENANT).await;
        assert_eq!(tokens_of(&rows), settled);
        let mut by_sequence: Vec<_> = rows.iter().map(|row| (row.sequence, row.epoch)).collect();
        by_sequence.sort_unstable();
        assert!(by_sequence.is_sorted_by_key(|(_, epoch)| *epoch), "no older owner wrote later");
        assert_eq!(by_sequence.last().map(|(_, epoch)| *epoch), Some(2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_draining_node_hands_its_tenants_over_and_nobody_is_refused() {
    let world = World::new();
    world.fail(|point| (point == FaultPoint::Commit).then_some(Fault::Delay { ms: 3 }));
    let sites = sites(&world, &["a", "b", "c"], Setup::default()).await;
    sites[0].set_limits(minute_limits(LIMIT)).await;
    let (leaving, others) = by_ownership(sites);
    let more: Vec<String> = (0..20).map(|number| format!("more-{number}")).collect();
    for tenant in &more {
        within(leaving.handle.set_limits(tenant, minute_limits(LIMIT))).await.expect("set");
    }
    let clients: Vec<Client> = others.iter().chain([&leaving]).map(Client::start).collect();
    pause(3000).await;
    leaving.node.members.update(|me| me.state = MemberState::Draining);
    within(leaving.owners.hand_all_over()).await;
    assert_eq!(leaving.owners.tenants(), [], "all are handed over");
    let rows = all_leases(&world.retry(1000)).await.expect("reads");
    assert!(rows.iter().all(|row| row.holder.node != leaving.node.id), "{rows:?}");
    pause(5000).await;
    assert_eq!(leaving.owners.tenants(), [], "and none came back");
    let mut clients = clients.into_iter();
    let mut settled = 0;
    let staying: Vec<Client> = clients.by_ref().take(2).collect();
    settled += clients.next().expect("the third").end().await;
    assert!(within(leaving.handle.drain(5000)).await);
    leaving.node.kill();
    pause(5000).await;
    for client in staying {
        settled += client.end().await;
    }
    drained(&others).await;
    assert_eq!(tokens_of(&ledger(&world, TENANT).await), settled);
}

/// Asks for the tenant from everywhere while it is handed over, with a store that takes its time.
async fn look_while_handing_over(seed: u64) {
    let world = World::new();
    let sites = sites(&world, &["a", "b"], Setup::default()).await;
    sites[0].set_limits(minute_limits(LIMIT)).await;
    let (leaving, others) = by_ownership(sites);
    let draws = Draws::new(seed);
    world.fail(move |_| Some(Fault::Delay { ms: draws.next() % 30 }));
    leaving.node.members.update(|me| me.state = MemberState::Draining);
    let owners = leaving.owners.clone();
    let handing = tokio::spawn(async move { owners.hand_all_over().await });
    let looks: Vec<_> = [&leaving, &others[0]]
        .into_iter()
        .flat_map(|site| (0..40).map(|number| (site.handle.clone(), number)))
        .map(|(handle, number)| {
            tokio::spawn(async move {
                pause(number * 5).await;
                handle.look(TENANT).await
            })
        })
        .collect();
    for look in looks {
        within(look).await.expect("no panic").expect("the owner is found");
    }
    within(handing).await.expect("no panic");
    assert_eq!(leaving.owners.tenants(), [], "with seed {seed}");
    assert!(others[0].owns(TENANT));
}

#[tokio::test(start_paused = true)]
async fn a_tenant_asked_for_while_it_is_handed_over_does_not_come_back() {
    for seed in 0..20 {
        look_while_handing_over(seed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_node_gives_its_tenants_up() {
    let world = World::new();
    let site = Site::start(&world, "a", Setup::default()).await;
    site.set_limits(minute_limits(LIMIT)).await;
    site.node.members.update(|me| me.state = MemberState::Draining);
    within(site.owners.hand_all_over()).await;
    assert_eq!(site.owners.tenants(), []);
    pause(10).await;
    site.node.kill();
    let next = Site::start(&world, "b", Setup::default()).await;
    let began_ms = world.now_ms();
    let books = within(next.handle.look(TENANT)).await.expect("answers");
    assert_eq!(books.limits.limits, minute_limits(LIMIT).limits);
    assert!(world.now_ms() - began_ms < 500, "it need not wait for a lease");
}

#[tokio::test(start_paused = true)]
async fn a_tenant_moves_to_a_better_place_and_nobody_is_refused() {
    let world = World::new();
    let first = Site::start_as(&world, "a", Setup::default(), |me| me.capacity = 1).await;
    first.set_limits(minute_limits(LIMIT)).await;
    let client = Client::start(&first);
    // So much larger that it is the better place for every tenant.
    let larger =
        Site::start_as(&world, "b", Setup::default(), |me| me.capacity = 1_000_000_000).await;
    know_each_other(&[&first, &larger]).await;
    let best = first.node.members.candidates(&tenant_key(TENANT), 1);
    assert_eq!(best, std::slice::from_ref(&larger.node.id));
    until(|| larger.owns(TENANT)).await;
    assert!(!first.owns(TENANT));
    let before = client.settled();
    until(|| client.settled() > before + 1000).await;
    let settled = client.end().await;
    drained(&[first]).await;
    assert_eq!(tokens_of(&ledger(&world, TENANT).await), settled);
    assert!(larger.owns(TENANT));
}

#[tokio::test(start_paused = true)]
async fn an_idle_tenant_is_let_go() {
    let world = World::new();
    let owners = OwnersSettings { idle_ms: 2000, ..OwnersSettings::default() };
    let site = Site::start(&world, "a", Setup { owners, ..Setup::default() }).await;
    site.set_limits(minute_limits(LIMIT)).await;
    assert!(site.owns(TENANT));
    until(|| !site.owns(TENANT)).await;
    pause(10).await;
    assert_eq!(site.node.leases.epoch(&tenant_key(TENANT)), None);
    let rows = all_leases(&world.retry(1000)).await.expect("reads");
    assert_eq!(rows[0].expires_ms, 0, "released");
    site.charge(10).await.expect("it is claimed anew");
    assert_eq!(site.owners.tenants(), [(TENANT.to_owned(), 2)]);
}
