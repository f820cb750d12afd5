//! Balance, small movement, and who is never chosen.

use std::collections::{BTreeMap, BTreeSet};

use super::{candidates, fraction};
use crate::member::{Incarnation, Member, MemberState, NodeId, ProtocolRange};

const KEYS: usize = 20_000;

fn cluster(capacities: &[u32]) -> Vec<Member> {
    let member = |(index, capacity): (usize, &u32)| Member {
        node: NodeId::new(format!("node-{index}")).unwrap(),
        incarnation: Incarnation(1),
        state: MemberState::Alive,
        revision: 0,
        address: String::new(),
        capacity: *capacity,
        load: 0,
        offers: BTreeSet::new(),
        versions: ProtocolRange { oldest: 1, newest: 1 },
    };
    capacities.iter().enumerate().map(member).collect()
}

/// The first candidate of each of the keys.
fn owners(members: &[Member]) -> Vec<String> {
    let owner = |index: usize| {
        let key = format!("tenant/{index}");
        candidates(key.as_bytes(), members, 1).first().unwrap().as_str().to_owned()
    };
    (0..KEYS).map(owner).collect()
}

#[test]
fn shares_follow_capacity() {
    for capacities in [&[1, 1, 1, 1][..], &[1, 2, 4, 8], &[3, 0, 5]] {
        let mut counts = BTreeMap::<String, usize>::new();
        for owner in owners(&cluster(capacities)) {
            *counts.entry(owner).or_default() += 1;
        }
        let total: u32 = capacities.iter().sum();
        for (index, capacity) in capacities.iter().enumerate() {
            let count = counts.get(&format!("node-{index}")).copied().unwrap_or(0);
            let share = count as f64 / KEYS as f64;
            let expected = f64::from(*capacity) / f64::from(total);
            // Four standard deviations of a share of one half, the widest, are 0.0141.
            assert!((share - expected).abs() < 0.0142, "node-{index}: {share} of {capacities:?}");
        }
    }
}

#[test]
fn only_the_keys_of_the_node_that_comes_or_goes_move() {
    let all = cluster(&[1, 2, 3, 2]);
    let without: Vec<Member> =
        all.iter().filter(|m| m.node.as_str() != "node-2").cloned().collect();
    let mut moved = 0;
    for (before, after) in owners(&all).into_iter().zip(owners(&without)) {
        if before == "node-2" {
            assert_ne!(after, "node-2");
            moved += 1;
        } else {
            assert_eq!(before, after, "a key of another node moved");
        }
    }
    assert!(moved > 0, "node-2 held no key");
}

#[test]
fn a_lost_owner_is_followed_by_the_next_candidate() {
    let all = cluster(&[1, 2, 3, 2]);
    for index in 0..100 {
        let key = format!("key-{index}").into_bytes();
        let ranked = candidates(&key, &all, 4);
        let left = all.iter().filter(|member| member.node != *ranked[0]);
        assert_eq!(candidates(&key, left, 4), ranked[1..]);
    }
}

#[test]
fn draining_left_and_empty_members_are_passed_over() {
    let mut members = cluster(&[1, 100, 100, 0]);
    members[1].state = MemberState::Draining;
    members[2].state = MemberState::Left;
    for index in 0..1000 {
        let key = format!("key-{index}").into_bytes();
        assert_eq!(candidates(&key, &members, 4), [&members[0].node]);
    }
    assert!(candidates(b"key", &members[1..], 4).is_empty());
    assert!(candidates(b"key", &members, 0).is_empty());
}

/// The expected order was computed apart from this code, with Python's hashlib and math.log.
#[test]
fn the_order_is_the_same_in_every_version_and_for_any_order_of_members() {
    let mut members = cluster(&[1, 2, 3, 2]);
    for (key, expected) in EXPECTED {
        let ranked = |members: &[Member]| -> Vec<String> {
            candidates(key.as_bytes(), members, 4).iter().map(ToString::to_string).collect()
        };
        let names = expected.map(|index| format!("node-{index}"));
        assert_eq!(ranked(&members), names, "{key}");
        members.reverse();
        assert_eq!(ranked(&members), names, "{key}, members reversed");
        members.reverse();
    }
}

const EXPECTED: [(&str, [usize; 4]); 3] =
    [("tenant/1", [2, 0, 3, 1]), ("prompt/greeting", [2, 1, 3, 0]), ("", [3, 2, 0, 1])];

#[test]
fn the_fraction_reaches_neither_end() {
    for hash in [0, 1, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
        let fraction = fraction(hash);
        assert!(fraction > 0.0 && fraction < 1.0, "{hash}: {fraction}");
    }
    assert!(fraction(1 << 12) > fraction(0));
}
