//! Names, protocol ranges, and that merging depends on no order.

use std::collections::BTreeSet;

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{collection, prop_assert_eq, proptest};

use super::{Incarnation, Member, MemberState, Membership, NodeId, NodeIdProblem, ProtocolRange};

fn member(node: &str, incarnation: u64, state: MemberState, revision: u64, load: u32) -> Member {
    Member {
        node: NodeId::new(node).unwrap(),
        incarnation: Incarnation(incarnation),
        state,
        revision,
        address: "10.0.0.1:7400".to_owned(),
        capacity: 4,
        load,
        offers: BTreeSet::new(),
        versions: ProtocolRange { oldest: 1, newest: 2 },
    }
}

#[test]
fn names_are_checked() {
    for name in ["a", "node-1.rack_2", &"n".repeat(64)] {
        assert_eq!(NodeId::new(name).unwrap().as_str(), name);
    }
    for (name, problem) in [
        ("", NodeIdProblem::Length { given_bytes: 0 }),
        (&"n".repeat(65), NodeIdProblem::Length { given_bytes: 65 }),
        ("a b", NodeIdProblem::Letter(' ')),
        ("a\0b", NodeIdProblem::Letter('\0')),
        ("nœud", NodeIdProblem::Letter('œ')),
    ] {
        assert_eq!(NodeId::new(name), Err(problem), "{name:?}");
    }
}

#[test]
fn the_newest_shared_protocol_is_chosen() {
    let range = |oldest, newest| ProtocolRange { oldest, newest };
    for (left, right, shared) in [
        (range(1, 3), range(2, 5), Some(3)),
        (range(1, 2), range(2, 2), Some(2)),
        (range(1, 2), range(3, 4), None),
    ] {
        assert_eq!(left.shared(right), shared);
        assert_eq!(right.shared(left), shared);
    }
}

#[test]
fn which_row_wins() {
    use MemberState::{Alive, Draining, Left};
    // Each row wins over the one before it.
    let rising = [
        member("a", 1, Alive, 0, 90),
        member("a", 1, Alive, 1, 10),
        member("a", 1, Draining, 0, 5),
        member("a", 1, Left, 0, 0),
        member("a", 2, Alive, 0, 0),
    ];
    for pair in rising.windows(2) {
        for (first, second, changes) in [(&pair[0], &pair[1], true), (&pair[1], &pair[0], false)] {
            let mut view = Membership::default();
            assert!(view.merge(first.clone()));
            assert_eq!(view.merge(second.clone()), changes, "{first:?} then {second:?}");
            assert_eq!(view.get(&pair[1].node), Some(&pair[1]));
        }
    }
    let mut view = Membership::default();
    assert!(view.merge(rising[0].clone()));
    assert!(!view.merge(rising[0].clone()), "the same row changes nothing");
    assert!(view.merge(member("b", 0, Left, 0, 0)), "another node has a row of its own");
    let names: Vec<&str> = view.iter().map(|member| member.node.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
}

fn any_member() -> impl Strategy<Value = Member> {
    let state =
        prop_oneof![Just(MemberState::Alive), Just(MemberState::Draining), Just(MemberState::Left)];
    let node = prop_oneof![Just("a"), Just("b")];
    (node, 0..3u64, state, 0..3u64, any::<u32>()).prop_map(
        |(node, incarnation, state, told, load)| member(node, incarnation, state, told, load),
    )
}

fn view(members: &[Member]) -> Membership {
    let mut view = Membership::default();
    members.iter().for_each(|heard| _ = view.merge(heard.clone()));
    view
}

proptest! {
    #[test]
    fn views_meet_in_any_order(
        left in collection::vec(any_member(), 0..8),
        right in collection::vec(any_member(), 0..8),
    ) {
        let mut one = view(&left);
        one.merge_all(&view(&right));
        let mut other = view(&right);
        let changed = other.merge_all(&view(&left));
        prop_assert_eq!(&one, &other);
        prop_assert_eq!(changed, other != view(&right));
        let before = one.clone();
        prop_assert_eq!(one.merge_all(&before), false);
        prop_assert_eq!(one, before);
    }
}
