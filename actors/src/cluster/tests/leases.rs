//! Claims, renewals, losses and handing over, by the node's leases.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use headwater_storage::memory::{Fault, FaultPoint};

use super::world::{Node, World, id, meet, pause, until, within};
use crate::cluster::{Claim, KeeperSettings, LeaseRow, all_leases};

const KEY: &[u8] = b"tenant/acme";

/// What the node's leases lost, with the time.
type Lost = Arc<Mutex<Vec<(Vec<u8>, u64, u64)>>>;

fn listen(node: &Node) -> Lost {
    let lost = Lost::default();
    let (list, runtime) = (Arc::clone(&lost), node.runtime.clone());
    node.leases.on_lost(move |key, epoch| {
        list.lock().unwrap().push((key.to_vec(), epoch, runtime.now_ms()));
    });
    lost
}

fn lost(list: &Lost) -> Vec<(Vec<u8>, u64)> {
    list.lock().unwrap().iter().map(|(key, epoch, _)| (key.clone(), *epoch)).collect()
}

async fn claim(node: &Node) -> Claim {
    within(node.leases.claim(KEY)).await
}

async fn row(world: &World) -> LeaseRow {
    let rows = all_leases(&world.retry(1000)).await.expect("the store answers");
    rows.into_iter().find(|row| row.key == KEY).expect("there is a row")
}

fn mine(epoch: u64) -> Claim {
    Claim::Mine { epoch }
}

