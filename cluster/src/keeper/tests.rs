//! When a holder begins, renews and stops.

use super::{Keeper, KeeperEffect, KeeperSettings};
use crate::lease::{Acquired, Claimant, Lease, LeaseLost, LeaseStamp};
use crate::member::{Incarnation, NodeId};

const SETTINGS: KeeperSettings = KeeperSettings { ttl_ms: 1_000, max_skew_ms: 100, renew_ms: 300 };
const KEY: &[u8] = b"tenant/acme";

fn claimant(node: &str) -> Claimant {
    Claimant { node: NodeId::new(node).unwrap(), incarnation: Incarnation(1) }
}

fn lease(epoch: u64) -> Lease {
    Lease { key: KEY.to_vec(), holder: claimant("a"), epoch, expires_ms: 0 }
}

fn effects(act: impl FnOnce(&mut Vec<KeeperEffect>)) -> Vec<KeeperEffect> {
    let mut effects = Vec::new();
    act(&mut effects);
    effects
}

/// A keeper that asked at 10 and was granted at `granted_ms`.
fn holding(granted_ms: u64) -> Keeper {
    let mut keeper = Keeper::new(SETTINGS);
    let asked = effects(|out| keeper.want(KEY, 10, out));
    assert_eq!(asked, [KeeperEffect::Acquire { key: KEY.to_vec(), stood: None }]);
    assert_eq!(effects(|out| keeper.want(KEY, 11, out)), [], "one claim at a time");
    let granted = effects(|out| {
        keeper.acquired(KEY, Some(Acquired::Granted(lease(7))), granted_ms, out);
    });
    assert_eq!(granted, [KeeperEffect::Granted { key: KEY.to_vec(), epoch: 7 }]);
    keeper
}

#[test]
fn a_holder_counts_from_its_question_and_stops_before_any_clock_says_so() {
    let mut keeper = holding(400);
    assert_eq!(keeper.epoch(KEY, 909), Some(7));
    assert_eq!(keeper.epoch(KEY, 910), None);
    let lost = KeeperEffect::Lost { key: KEY.to_vec(), epoch: 7 };
    assert!(effects(|out| _ = keeper.wake(910, out)).contains(&lost));
}

#[test]
fn an_answer_that_comes_too_late_grants_nothing() {
    let mut keeper = Keeper::new(SETTINGS);
    effects(|out| keeper.want(KEY, 10, out));
    let late = effects(|out| {
        keeper.acquired(KEY, Some(Acquired::Granted(lease(7))), 910, out);
    });
    let release = KeeperEffect::Release { lease: lease(7) };
    assert_eq!(late, [release, KeeperEffect::Unknown { key: KEY.to_vec() }]);
    assert_eq!(keeper.epoch(KEY, 910), None);
}

#[test]
fn renewals_lengthen_and_losses_stop() {
    let mut keeper = holding(20);
    let renew = KeeperEffect::Renew { leases: vec![lease(7)] };
    let mut next = None;
    assert_eq!(effects(|out| next = keeper.wake(300, out)), std::slice::from_ref(&renew));
    assert_eq!(next, Some(600));
    assert_eq!(effects(|out| _ = keeper.wake(600, out)), [], "one renewal at a time");
    effects(|out| keeper.renewed(Some(vec![(lease(7), Ok(lease(7)))]), 620, out));
    assert_eq!(keeper.epoch(KEY, 1_199), Some(7));
    assert_eq!(keeper.epoch(KEY, 1_200), None);
    assert_eq!(effects(|out| _ = keeper.wake(900, out)), [renew]);
    assert_eq!(effects(|out| keeper.renewed(None, 910, out)), [], "a silent store changes nothing");
    let again = effects(|out| _ = keeper.wake(985, out));
    assert!(matches!(again[..], [KeeperEffect::Renew { .. }]), "and is asked again soon");
    let gone = LeaseLost::Taken { by: NodeId::new("b").unwrap(), epoch: 8 };
    let lost = effects(|out| keeper.renewed(Some(vec![(lease(7), Err(gone))]), 1_195, out));
    assert_eq!(lost, [KeeperEffect::Lost { key: KEY.to_vec(), epoch: 7 }]);
}

#[test]
fn a_renewal_of_an_earlier_epoch_is_not_this_one() {
    let mut keeper = holding(20);
    effects(|out| _ = keeper.wake(300, out));
    effects(|out| keeper.release(KEY, out));
    effects(|out| keeper.want(KEY, 400, out));
    effects(|out| keeper.acquired(KEY, Some(Acquired::Granted(lease(9))), 410, out));
    let gone = LeaseLost::Expired { ago_ms: 1 };
    assert_eq!(effects(|out| keeper.renewed(Some(vec![(lease(7), Err(gone))]), 420, out)), []);
    assert_eq!(keeper.epoch(KEY, 500), Some(9));
}

#[test]
fn giving_up_and_handing_over_stop_first() {
    let lost = KeeperEffect::Lost { key: KEY.to_vec(), epoch: 7 };
    let mut keeper = holding(20);
    let release = KeeperEffect::Release { lease: lease(7) };
    assert_eq!(effects(|out| keeper.release(KEY, out)), [lost.clone(), release]);
    assert_eq!(keeper.epoch(KEY, 30), None);
    let mut keeper = holding(20);
    let heir = claimant("b");
    let given = KeeperEffect::HandOver { lease: lease(7), heir: heir.clone() };
    assert_eq!(effects(|out| keeper.hand_over(KEY, heir, out)), [lost, given]);
    assert_eq!(keeper.holdings(30).count(), 0);
}

#[test]
fn a_row_that_stands_for_longer_than_a_lease_lasts_is_claimed_whatever_its_stamp_says() {
    let mut keeper = Keeper::new(SETTINGS);
    let by = NodeId::new("b").unwrap();
    let far = LeaseStamp { epoch: 3, expires_ms: u64::MAX };
    let mut asked = |now_ms: u64, stamp: LeaseStamp| {
        let asked = effects(|out| keeper.want(KEY, now_ms, out));
        let held = Acquired::Held { by: by.clone(), remaining_ms: 9, stamp };
        effects(|out| keeper.acquired(KEY, Some(held), now_ms + 5, out));
        asked
    };
    let claim = |stood| [KeeperEffect::Acquire { key: KEY.to_vec(), stood }];
    assert_eq!(asked(0, far), claim(None));
    assert_eq!(asked(1_104, far), claim(None), "its holder may have renewed it just before");
    assert_eq!(asked(1_105, far), claim(Some(far)));
    let renewed = LeaseStamp { expires_ms: 7, ..far };
    assert_eq!(asked(1_200, renewed), claim(Some(far)), "which the row then refuses");
    assert_eq!(asked(2_000, renewed), claim(None), "a renewal counts from when it was seen");
    assert_eq!(asked(2_305, renewed), claim(Some(renewed)));
}
