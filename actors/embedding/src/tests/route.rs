//! Where aliases point, and for whom.

use crate::{Alias, AliasProblem, Target};

fn targets(list: &[(&str, u32)]) -> Vec<Target> {
    let target =
        |(model, percent): &(&str, u32)| Target { model: (*model).to_owned(), percent: *percent };
    list.iter().map(target).collect()
}

#[test]
fn what_an_alias_may_point_at() {
    let none = |_: Alias| None::<AliasProblem>;
    for (list, problem) in [
        (&[][..], Some(AliasProblem::NoTargets)),
        (&[("a", 100)], None),
        (&[("a", 90), ("b", 10)], None),
        (&[("a", 90), ("b", 11)], Some(AliasProblem::Sum(101))),
        (&[("a", u32::MAX), ("b", u32::MAX)], Some(AliasProblem::Sum(2 * u64::from(u32::MAX)))),
        (&[("a", 100), ("b", 0)], Some(AliasProblem::NoShare("b".to_owned()))),
        (&[("a", 50), ("a", 50)], Some(AliasProblem::Twice("a".to_owned()))),
    ] {
        assert_eq!(Alias::new(targets(list)).map_or_else(Some, none), problem, "{list:?}");
    }
}

#[test]
fn nobody_in_particular_gets_the_largest_share() {
    for (list, main) in
        [(&[("a", 100)][..], "a"), (&[("a", 10), ("b", 90)], "b"), (&[("a", 50), ("b", 50)], "a")]
    {
        assert_eq!(Alias::new(targets(list)).expect("allowed").main(), main);
    }
}

/// How many of so many callers get the canary.
fn share(percent: u32, callers: u32) -> u32 {
    let alias = Alias::new(targets(&[("stable", 100 - percent), ("canary", percent)]));
    let alias = alias.expect("allowed");
    let gets = |caller: &u32| alias.choose("embed", &format!("tenant-{caller}")) == "canary";
    (0..callers).filter(gets).count() as u32
}

#[test]
fn callers_are_shared_as_told() {
    for percent in [1, 5, 10, 50, 99] {
        let found = share(percent, 20_000);
        let expected = percent * 200;
        // Four standard deviations of a binomial with so many callers are below 300.
        assert!(found.abs_diff(expected) < 300, "{percent} % became {found} of 20,000");
    }
}

#[test]
fn a_caller_stays_and_a_growing_share_only_adds() {
    let of = |percent| Alias::new(targets(&[("stable", 100 - percent), ("canary", percent)]));
    let (few, more) = (of(10).expect("allowed"), of(30).expect("allowed"));
    let mut moved = 0;
    for caller in 0..5_000 {
        let key = format!("tenant-{caller}");
        let chosen = few.choose("embed", &key);
        assert_eq!(chosen, few.choose("embed", &key));
        if chosen == "canary" {
            assert_eq!(more.choose("embed", &key), "canary", "{key} flips back");
        } else if more.choose("embed", &key) == "canary" {
            moved += 1;
        }
    }
    assert!(moved > 0);
    // Another alias draws other callers.
    let differs = |caller: &i32| {
        let key = format!("tenant-{caller}");
        few.choose("embed", &key) != few.choose("search", &key)
    };
    assert!((0..5_000).any(|caller| differs(&caller)));
}
