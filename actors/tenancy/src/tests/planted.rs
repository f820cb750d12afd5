//! Each planted defect breaks the invariant that it should, in the same histories.
//!
//! Run with `--features mutants -- --test-threads=1`: a defect is planted in the whole process.

use std::collections::BTreeMap;

use super::accounts::Invariant;
use super::histories::run_seed;
use crate::mutants::{Mutant, plant};

const PLANTED: [(Mutant, Invariant); 17] = [
    (Mutant::AllowanceNotCounted, Invariant::CountersAddUp),
    (Mutant::ReturnTwice, Invariant::CountersAddUp),
    (Mutant::ChargeTwice, Invariant::LedgerHasItOnce),
    (Mutant::RefundWhole, Invariant::AllowanceHolds),
    (Mutant::OverageForgotten, Invariant::CountersAddUp),
    (Mutant::ExpiredAllowanceUsed, Invariant::ExpiredIsNotUsed),
    (Mutant::LastGrantTooLarge, Invariant::WithinLimit),
    (Mutant::WindowNeverEnds, Invariant::CountersAddUp),
    (Mutant::OutageUnbounded, Invariant::OutageIsBounded),
    (Mutant::OutageForever, Invariant::OutageEnds),
    (Mutant::OutageUnmarked, Invariant::LedgerTellsTheTruth),
    (Mutant::ReportDropped, Invariant::WrittenIsWritten),
    (Mutant::ReportClearsAll, Invariant::WrittenIsWritten),
    (Mutant::ReturnedWhileOpen, Invariant::AllowanceHolds),
    (Mutant::ModelLimitSkipped, Invariant::CountersAddUp),
    (Mutant::GrantTwice, Invariant::CountersAddUp),
    (Mutant::AnswerBeforeCommit, Invariant::WrittenIsWritten),
];

#[test]
fn every_planted_defect_is_found_by_its_invariant() {
    let mut missed = Vec::new();
    for (mutant, expected) in PLANTED {
        plant(Some(mutant));
        let mut found: BTreeMap<Invariant, u32> = BTreeMap::new();
        for seed in 0..300 {
            if let Err(broken) = run_seed(seed) {
                *found.entry(broken.invariant).or_default() += 1;
            }
        }
        println!("{mutant:?}: {found:?} of 300 seeds");
        if !found.contains_key(&expected) {
            missed.push((mutant, expected, found));
        }
    }
    plant(None);
    assert!(missed.is_empty(), "not found: {missed:?}");
}
