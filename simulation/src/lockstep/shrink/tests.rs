//! Shrinking keeps what is needed, drops the rest, and stops.

use std::collections::BTreeMap;

use super::shrink_by;
use crate::lockstep::outcome::{Cost, LockstepOutcome};
use crate::lockstep::schedule::{ScheduledFault, Strike};

fn fault(id: u32) -> ScheduledFault {
    let strike = Strike::Kill { node: 0 };
    ScheduledFault { id, from_ms: u64::from(id), until_ms: u64::from(id) + 1, strike }
}

/// A run that fails when all of `needed` strike.
fn outcome(faults: &[ScheduledFault], needed: &[u32]) -> LockstepOutcome {
    let strikes = |id: &u32| faults.iter().any(|fault| fault.id == *id);
    let fails = needed.iter().all(strikes);
    let violations = if fails { vec!["law: broken".to_owned()] } else { vec![] };
    LockstepOutcome {
        scenario: String::new(),
        seed: 1,
        nodes: 3,
        duration_ms: 10,
        heal_ms: 5,
        options: String::new(),
        faults: faults.to_vec(),
        counts: BTreeMap::new(),
        violations,
        trace: vec![],
        fingerprint: 0,
        cost: Cost::default(),
    }
}

#[test]
fn only_the_needed_faults_stay() {
    let all: Vec<ScheduledFault> = (0..8).map(fault).collect();
    for needed in [vec![], vec![0], vec![7], vec![2, 5], vec![0, 3, 7]] {
        let failing = outcome(&all, &needed);
        let run = |faults: &[ScheduledFault]| Ok::<_, ()>(outcome(faults, &needed));
        let shrunk = shrink_by(failing, 1_000, run).unwrap();
        let kept: Vec<u32> = shrunk.outcome.faults.iter().map(|fault| fault.id).collect();
        assert_eq!(kept, needed);
        assert_eq!(shrunk.outcome.violations.len(), 1);
    }
}

#[test]
fn it_stops_after_the_allowed_runs() {
    let all: Vec<ScheduledFault> = (0..8).map(fault).collect();
    let run = |faults: &[ScheduledFault]| Ok::<_, ()>(outcome(faults, &[]));
    let shrunk = shrink_by(outcome(&all, &[]), 3, run).unwrap();
    assert_eq!((shrunk.runs, shrunk.outcome.faults.len()), (3, 5));
}
