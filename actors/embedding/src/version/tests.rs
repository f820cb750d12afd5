//! The rules of one collection's versions: each change by itself, and drawn histories.

use std::collections::BTreeSet;

use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::{collection, proptest};

use crate::{NewVersion, Policy, Role, VersionProblem, Versions};

fn new(name: &str) -> NewVersion {
    NewVersion {
        fingerprint: name.to_owned(),
        model: "model".to_owned(),
        dimensions: 4,
        format: "f32".to_owned(),
    }
}

#[derive(Clone, Debug)]
enum Change {
    Start(u8, Policy),
    Pause(u8),
    Resume(u8),
    Complete(u8),
    Cancel(u8),
    Switch(u8),
    RollBack,
    Retire,
}

fn name(number: u8) -> String {
    format!("v{number}")
}

/// Applies a change; `Ok` tells which versions it gave up.
fn apply(versions: &mut Versions, change: &Change) -> Result<Vec<String>, VersionProblem> {
    let none = |()| Vec::new();
    match change {
        Change::Start(number, policy) => versions.start(new(&name(*number)), *policy).map(none),
        Change::Pause(number) => versions.pause(&name(*number)).map(none),
        Change::Resume(number) => versions.resume(&name(*number)).map(none),
        Change::Complete(number) => versions.complete(&name(*number)).map(none),
        Change::Cancel(number) => {
            versions.cancel(&name(*number)).map(|gone| vec![gone.fingerprint])
        }
        Change::Switch(number) => {
            let built = versions.building.as_ref().map(|build| build.version.clone());
            let mut built = built.unwrap_or_else(|| versions.serving.clone());
            built.fingerprint = name(*number);
            built.generation += u64::from(number % 2);
            let gone = versions.switch(&built)?;
            Ok(gone.into_iter().map(|version| version.fingerprint).collect())
        }
        Change::RollBack => versions.roll_back().map(none),
        Change::Retire => versions.retire().map(|gone| vec![gone.fingerprint]),
    }
}

fn check(changes: &[Change], expected: &[&str]) {
    let mut versions = Versions::first(new("v0"));
    let mut told = Vec::new();
    for change in changes {
        told.push(match apply(&mut versions, change) {
            Ok(gone) => format!("-{}", gone.join(",")),
            Err(problem) => problem.to_string(),
        });
    }
    let live: Vec<String> = versions
        .live()
        .map(|(role, version)| format!("{} {}", role.name(), version.fingerprint))
        .collect();
    told.push(live.join(", "));
    assert_eq!(told, expected);
}

#[test]
fn a_build_that_completes_serves_and_the_old_one_is_kept() {
    check(
        &[Change::Start(2, Policy::Eager), Change::Switch(2), Change::RollBack, Change::RollBack],
        &["-", "-", "-", "-", "serving v2, previous v0"],
    );
}

#[test]
fn the_version_before_the_previous_one_is_given_up() {
    check(
        &[
            Change::Start(2, Policy::Eager),
            Change::Switch(2),
            Change::Start(4, Policy::Lazy),
            Change::Switch(4),
            Change::Complete(4),
            Change::Switch(4),
            Change::Retire,
            Change::RollBack,
        ],
        &[
            "-",
            "-",
            "-",
            "version 'v4' is paused or waits for reads; resume or complete it first",
            "-",
            "-v0",
            "-v2",
            "there is no previous version; only a finished build leaves one",
            "serving v4",
        ],
    );
}

#[test]
fn illegal_changes_say_what_to_do() {
    check(
        &[
            Change::Start(0, Policy::Eager),
            Change::Retire,
            Change::Pause(2),
            Change::Start(2, Policy::Eager),
            Change::Start(4, Policy::Eager),
            Change::Complete(2),
            Change::Resume(2),
            Change::Pause(2),
            Change::Pause(2),
            Change::Switch(2),
            Change::Resume(2),
            Change::Switch(3),
            Change::Switch(2),
            Change::Start(0, Policy::Eager),
            Change::Cancel(2),
        ],
        &[
            "version 'v0' is serving already",
            "there is no previous version; only a finished build leaves one",
            "version 'v2' is not being built; list the versions",
            "-",
            "version 'v2' is being built; wait for its end or cancel it first",
            "version 'v2' is being completed already",
            "the build of version 'v2' is not paused",
            "-",
            "the build of version 'v2' is paused already",
            "version 'v2' is paused or waits for reads; resume or complete it first",
            "-",
            "version 'v3' is not being built; list the versions",
            "-",
            "version 'v0' is the previous one and complete; roll back to it instead of building \
             it",
            "version 'v2' is not being built; list the versions",
            "serving v2, previous v0",
        ],
    );
}

#[test]
fn a_cancelled_build_may_start_again_as_another_generation() {
    let mut versions = Versions::first(new("v0"));
    versions.start(new("v2"), Policy::Eager).unwrap();
    let first = versions.cancel("v2").unwrap();
    versions.start(new("v2"), Policy::Eager).unwrap();
    let stale = versions.switch(&first);
    assert_eq!(stale, Err(VersionProblem::NotBuilding { fingerprint: "v2".to_owned() }));
    assert_eq!(versions.serving.fingerprint, "v0");
}

fn changes() -> impl Strategy<Value = Change> {
    let number = 0..4_u8;
    prop_oneof![
        (number.clone(), any::<bool>()).prop_map(|(number, lazy)| {
            Change::Start(number, if lazy { Policy::Lazy } else { Policy::Eager })
        }),
        number.clone().prop_map(Change::Pause),
        number.clone().prop_map(Change::Resume),
        number.clone().prop_map(Change::Complete),
        number.clone().prop_map(Change::Cancel),
        number.prop_map(Change::Switch),
        proptest::prelude::Just(Change::RollBack),
        proptest::prelude::Just(Change::Retire),
    ]
}

proptest! {
    /// Whatever is asked for: a refusal changes nothing, a change raises the epoch, no generation
    /// comes twice, nothing vanishes that was not given up, and only a version that was built
    /// or had served serves.
    #[test]
    fn histories_keep_the_rules(history in collection::vec(changes(), 0..60)) {
        let mut versions = Versions::first(new("v0"));
        let mut generations = BTreeSet::from([1]);
        for change in &history {
            let before = versions.clone();
            let Ok(gone) = apply(&mut versions, change) else {
                assert_eq!(versions, before);
                continue;
            };
            assert_eq!(versions.epoch, before.epoch + 1);
            let names = |versions: &Versions| -> BTreeSet<String> {
                versions.live().map(|(_, version)| version.fingerprint.clone()).collect()
            };
            let (old, now) = (names(&before), names(&versions));
            assert_eq!(now.len(), versions.live().count());
            let vanished: BTreeSet<String> = old.difference(&now).cloned().collect();
            assert_eq!(vanished, gone.into_iter().collect());
            for new in now.difference(&old) {
                let (role, version) = versions.find(new).unwrap();
                assert_eq!(role, Role::Building);
                assert!(generations.insert(version.generation));
            }
            let candidates = [
                Some(&before.serving),
                before.previous.as_ref(),
                before.building.as_ref().filter(|build| build.may_sweep()).map(|b| &b.version),
            ];
            assert!(candidates.contains(&Some(&versions.serving)));
        }
    }
}
