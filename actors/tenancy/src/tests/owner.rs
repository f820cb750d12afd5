//! The owner's machine: one transaction at a time, and what it answers from memory.

use super::{amounts, limit};
use crate::{
    Allowance, AllowanceId, Amounts, Answer, Ask, Entry, EntryId, Exhausted, Limits, Operation,
    Outcome, Owner, OwnerEffect, OwnerProblem, OwnerSettings, Report, Unit, Window,
};

type Effect = OwnerEffect<u32>;

const SETTINGS: OwnerSettings =
    OwnerSettings { batch_operations: 3, batch_entries: 10, queue_operations: 5 };
/// A minute begins here.
const WALL_MS: u64 = 1_709_208_000_000;

fn ask(model: &str, tokens: u64) -> Operation {
    let need = amounts(1, tokens, 0);
    let (id, model) = (AllowanceId(u128::from(tokens)), model.to_owned());
    Operation::Ask(Ask { id, edge: "edge-1".to_owned(), model, need, want: need })
}

fn report(entries: usize) -> Operation {
    let entry = Entry {
        id: EntryId(1),
        model: "large".to_owned(),
        used: Amounts::ZERO,
        uncovered: Amounts::ZERO,
        unverified: false,
        allowance: None,
        at_ms: 0,
    };
    Operation::Report(Report { number: 0, entries: vec![entry; entries], returns: Vec::new() })
}

fn granted(tokens: u64) -> Outcome {
    Outcome::Granted(Allowance {
        id: AllowanceId(u128::from(tokens)),
        amounts: amounts(1, tokens, 0),
        valid_ms: 2_000,
        outage_budget: Amounts::ZERO,
        revision: 0,
        standing: Vec::new(),
    })
}

fn used_up(model: Option<&str>, remaining: u64, resets_in_ms: u64) -> Outcome {
    let limit = limit(model, Unit::Tokens, Window::Minute, 100);
    Outcome::Exhausted(Exhausted { limit, remaining, resets_in_ms })
}

fn take(owner: &mut Owner<u32>, asker: u32, operation: Operation, wall_ms: u64) -> Vec<Effect> {
    let mut effects = Vec::new();
    owner.take(asker, operation, wall_ms, &mut effects);
    effects
}

fn committed(
    owner: &mut Owner<u32>,
    outcomes: Result<Vec<Outcome>, OwnerProblem>,
    wall_ms: u64,
) -> Vec<Effect> {
    let mut effects = Vec::new();
    owner.committed(outcomes, wall_ms, &mut effects);
    effects
}

fn answer(asker: u32, answer: Answer) -> Effect {
    OwnerEffect::Answer(asker, answer)
}

/// An owner that has just heard that less than a need is left.
fn knowing(outcome: Outcome) -> Owner<u32> {
    let mut owner = Owner::new(SETTINGS);
    take(&mut owner, 1, ask("large", 50), WALL_MS);
    let effects = committed(&mut owner, Ok(vec![outcome.clone()]), WALL_MS);
    assert_eq!(effects, [answer(1, Ok(outcome))]);
    owner
}

/// Whether it goes to the store.
fn goes_to_store(owner: &mut Owner<u32>, operation: Operation, wall_ms: u64) -> bool {
    take(owner, 9, operation.clone(), wall_ms) == [OwnerEffect::Commit(vec![operation])]
}

#[test]
fn one_transaction_after_the_other_in_the_order_of_asking() {
    let mut owner = Owner::new(SETTINGS);
    assert!(owner.is_idle());
    let first = take(&mut owner, 0, ask("large", 1), WALL_MS);
    assert_eq!(first, [OwnerEffect::Commit(vec![ask("large", 1)])]);
    for asker in 1..6 {
        let operation = ask("large", u64::from(asker) + 1);
        assert_eq!(take(&mut owner, asker, operation, WALL_MS), []);
    }
    let full = take(&mut owner, 6, Operation::Look, WALL_MS);
    assert_eq!(full, [answer(6, Err(OwnerProblem::Overloaded))]);

    let effects = committed(&mut owner, Ok(vec![granted(1)]), WALL_MS);
    let batch = |tokens: std::ops::Range<u64>| {
        OwnerEffect::Commit(tokens.map(|tokens| ask("large", tokens)).collect())
    };
    assert_eq!(effects, [answer(0, Ok(granted(1))), batch(2..5)]);
    let effects = committed(&mut owner, Err(OwnerProblem::StoreDown), WALL_MS);
    let failed = |asker| answer(asker, Err(OwnerProblem::StoreDown));
    assert_eq!(effects, [failed(1), failed(2), failed(3), batch(5..7)]);
    assert!(!owner.is_idle());
    let effects = committed(&mut owner, Ok(vec![granted(5), granted(6)]), WALL_MS);
    assert_eq!(effects, [answer(4, Ok(granted(5))), answer(5, Ok(granted(6)))]);
    assert!(owner.is_idle());
    assert_eq!(committed(&mut owner, Ok(Vec::new()), WALL_MS), [], "nothing is under way");
}

