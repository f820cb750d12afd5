//! Seeds are deterministic and good, rare branches run, and planted bugs are found.

use std::collections::BTreeMap;

use crate::{Defect, SOMETIMES, run, verify};

#[test]
fn seeds_are_good_and_repeat_themselves() {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 1_000..1_100 {
        let verdict = verify(seed);
        let outcome = &verdict.outcome;
        assert_eq!(outcome.violations, Vec::<String>::new(), "seed {seed}: {}", outcome.options);
        assert_eq!(verdict.diverged_at, None, "seed {seed}");
        assert!(outcome.trace.len() > 20, "seed {seed} did nothing");
        for (what, count) in &outcome.counts {
            *counts.entry(what).or_default() += count;
        }
    }
    for what in SOMETIMES {
        assert!(counts.contains_key(what), "no seed saw: {what}; seen {counts:?}");
    }
}

#[test]
fn different_seeds_differ() {
    assert_ne!(run(1, None).trace, run(2, None).trace);
}

#[test]
fn planted_bugs_are_found() {
    for (defect, invariant) in [
        (Defect::NoOperationRow, "a_request_is_charged_at_most_once"),
        (Defect::LossIsIgnored, "every_request_ends"),
        (Defect::RowsAreSwapped, "each_text_gets_its_own_vector"),
        (Defect::ChargeIsNotAwaited, "an_answered_request_is_charged"),
    ] {
        let found = (0..50).any(|seed| {
            let violations = run(seed, Some(defect)).violations;
            violations.iter().any(|text| text.starts_with(invariant))
        });
        assert!(found, "50 seeds did not find {defect:?}");
    }
}
