//! The lockstep harness over real processes: seeds repeat themselves byte for byte, faults strike
//! and heal, a planted bug is found and shrunk.

use std::collections::BTreeMap;
use std::path::Path;

use headwater_simulation::lockstep::{
    LineKind, LockstepError, LockstepVerdict, Scenario, Strike, draw_faults, run_with, shrink,
    timeline_html, verify,
};

const BINARY: &str = env!("CARGO_BIN_EXE_headwater-lockstep");

fn scenario() -> Scenario {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    Scenario::read(&folder.join("scenarios/demonstration.toml")).unwrap()
}

#[test]
fn seeds_are_good_and_repeat_themselves() {
    let scenario = scenario();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for seed in 0..20 {
        let LockstepVerdict { outcome, divergence } =
            verify(&scenario, seed, Some(Path::new(BINARY))).unwrap();
        assert_eq!(outcome.violations, Vec::<String>::new(), "seed {seed}: {}", outcome.options);
        assert_eq!(divergence, None, "seed {seed}: {}", outcome.options);
        assert!(outcome.trace.len() > 100, "seed {seed} did nothing");
        for (what, count) in outcome.counts {
            *counts.entry(what).or_default() += count;
        }
    }
    for what in [
        "add done",
        "greet done",
        "greet failed",
        "echo done",
        "echo failed",
        "stream done",
        "stream failed",
        "link down",
        "fault: partition",
        "fault: isolate",
        "fault: one way",
        "fault: freeze",
        "fault: kill",
        "fault: skew",
        "fault: store cut",
        "store conflict",
        "store slow",
        "store down",
        "commit unknown, done",
        "commit unknown, lost",
    ] {
        assert!(counts.contains_key(what), "no seed saw: {what}; seen {counts:?}");
    }
}

#[test]
fn different_seeds_differ() {
    let scenario = Scenario { duration_ms: 3_000, heal_ms: 2_000, faults: vec![], ..scenario() };
    let run = |seed| run_with(&scenario, seed, &[], Some(Path::new(BINARY))).unwrap();
    let (one, two) = (run(1), run(2));
    assert_ne!(one.trace, two.trace);
    assert_ne!(one.fingerprint, two.fingerprint);
}

#[test]
fn a_planted_bug_is_found_and_shrunk_to_its_fault() {
    let mut scenario = scenario();
    scenario.parameters.insert("operation_rows".to_owned(), false.into());
    let binary = Some(Path::new(BINARY));
    let failing = (0..40).find_map(|seed| {
        let outcome = run_with(&scenario, seed, &draw_faults(&scenario, seed), binary).unwrap();
        (!outcome.violations.is_empty()).then_some(outcome)
    });
    let failing = failing.expect("40 seeds do not find adds that count twice");
    assert_eq!(failing.broken(), ["each_add_counts_once"]);
    let shrunk = shrink(&scenario, failing, 200, binary).unwrap();
    let strikes: Vec<&Strike> = shrunk.outcome.faults.iter().map(|it| &it.strike).collect();
    assert!(
        matches!(strikes[..], [Strike::StoreUnknownCommitted { .. } | Strike::StoreCut { .. }]),
        "{strikes:?} after {} runs",
        shrunk.runs
    );
    let is_violation =
        |line: &&headwater_simulation::lockstep::Line| line.kind == LineKind::Violation;
    assert_eq!(shrunk.outcome.trace.iter().filter(is_violation).count(), 1);
    assert!(timeline_html(&shrunk.outcome).contains("VIOLATED each_add_counts_once"));
}

#[test]
fn what_cannot_run_says_why() {
    let scenario = Scenario { duration_ms: 3_000, heal_ms: 2_000, faults: vec![], ..scenario() };
    let missing = run_with(&scenario, 1, &[], Some(Path::new("/nowhere/headwater-lockstep")));
    assert!(matches!(missing, Err(LockstepError::NoBinary { .. })), "{missing:?}");
    let dead = run_with(&scenario, 1, &[], Some(Path::new("/bin/true"))).unwrap();
    assert_eq!(dead.broken(), ["a_node_lives"]);
    let mut wrong = scenario.clone();
    wrong.workload = "nothing".to_owned();
    let error = run_with(&wrong, 1, &[], Some(Path::new(BINARY))).unwrap_err().to_string();
    assert!(
        error.contains("there is no workload `nothing`; take one of: demonstration"),
        "{error}"
    );
}
