//! An owner as its node asks it: repetitions, too much at once, and actors that end.

use std::sync::atomic::Ordering;

use headwater_storage::memory::{Fault, FaultPoint};
use headwater_tenancy::{
    Allowance, AllowanceId, AllowanceReturn, Ask, Entry, EntryId, Operation, Outcome, OwnerProblem,
    OwnerSettings, Report,
};

use super::super::wire::{Question, Reply, decode_reply, encode_question};
use super::world::{MODEL, Setup, Site, ledger, minute_limits, sites, tenant_at, usage, used};
use super::world::{TENANT, know_each_other};
use crate::caller::Service;
use crate::cluster::Claim;
use crate::cluster::tests::world::{BEGIN_MS, Draws, World, id, pause, within};
use crate::tenancy::{Amounts, OwnersSettings, TenancyError, tenant_key};

async fn ask_raw(from: &Site, to: &Site, question: Vec<u8>) -> Reply {
    let call = from.node.caller.call(&to.node.id, Service::Tenancy, question, 10_000);
    decode_reply(&within(call).await.expect("answered")).expect("a reply")
}

async fn ask(from: &Site, to: &Site, operation: Operation) -> Reply {
    let question = encode_question(TENANT, &Question::Do(operation)).expect("encodes");
    ask_raw(from, to, question).await
}

async fn done(site: &Site, operation: Operation) -> Outcome {
    match ask(site, site, operation).await {
        Reply::Answered(Ok(outcome)) => outcome,
        reply => panic!("{reply:?}"),
    }
}

async fn counted(site: &Site) -> u64 {
    let books = within(site.handle.look(TENANT)).await.expect("answers");
    books.counters.values().sum()
}

fn one_ask(number: u128, tokens: u64) -> Operation {
    Operation::Ask(Ask {
        id: AllowanceId(number),
        edge: "edge".to_owned(),
        model: MODEL.to_owned(),
        need: usage(tokens),
        want: usage(tokens),
    })
}