fn is_held_by(claim: &Claim, name: &str) -> bool {
    let ttl_ms = KeeperSettings::default().ttl_ms;
    match claim {
        Claim::Held { by, remaining_ms } => *by == id(name) && (1..=ttl_ms).contains(remaining_ms),
        _ => false,
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_to_claim_owns_and_the_others_are_told_who_does() {
    let world = World::new();
    let (a, b) = (world.node("a"), world.node("b"));
    assert_eq!(claim(&a).await, mine(1));
    assert_eq!(claim(&a).await, mine(1), "again, without a new grant");
    let held = claim(&b).await;
    assert!(is_held_by(&held, "a"), "{held:?}");
    assert_eq!((a.leases.epoch(KEY), b.leases.epoch(KEY)), (Some(1), None));
    let holdings = a.leases.holdings();
    assert!(matches!(&holdings[..], [(key, 1, 1..=2500)] if key == KEY), "{holdings:?}");
    assert_eq!(b.leases.holdings(), []);
}

#[tokio::test(start_paused = true)]
async fn of_many_claims_at_once_one_node_wins_with_one_grant() {
    let world = World::new();
    let nodes = [world.node("a"), world.node("b"), world.node("c")];
    let claims: Vec<_> = (0..30)
        .map(|one| {
            let leases = nodes[one % 3].leases.clone();
            (one % 3, tokio::spawn(async move { leases.claim(KEY).await }))
        })
        .collect();
    let mut owners = Vec::new();
    for (node, claim) in claims {
        match within(claim).await.expect("no panic") {
            Claim::Mine { epoch } => {
                assert_eq!(epoch, 1);
                owners.push(node);
            }
            claim => assert!(matches!(claim, Claim::Held { .. }), "{claim:?}"),
        }
    }
    assert_eq!(owners.len(), 10);
    assert!(owners.iter().all(|owner| *owner == owners[0]), "{owners:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_holders_key_is_free_when_its_time_is_over_and_no_sooner() {
    let world = World::new();
    let (a, b) = (world.node("a"), world.node("b"));
    meet(&[&a, &b]).await;
    assert_eq!(claim(&a).await, mine(1));
    a.kill();
    until(|| !b.members.is_reachable(&a.id)).await;
    let expires_ms = row(&world).await.expires_ms;
    while b.runtime.wall_ms() < expires_ms {
        let held = claim(&b).await;
        assert!(is_held_by(&held, "a"), "{held:?}");
        pause(50).await;
    }
    assert_eq!(claim(&b).await, mine(2));
}

#[tokio::test(start_paused = true)]
async fn a_released_key_is_free_at_once() {
    let world = World::new();
    let (a, b) = (world.node("a"), world.node("b"));
    let list = listen(&a);
    assert_eq!(claim(&a).await, mine(1));
    a.leases.release(KEY);
    assert_eq!(a.leases.epoch(KEY), None);
    assert_eq!(lost(&list), [(KEY.to_vec(), 1)]);
    let now_ms = world.now_ms();
    until(|| world.now_ms() > now_ms).await;
    assert_eq!(claim(&b).await, mine(2));
    a.leases.release(KEY);
    pause(10).await;
    assert_eq!(b.leases.epoch(KEY), Some(2), "what it does not own it cannot release");
}

#[tokio::test(start_paused = true)]
async fn a_key_claimed_again_right_after_its_release_stays_claimed() {
    let world = World::new();
    let (a, b) = (world.node("a"), world.node("b"));
    world.fail(|point| (point == FaultPoint::Commit).then_some(Fault::Delay { ms: 20 }));
    assert_eq!(claim(&a).await, mine(1));
    a.leases.release(KEY);
    let Claim::Mine { epoch } = claim(&a).await else { panic!("it is free") };
    assert!(epoch > 1);
    pause(500).await;
    let held = claim(&b).await;
    assert!(is_held_by(&held, "a"), "{held:?}");
    assert_eq!(a.leases.epoch(KEY), Some(epoch));
}

#[tokio::test(start_paused = true)]
async fn a_renewed_lease_stays_with_its_holder() {
    let world = World::new();
    let (a, b) = (world.node("a"), world.node("b"));
    let list = listen(&a);
    assert_eq!(claim(&a).await, mine(1));
    for _ in 0..200 {
        pause(100).await;
        let held = claim(&b).await;
        assert!(is_held_by(&held, "a"), "{held:?}");
        assert_eq!(a.leases.epoch(KEY), Some(1));
    }
    assert_eq!(lost(&list), []);
}

#[tokio::test(start_paused = true)]
async fn without_the_store_a_holder_stops_before_anybody_else_may_begin() {
    let world = World::new();
    let (a, b) = (world.node("a"), world.node("b"));
    let list = listen(&a);
    assert_eq!(claim(&a).await, mine(1));
    let expires_ms = row(&world).await.expires_ms;
    world.store_down();
    let mut last_owned_ms = 0;
    while lost(&list).is_empty() {
        if a.leases.epoch(KEY).is_some() {
            last_owned_ms = a.runtime.wall_ms();
        }
        pause(1).await;
    }
    let KeeperSettings { ttl_ms, max_skew_ms, .. } = KeeperSettings::default();
    assert!(last_owned_ms < expires_ms - max_skew_ms, "{last_owned_ms} of {expires_ms}");
    assert_eq!(lost(&list), [(KEY.to_vec(), 1)]);
    assert_eq!(claim(&b).await, Claim::Unknown);
    world.heal();
    pause(ttl_ms).await;
    assert_eq!(claim(&b).await, mine(2));
    assert!(is_held_by(&claim(&a).await, "b"));
}

#[tokio::test(start_paused = true)]
async fn a_short_outage_of_the_store_costs_no_lease() {
    let world = World::new();
    let a = world.node("a");
    let list = listen(&a);
    assert_eq!(claim(&a).await, mine(1));
    for _ in 0..5 {
        world.store_down();
        pause(1200).await;
        world.heal();
        pause(1200).await;
        assert_eq!(a.leases.epoch(KEY), Some(1));
    }
    assert_eq!(lost(&list), []);
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_answer_comes_too_late_is_given_back() {
    let world = World::new();
    let (a, b) = (world.node("a"), world.node("b"));
    let mut first = true;
    world.fail(move |point| {
        let slow = point == FaultPoint::Commit && std::mem::take(&mut first);
        slow.then_some(Fault::Delay { ms: 2600 })
    });
    assert_eq!(claim(&a).await, Claim::Unknown);
    pause(10).await;
    assert_eq!(a.leases.epoch(KEY), None);
    assert_eq!(claim(&b).await, mine(2), "before the 3 s of the first grant are over");
}

#[tokio::test(start_paused = true)]
async fn a_commit_with_an_unknown_result_leaves_one_owner() {
    for fault in [Fault::UnknownCommitted, Fault::UnknownLost, Fault::Conflict, Fault::TooOld] {
        let world = World::new();
        let (a, b) = (world.node("a"), world.node("b"));
        let mut first = true;
        world.fail(move |point| {
            (point == FaultPoint::Commit && std::mem::take(&mut first)).then_some(fault)
        });
        let Claim::Mine { epoch } = claim(&a).await else { panic!("nobody else wants it") };
        assert_eq!(row(&world).await.epoch, epoch, "after {fault:?}");
        let held = claim(&b).await;
        assert!(is_held_by(&held, "a"), "{held:?} after {fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_whose_lease_was_taken_is_told_at_its_next_renewal() {
    let world = World::new();
    let (a, b) = (world.node("a"), world.node("b"));
    let list = listen(&a);
    assert_eq!(claim(&a).await, mine(1));
    // A clock that is further ahead than the skew allows: the promise is broken, and only the
    // epoch keeps the two apart.
    b.wall.ahead_ms.store(10_000, Ordering::SeqCst);
    assert_eq!(claim(&b).await, mine(2));
    until(|| !lost(&list).is_empty()).await;
    assert_eq!(lost(&list), [(KEY.to_vec(), 1)]);
    assert_eq!((a.leases.epoch(KEY), b.leases.epoch(KEY)), (None, Some(2)));
}

#[tokio::test(start_paused = true)]
async fn an_heir_owns_at_once_with_a_higher_epoch() {
    let world = World::new();
    let (a, b, c) = (world.node("a"), world.node("b"), world.node("c"));
    let list = listen(&a);
    assert_eq!(claim(&a).await, mine(1));
    assert!(within(a.leases.hand_over(KEY, b.claimant.clone())).await);
    assert_eq!(lost(&list), [(KEY.to_vec(), 1)]);
    let given = row(&world).await;
    assert_eq!((given.holder, given.epoch), (b.claimant.clone(), 2));
    assert!(is_held_by(&claim(&c).await, "b"));
    assert!(is_held_by(&claim(&a).await, "b"));
    assert_eq!(claim(&b).await, mine(3), "a claim of the heir is a grant of its own");
    assert!(!within(a.leases.hand_over(KEY, c.claimant.clone())).await, "it is not a's to give");
    assert_eq!(b.leases.epoch(KEY), Some(3));
}

#[tokio::test(start_paused = true)]
async fn handing_over_ends_well_whatever_the_commit_says() {
    for fault in [Fault::UnknownCommitted, Fault::UnknownLost, Fault::Conflict] {
        let world = World::new();
        let (a, b) = (world.node("a"), world.node("b"));
        assert_eq!(claim(&a).await, mine(1));
        let mut first = true;
        world.fail(move |point| {
            (point == FaultPoint::Commit && std::mem::take(&mut first)).then_some(fault)
        });
        assert!(within(a.leases.hand_over(KEY, b.claimant.clone())).await, "after {fault:?}");
        let given = row(&world).await;
        assert_eq!((given.holder, given.epoch), (b.claimant.clone(), 2), "after {fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn handing_over_without_the_store_still_ends_the_ownership() {
    let world = World::new();
    let (a, b) = (world.node("a"), world.node("b"));
    assert_eq!(claim(&a).await, mine(1));
    world.store_down();
    assert!(!within(a.leases.hand_over(KEY, b.claimant.clone())).await);
    assert_eq!(a.leases.epoch(KEY), None);
    world.heal();
    assert!(is_held_by(&claim(&b).await, "a"), "the row still says so");
    pause(KeeperSettings::default().ttl_ms).await;
    assert_eq!(claim(&b).await, mine(2));
}

#[tokio::test(start_paused = true)]
async fn a_claim_works_again_after_an_outage() {
    let world = World::new();
    let a = world.node("a");
    world.store_down();
    assert_eq!(claim(&a).await, Claim::Unknown);
    world.heal();
    assert_eq!(claim(&a).await, mine(1));
}
