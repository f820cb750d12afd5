//! The shipped quota scenarios on the real actors, and the corpus of seeds that once failed.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use headwater_simulation::lockstep::{LockstepVerdict, Scenario, verify as verify_scenario};
use headwater_simulation::{Workload, verify};
use serde::Deserialize;

const BINARY: &str = env!("CARGO_BIN_EXE_headwater-lockstep");

/// Every seed is good and repeats itself byte for byte, and together they see all of `sometimes`.
fn check(name: &str, seeds: Range<u64>, sometimes: &[&str]) {
    let scenario = Scenario::named(name).unwrap().expect("it ships");
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for seed in seeds {
        let LockstepVerdict { outcome, divergence } =
            verify_scenario(&scenario, seed, Some(Path::new(BINARY))).unwrap();
        assert_eq!(outcome.violations, Vec::<String>::new(), "seed {seed}: {}", outcome.options);
        assert_eq!(divergence, None, "seed {seed}: {}", outcome.options);
        for (what, count) in outcome.counts {
            *counts.entry(what).or_default() += count;
        }
    }
    for what in sometimes {
        assert!(counts.contains_key(*what), "no seed saw: {what}; seen {counts:?}");
    }
}

#[test]
fn quotas_hold_while_nodes_are_cut_from_each_other_and_from_the_store() {
    let sometimes = [
        "admitted",
        "admitted in an outage",
        "client left",
        "link down",
        "refused: unanswered",
        "refused: used_up",
        "settled",
        "tenant taken over",
    ];
    check("quota-split", 0..6, &sometimes);
}

#[test]
fn quotas_hold_in_a_storm() {
    let sometimes = [
        "commit unknown, done",
        "commit unknown, lost",
        "fault: kill",
        "store conflict",
        "store too old",
        "tenant taken over",
    ];
    check("quota-storm", 0..6, &sometimes);
}

#[test]
fn leases_that_thrash_have_one_owner_at_a_time() {
    check("lease-thrash", 0..3, &["fault: freeze", "tenant taken over"]);
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    seed: Vec<CorpusSeed>,
}

/// Either a workload of tier 1 or a scenario of tier 2.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CorpusSeed {
    workload: Option<String>,
    scenario: Option<String>,
    seed: u64,
    why: String,
}

#[test]
fn the_corpus_is_good() {
    let corpus: Corpus = toml::from_str(include_str!("../corpus.toml")).unwrap();
    for CorpusSeed { workload, scenario, seed, why } in corpus.seed {
        assert!(!why.is_empty());
        match (workload, scenario) {
            (Some(name), None) => {
                let verdict = verify(Workload::named(&name).expect("a workload"), seed);
                assert!(verdict.is_good(), "{name} {seed}: {:?}", verdict.outcome.violations);
            }
            (None, Some(name)) => {
                let scenario = Scenario::named(&name).unwrap().expect("a scenario");
                let verdict = verify_scenario(&scenario, seed, Some(Path::new(BINARY))).unwrap();
                assert!(verdict.is_good(), "{name} {seed}: {:?}", verdict.outcome.violations);
            }
            _ => panic!("seed {seed} names neither or both of workload and scenario"),
        }
    }
}