#[test]
fn a_batch_holds_no_more_entries_than_the_store_takes() {
    let mut owner = Owner::new(SETTINGS);
    take(&mut owner, 0, Operation::Look, WALL_MS);
    for (asker, entries) in [(1, 6), (2, 5), (3, 5), (4, 99), (5, 1)] {
        assert_eq!(take(&mut owner, asker, report(entries), WALL_MS), []);
    }
    let mut sizes = Vec::new();
    let mut outcomes = Ok(vec![Outcome::Written]);
    while let Some(OwnerEffect::Commit(batch)) = committed(&mut owner, outcomes, WALL_MS).last() {
        let entries = batch.iter().map(|operation| match operation {
            Operation::Report(report) => report.entries.len(),
            _ => 0,
        });
        sizes.push(entries.collect::<Vec<usize>>());
        outcomes = Ok(batch.iter().map(|_| Outcome::Written).collect());
    }
    // One that is too large by itself goes alone.
    assert_eq!(sizes, [vec![6], vec![5, 5], vec![99], vec![1]]);
}

#[test]
fn what_is_used_up_is_answered_without_the_store() {
    for (known, model, tokens, from_memory) in [
        (used_up(None, 20, 60_000), "large", 21, true),
        (used_up(None, 20, 60_000), "large", 20, false),
        (used_up(None, 20, 60_000), "small", 21, true),
        (used_up(Some("large"), 20, 60_000), "large", 21, true),
        (used_up(Some("large"), 20, 60_000), "small", 21, false),
    ] {
        let mut owner = knowing(known.clone());
        let effects = take(&mut owner, 2, ask(model, tokens), WALL_MS + 4_000);
        if from_memory {
            let Outcome::Exhausted(known) = known else { unreachable!("it is") };
            let told = Exhausted { resets_in_ms: 56_000, ..known };
            assert_eq!(effects, [answer(2, Ok(Outcome::Exhausted(told)))]);
            assert!(owner.is_idle());
        } else {
            assert_eq!(effects, [OwnerEffect::Commit(vec![ask(model, tokens)])]);
        }
    }
}

#[test]
fn memory_is_wiped_by_whatever_may_free_a_limit() {
    let limits = Operation::SetLimits(Limits::default());
    for (operation, heard, is_wiped) in [
        (report(0), Ok(Outcome::Written), true),
        (limits.clone(), Ok(Outcome::LimitsSet { revision: 2 }), true),
        (Operation::Look, Ok(Outcome::Looked(crate::Books::default())), false),
        (ask("large", 3), Ok(granted(3)), false),
        // Nobody knows whether it was written.
        (report(0), Err(OwnerProblem::StoreDown), true),
        (limits, Err(OwnerProblem::StoreDown), true),
        (ask("large", 3), Err(OwnerProblem::StoreDown), false),
    ] {
        let mut owner = knowing(used_up(None, 20, 60_000));
        take(&mut owner, 2, operation.clone(), WALL_MS);
        let effects = committed(&mut owner, heard.clone().map(|one| vec![one]), WALL_MS);
        assert_eq!(effects, [answer(2, heard.clone())]);
        let found = goes_to_store(&mut owner, ask("large", 21), WALL_MS);
        assert_eq!(found, is_wiped, "{operation:?} {heard:?}");
    }
}

#[test]
fn memory_ends_with_its_window() {
    let mut owner = knowing(used_up(None, 0, 60_000));
    assert!(!goes_to_store(&mut owner, ask("large", 1), WALL_MS + 59_999));
    assert!(goes_to_store(&mut owner, ask("large", 1), WALL_MS + 60_000));

    // The store was at work when a minute ended: which minute is used up is not known.
    let mut owner = Owner::new(SETTINGS);
    take(&mut owner, 1, ask("large", 50), WALL_MS - 1);
    committed(&mut owner, Ok(vec![used_up(None, 0, 1)]), WALL_MS + 1);
    assert!(goes_to_store(&mut owner, ask("large", 50), WALL_MS + 2));
}

#[test]
fn a_newer_word_on_the_same_limit_replaces_the_older() {
    let mut owner = knowing(used_up(None, 20, 60_000));
    take(&mut owner, 2, ask("large", 15), WALL_MS);
    committed(&mut owner, Ok(vec![used_up(None, 10, 60_000)]), WALL_MS);
    assert!(!goes_to_store(&mut owner, ask("large", 11), WALL_MS));
    assert!(goes_to_store(&mut owner, ask("large", 10), WALL_MS));
}

#[test]
fn resigning_answers_all() {
    let fenced = |asker| answer(asker, Err(OwnerProblem::NotOwner));
    let mut owner = Owner::new(SETTINGS);
    for asker in 0..3 {
        take(&mut owner, asker, Operation::Look, WALL_MS);
    }
    // The store says so: those in the transaction and those who wait.
    let effects = committed(&mut owner, Err(OwnerProblem::NotOwner), WALL_MS);
    assert_eq!(effects, [fenced(0), fenced(1), fenced(2), OwnerEffect::Resign]);
    assert!(owner.is_idle());

    // The node gives the lease away: the transaction under way still counts.
    let mut owner = Owner::new(SETTINGS);
    for asker in 0..3 {
        take(&mut owner, asker, Operation::Look, WALL_MS);
    }
    let mut effects = Vec::new();
    owner.resign(&mut effects);
    assert_eq!(effects, [fenced(1), fenced(2), OwnerEffect::Resign]);
    let looked = Outcome::Looked(crate::Books::default());
    let effects = committed(&mut owner, Ok(vec![looked.clone()]), WALL_MS);
    assert_eq!(effects, [answer(0, Ok(looked))]);
    assert!(owner.is_idle());
}
