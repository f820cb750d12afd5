//! Histories that have an order, and histories that have none.

use super::{Action, Finding, Operation, check};

fn operation(action: Action, called: u64, returned: u64) -> Operation {
    Operation { action, called, returned: Some(returned) }
}

fn lost(action: Action, called: u64) -> Operation {
    Operation { action, called, returned: None }
}

fn swing(from: u64, to: u64, swung: bool) -> Action {
    Action::Swing { from, to, swung: Some(swung) }
}

#[test]
fn histories_are_told_apart() {
    use Action::{Increment, Read};
    let overlap = [operation(Increment(Some(2)), 0, 3), operation(Increment(Some(1)), 1, 2)];
    let in_turn = [operation(Increment(Some(2)), 0, 1), operation(Increment(Some(1)), 2, 3)];
    let twice = [operation(Increment(Some(1)), 0, 2), operation(Increment(Some(1)), 1, 3)];
    let stale = [operation(Increment(Some(1)), 0, 1), operation(Read(Some(0)), 2, 3)];
    let both_read =
        [lost(Increment(None), 0), operation(Read(Some(1)), 1, 2), operation(Read(Some(1)), 3, 4)];
    let back =
        [lost(Increment(None), 0), operation(Read(Some(1)), 1, 2), operation(Read(Some(0)), 3, 4)];
    let unknown_result = [operation(Increment(None), 0, 1), operation(Read(Some(0)), 2, 3)];
    let from_nowhere = [operation(Read(Some(7)), 0, 1)];
    let two_win = [operation(swing(0, 5, true), 0, 2), operation(swing(0, 6, true), 1, 3)];
    let one_wins = [operation(swing(0, 5, true), 0, 2), operation(swing(0, 6, false), 1, 3)];
    let late_swing = [
        lost(Action::Swing { from: 0, to: 9, swung: None }, 0),
        operation(Read(Some(0)), 1, 2),
        operation(Read(Some(9)), 3, 4),
    ];
    for (name, history, expected) in [
        ("overlap", &overlap[..], Finding::Linearizable),
        ("in turn, the wrong way round", &in_turn, Finding::Not),
        ("the same sum twice", &twice, Finding::Not),
        ("a stale read", &stale, Finding::Not),
        ("an increment whose client died", &both_read, Finding::Linearizable),
        ("a value that goes back", &back, Finding::Not),
        ("an acknowledged increment that is gone", &unknown_result, Finding::Not),
        ("a value from nowhere", &from_nowhere, Finding::Not),
        ("two winners", &two_win, Finding::Not),
        ("one winner", &one_wins, Finding::Linearizable),
        ("a swing that happens late", &late_swing, Finding::Linearizable),
        ("nothing", &[], Finding::Linearizable),
    ] {
        assert_eq!(check(history, 0), expected, "{name}");
    }
}

#[test]
fn a_search_without_end_is_given_up() {
    // Any subset of these may have happened, and no order explains the read.
    let mut history: Vec<Operation> = (0..40)
        .map(|place| lost(Action::Swing { from: place, to: place + 100, swung: None }, place))
        .collect();
    history.extend((0..40).map(|place| lost(Action::Increment(None), 40 + place)));
    history.push(operation(Action::Read(Some(99_999)), 90, 91));
    assert_ne!(check(&history, 0), Finding::Linearizable);
}
