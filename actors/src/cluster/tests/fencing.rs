//! A transaction proves its lease, and one that went stale does not commit.

use headwater_storage::{ReadMode, Store, StoreError};

use super::world::{Node, World, pause, within};
use crate::cluster::{Claim, Incarnation, LeaseProof, all_leases, lease_stands};

const KEY: &[u8] = b"tenant/acme";
const ROW: &[u8] = b"row";

async fn own(node: &Node) -> LeaseProof {
    match within(node.leases.claim(KEY)).await {
        Claim::Mine { epoch } => node.leases.proof(KEY, epoch),
        claim => panic!("{claim:?}"),
    }
}

async fn stands(world: &World, proof: &LeaseProof) -> bool {
    let mut transaction = world.store.begin().await.expect("begins");
    lease_stands(transaction.as_mut(), proof).await.expect("reads")
}

async fn release(node: &Node) {
    node.leases.release(KEY);
    pause(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_proof_stands_until_another_grant() {
    let world = World::new();
    let (a, b) = (world.node("a"), world.node("b"));
    let nobody = LeaseProof { key: KEY.to_vec(), claimant: a.claimant.clone(), epoch: 1 };
    assert!(!stands(&world, &nobody).await, "there is no row yet");
    let first = own(&a).await;
    assert!(stands(&world, &first).await);
    let mut restarted = first.clone();
    restarted.claimant.incarnation = Incarnation(2);
    let other_node = LeaseProof { claimant: b.claimant.clone(), ..first.clone() };
    let other_key = LeaseProof { key: b"tenant/other".to_vec(), ..first.clone() };
    let other_epochs = [0, 2].map(|epoch| LeaseProof { epoch, ..first.clone() });
    for proof in [restarted, other_node, other_key].into_iter().chain(other_epochs) {
        assert!(!stands(&world, &proof).await, "{proof:?}");
    }
    release(&a).await;
    let second = own(&b).await;
    assert!(!stands(&world, &first).await);
    assert!(stands(&world, &second).await);
}

/// What becomes of a transaction that looked at its lease before `between`, and commits after.
async fn commit_around(world: &World, proof: &LeaseProof, between: impl Future<Output = ()>) {
    let mut transaction = world.store.begin().await.expect("begins");
    assert!(lease_stands(transaction.as_mut(), proof).await.expect("reads"));
    transaction.set(ROW, b"written").expect("within the limits");
    between.await;
    let outcome = transaction.commit().await.map(|_| ());
    let mut look = world.store.begin().await.expect("begins");
    let written = look.get(ROW, ReadMode::Snapshot).await.expect("reads").is_some();
    assert_eq!(written, outcome.is_ok());
    assert!(matches!(outcome, Ok(()) | Err(StoreError::Conflict)), "{outcome:?}");
}

async fn is_written(world: &World) -> bool {
    world.store.contents().iter().any(|(key, _)| key == ROW)
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_changes_hands_before_the_commit_stops_it() {
    let world = World::new();
    let (a, b) = (world.node("a"), world.node("b"));
    let proof = own(&a).await;
    commit_around(&world, &proof, async {
        release(&a).await;
        own(&b).await;
    })
    .await;
    assert!(!is_written(&world).await);
}

#[tokio::test(start_paused = true)]
async fn a_lease_handed_over_before_the_commit_stops_it() {
    let world = World::new();
    let (a, b) = (world.node("a"), world.node("b"));
    let proof = own(&a).await;
    commit_around(&world, &proof, async {
        assert!(a.leases.hand_over(KEY, b.claimant.clone()).await);
    })
    .await;
    assert!(!is_written(&world).await);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_before_the_commit_does_not_disturb_it() {
    let world = World::new();
    let a = world.node("a");
    let proof = own(&a).await;
    let expires_ms =
        async |world: &World| all_leases(&world.retry(1000)).await.expect("reads")[0].expires_ms;
    let before_ms = expires_ms(&world).await;
    commit_around(&world, &proof, pause(2500)).await;
    assert!(expires_ms(&world).await > before_ms, "it was renewed");
    assert!(is_written(&world).await);
}