fn entry(number: u128, tokens: u64) -> Entry {
    Entry {
        id: EntryId(number),
        model: MODEL.to_owned(),
        used: usage(tokens),
        uncovered: Amounts::ZERO,
        unverified: false,
        allowance: Some(AllowanceId(1)),
        at_ms: BEGIN_MS,
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_twice_counts_once() {
    let world = World::new();
    let site = Site::start(&world, "a", Setup::default()).await;
    site.set_limits(minute_limits(1000)).await;
    // How the limits stand is told the first time alone.
    let bare = |outcome: Outcome| match outcome {
        Outcome::Granted(allowance) => {
            Outcome::Granted(Allowance { standing: Vec::new(), ..allowance })
        }
        other => other,
    };
    let granted = bare(done(&site, one_ask(1, 40)).await);
    assert_eq!(bare(done(&site, one_ask(1, 40)).await), granted);
    assert_eq!(counted(&site).await, 40);
    let report = Report {
        number: 1,
        entries: vec![entry(7, 10), entry(8, 15)],
        returns: vec![AllowanceReturn { id: AllowanceId(1), unused: usage(15) }],
    };
    for number in 1..=3 {
        let report = Report { number, ..report.clone() };
        assert_eq!(done(&site, Operation::Report(report)).await, Outcome::Written);
        assert_eq!(counted(&site).await, 25);
    }
    let rows = ledger(&world, TENANT).await;
    let ids: Vec<u128> = rows.iter().map(|row| row.entry.id.0).collect();
    assert_eq!(ids, [7, 8]);
    assert_eq!(used(&world, TENANT).await.tokens, 25);
}

#[tokio::test(start_paused = true)]
async fn commits_with_unknown_results_count_once() {
    for fault in [Fault::UnknownCommitted, Fault::UnknownLost, Fault::Conflict, Fault::TooOld] {
        let world = World::new();
        let site = Site::start(&world, "a", Setup::default()).await;
        let draws = Draws::new(9);
        world.fail(move |point| {
            (point == FaultPoint::Commit && draws.next().is_multiple_of(2)).then_some(fault)
        });
        site.set_limits(minute_limits(100_000)).await;
        for _ in 0..50 {
            site.charge(10).await.expect("within the limit");
        }
        assert!(within(site.handle.drain(20_000)).await);
        let rows = ledger(&world, TENANT).await;
        assert_eq!(rows.len(), 50, "with {fault:?}");
        assert_eq!(used(&world, TENANT).await.tokens, 500, "with {fault:?}");
        assert_eq!(counted(&site).await, 500, "with {fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_says_who_owns_the_tenant_instead() {
    let world = World::new();
    let sites = sites(&world, &["a", "b"], Setup::default()).await;
    let (owner, other) = (&sites[0], &sites[1]);
    assert!(matches!(ask(other, owner, Operation::Look).await, Reply::Answered(Ok(_))));
    let reply = ask(owner, other, Operation::Look).await;
    let Reply::Moved { to, remaining_ms } = reply else { panic!("{reply:?}") };
    assert_eq!(to, owner.node.id);
    assert!((1..=3000).contains(&remaining_ms));
}

#[tokio::test(start_paused = true)]
async fn a_question_that_cannot_be_read_is_answered_so() {
    let world = World::new();
    let sites = sites(&world, &["a", "b"], Setup::default()).await;
    let whole = encode_question(TENANT, &Question::Do(one_ask(1, 1))).expect("encodes");
    for question in [Vec::new(), vec![9; 40], whole[..whole.len() - 1].to_vec()] {
        assert_eq!(ask_raw(&sites[0], &sites[1], question).await, Reply::Unreadable);
    }
    assert_eq!(sites[1].owners.tenants(), []);
}

#[tokio::test(start_paused = true)]
async fn an_owner_with_too_much_to_do_refuses_some_and_does_all_in_the_end() {
    let world = World::new();
    let owner = OwnerSettings { batch_operations: 1, queue_operations: 2, ..Default::default() };
    let owners = OwnersSettings { owner, ..OwnersSettings::default() };
    let site = Site::start(&world, "a", Setup { owners, ..Setup::default() }).await;
    world.fail(|point| (point == FaultPoint::Commit).then_some(Fault::Delay { ms: 5 }));
    let question = encode_question(TENANT, &Question::Do(Operation::Look)).expect("encodes");
    let raw: Vec<_> = (0..10)
        .map(|_| {
            let (caller, question) = (site.node.caller.clone(), question.clone());
            tokio::spawn(
                async move { caller.call(&id("a"), Service::Tenancy, question, 9000).await },
            )
        })
        .collect();
    let mut overloaded = 0;
    for call in raw {
        let bytes = within(call).await.expect("no panic").expect("answered");
        match decode_reply(&bytes).expect("a reply") {
            Reply::Answered(Err(OwnerProblem::Overloaded)) => overloaded += 1,
            reply => assert!(matches!(reply, Reply::Answered(Ok(Outcome::Looked(_))))),
        }
    }
    assert_eq!(overloaded, 7, "one is at work and two wait");
    let looks: Vec<_> = (0..50)
        .map(|_| {
            let handle = site.handle.clone();
            tokio::spawn(async move { handle.look(TENANT).await })
        })
        .collect();
    for look in looks {
        let outcome = within(look).await.expect("no panic");
        assert!(matches!(outcome, Ok(_) | Err(TenancyError::Overloaded)), "{outcome:?}");
    }
    within(site.handle.look(TENANT)).await.expect("it goes on");
}

#[tokio::test(start_paused = true)]
async fn a_killed_owner_is_replaced_under_the_same_lease() {
    let world = World::new();
    let site = Site::start(&world, "a", Setup::default()).await;
    site.set_limits(minute_limits(1000)).await;
    site.charge(10).await.expect("within the limit");
    let supervisor = site.supervisor.as_ref().expect("actors").get_cell();
    for _ in 0..5 {
        let owners = supervisor.get_children();
        assert_eq!(owners.len(), 1);
        owners[0].kill();
        pause(2500).await;
        site.charge(10).await.expect("another owner answers");
        assert_eq!(site.owners.tenants(), [(TENANT.to_owned(), 1)]);
    }
    assert_eq!(ledger(&world, TENANT).await.len(), 6);
    assert_eq!(site.metric("admissions_total{outcome=\"unverified\"}"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_a_killed_owner_start_one_other() {
    let world = World::new();
    let site = Site::start(&world, "a", Setup::default()).await;
    site.set_limits(minute_limits(1000)).await;
    let supervisor = site.supervisor.as_ref().expect("actors").get_cell();
    supervisor.get_children()[0].kill();
    pause(10).await;
    let looks: Vec<_> = (0..64)
        .map(|_| {
            let handle = site.handle.clone();
            tokio::spawn(async move { handle.look(TENANT).await })
        })
        .collect();
    for look in looks {
        within(look).await.expect("no panic").expect("answers");
    }
    assert_eq!(supervisor.get_children().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_lost_before_its_owner_sat_down_leaves_no_owner() {
    let world = World::new();
    let site = Site::start(&world, "a", Setup::default()).await;
    let (leases, handle, key) = (&site.node.leases, site.handle.clone(), tenant_key(TENANT));
    let (releasing, released) = (leases.clone(), key.clone());
    // Both wait for the same grant. This one came first, so it hears of it first.
    let release = tokio::spawn(async move {
        let claim = releasing.claim(&released).await;
        releasing.release(&released);
        claim
    });
    let look = tokio::spawn(async move { handle.look(TENANT).await });
    assert_eq!(within(release).await.expect("no panic"), Claim::Mine { epoch: 1 });
    within(look).await.expect("no panic").expect("claimed anew");
    let owned = leases.epoch(&key).map(|epoch| (TENANT.to_owned(), epoch));
    assert_eq!(site.owners.tenants(), owned.into_iter().collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_panics_is_replaced() {
    let world = World::new();
    let edge = Site::start(&world, "a", Setup::default()).await;
    let quiet = Setup { edge_runs: false, ..Setup::default() };
    let owner = Site::start(&world, "b", quiet).await;
    know_each_other(&[&edge, &owner]).await;
    let tenant = tenant_at(&owner);
    within(edge.handle.set_limits(&tenant, minute_limits(1000))).await.expect("set");
    assert!(owner.owns(&tenant));
    // Nothing but the owner reads this clock before the next renewal.
    owner.node.wall.breaks.store(true, Ordering::SeqCst);
    let outcome = within(edge.handle.look(&tenant)).await;
    assert_eq!(outcome, Err(TenancyError::StoreDown), "it may have been done");
    assert!(!owner.node.wall.breaks.load(Ordering::SeqCst), "it did panic");
    let books = within(edge.handle.look(&tenant)).await.expect("another owner answers");
    assert_eq!(books.limits.limits, minute_limits(1000).limits);
    assert_eq!(owner.owners.tenants(), [(tenant, 1)]);
}
