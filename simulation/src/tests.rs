//! Seeds are deterministic and good, rare branches run, and planted bugs are found.

use std::collections::BTreeMap;

use crate::{Defect, Workload, run, run_with, verify};

/// Every seed is good and repeats itself, and together they see every rare branch.
fn check(workload: Workload, seeds: std::ops::Range<u64>) {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in seeds {
        let verdict = verify(workload, seed);
        let outcome = &verdict.outcome;
        assert_eq!(outcome.violations, Vec::<String>::new(), "seed {seed}: {}", outcome.options);
        assert_eq!(verdict.diverged_at, None, "seed {seed}");
        assert!(outcome.trace.len() > 20, "seed {seed} did nothing");
        for (what, count) in &outcome.counts {
            *counts.entry(what).or_default() += count;
        }
    }
    for what in workload.sometimes() {
        assert!(counts.contains_key(what), "no seed saw: {what}; seen {counts:?}");
    }
}

#[test]
fn metered_seeds_are_good_and_repeat_themselves() {
    check(Workload::Metered, 1_000..1_100);
}

#[test]
fn quota_storms_are_good_and_repeat_themselves() {
    check(Workload::QuotaStorm, 1_000..1_060);
}

#[test]
fn lease_thrashes_are_good_and_repeat_themselves() {
    check(Workload::LeaseThrash, 1_000..1_060);
}

#[test]
fn rolling_restarts_are_good_and_repeat_themselves() {
    check(Workload::RollingRestart, 1_000..1_040);
}

#[test]
fn split_brains_are_good_and_repeat_themselves() {
    check(Workload::SplitBrain, 1_000..1_060);
}

#[test]
fn registers_are_good_and_repeat_themselves() {
    check(Workload::Registers, 1_000..1_100);
}

#[test]
fn reembeddings_are_good_and_repeat_themselves() {
    check(Workload::Reembed, 1_000..1_060);
}

#[test]
fn chats_are_good_and_repeat_themselves() {
    check(Workload::Gateway, 1_000..1_100);
}

#[test]
fn keys_are_refused_in_time_and_good_when_the_world_has_healed() {
    check(Workload::Identity, 1_000..1_060);
}

#[test]
fn views_that_spread_as_rumours_agree_in_the_end() {
    for seed in 1_000..1_060 {
        let verdict = verify(Workload::Gossip, seed);
        assert_eq!(verdict.outcome.violations, Vec::<String>::new(), "seed {seed}");
        assert_eq!(verdict.diverged_at, None, "seed {seed}");
    }
}

#[test]
fn ingests_are_good_and_repeat_themselves() {
    check(Workload::Ingest, 1_000..1_060);
}

#[test]
fn calls_of_tools_are_good_and_repeat_themselves() {
    check(Workload::Tools, 1_000..1_100);
}

#[test]
fn runs_of_agents_are_good_and_repeat_themselves() {
    check(Workload::Agents, 1_000..1_100);
}

#[test]
fn different_seeds_differ() {
    for workload in Workload::ALL {
        assert_ne!(run(workload, 1).trace, run(workload, 2).trace, "{}", workload.name());
        assert_eq!(Workload::named(workload.name()), Some(workload));
    }
}

#[test]
fn planted_bugs_are_found() {
    for (workload, defect, invariant) in [
        (Workload::Metered, Defect::NoOperationRow, "a_request_is_charged_at_most_once"),
        (Workload::Metered, Defect::LossIsIgnored, "every_request_ends"),
        (Workload::Metered, Defect::RowsAreSwapped, "each_text_gets_its_own_vector"),
        (Workload::Metered, Defect::ChargeIsNotAwaited, "an_answered_request_is_charged"),
        (Workload::Registers, Defect::NoOperationRow, "counter_is_linearizable"),
        (Workload::Registers, Defect::SnapshotReads, "counter_is_linearizable"),
        (Workload::Registers, Defect::SnapshotReads, "pointer_is_linearizable"),
    ] {
        let found = (0..50).any(|seed| {
            let violations = run_with(workload, defect, seed).violations;
            violations.iter().any(|text| text.starts_with(invariant))
        });
        assert!(found, "50 seeds did not find {defect:?}");
    }
}
