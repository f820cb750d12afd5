//! Ways of a version to production.

use crate::{Canary, Gates, Head, Input, Outcomes, Pointer, Promotion, ShadowGate, Stage, Wanted};

fn gated() -> Head {
    let shadow = Some(ShadowGate::default());
    let gates = Gates { golden_set: Some("set".to_owned()), shadow, ..Gates::default() };
    Head { newest: 3, production: Some(1), served: vec![1], gates, ..Head::default() }
}

fn wanted(version: u64) -> Wanted {
    let (author, by, reason) = ("ann".to_owned(), "ann".to_owned(), "better".to_owned());
    Wanted { version, author, by, reason, canary_per_mille: None, is_auto: false }
}

fn gate(is_passed: bool) -> Input {
    Input::Gate { is_passed, detail: "said".to_owned() }
}

fn by(who: &str) -> String {
    who.to_owned()
}

/// Takes the inputs one after the other; the stages it was in, or the last problem.
fn walk(head: &mut Head, wanted: Wanted, inputs: Vec<Input>) -> (Vec<&'static str>, Outcomes) {
    let (mut promotion, mut all) = Promotion::begin(head, wanted, 0).unwrap();
    let mut stages = vec![promotion.stage.name()];
    for (place, input) in inputs.into_iter().enumerate() {
        let outcomes = promotion.take(head, input, place as u64).unwrap();
        all.moves.extend(outcomes.moves);
        all.events.extend(outcomes.events);
        stages.push(promotion.stage.name());
    }
    assert_eq!(head.promotion.is_none(), promotion.stage.is_end());
    let numbers: Vec<u64> = all.moves.iter().map(|one| one.number).collect();
    let from = head.moves - numbers.len() as u64;
    assert_eq!(numbers, (from + 1..=head.moves).collect::<Vec<_>>(), "a gap in the history");
    (stages, all)
}

#[test]
fn a_good_version_passes_every_gate() {
    let mut head = gated();
    let inputs =
        vec![gate(true), gate(true), gate(true), Input::Promote { by: by("bo") }, gate(true)];
    let (stages, _) = walk(&mut head, wanted(2), inputs);
    assert_eq!(stages, ["fast_eval", "regression", "shadow", "ready", "guard", "done"]);
    assert_eq!((head.production, head.staging), (Some(2), Some(2)));
    assert_eq!(head.served, [1, 2]);
}

#[test]
fn a_bad_version_is_stopped_at_each_gate() {
    let promote = || Input::Promote { by: by("bo") };
    let cases = [
        (vec![gate(false)], "stopped"),
        (vec![gate(true), gate(false)], "stopped"),
        (vec![gate(true), gate(true), gate(false)], "stopped"),
        (vec![gate(true), gate(true), gate(true), promote(), gate(false)], "rolled_back"),
    ];
    for (inputs, end) in cases {
        let mut head = gated();
        let (stages, _) = walk(&mut head, wanted(2), inputs);
        assert_eq!(stages.last(), Some(&end));
        assert_eq!((head.production, head.staging, head.canary), (Some(1), None, None));
    }
}

#[test]
fn without_gates_an_automatic_promotion_serves_at_once() {
    let mut head = Head { newest: 1, ..Head::default() };
    let (stages, outcomes) = walk(&mut head, Wanted { is_auto: true, ..wanted(1) }, Vec::new());
    assert_eq!(stages, ["done"]);
    assert_eq!(head.production, Some(1));
    assert_eq!(
        outcomes.moves.iter().map(|one| one.pointer).collect::<Vec<_>>(),
        [Pointer::Staging, Pointer::Production]
    );
}

#[test]
fn a_canary_gets_its_share_and_loses_it() {
    let asked = || Wanted { canary_per_mille: Some(10), ..wanted(3) };
    let mut head = Head { gates: Gates::default(), ..gated() };
    let (mut promotion, _) = Promotion::begin(&mut head, asked(), 0).unwrap();
    assert_eq!(head.canary, Some(Canary { version: 3, per_mille: 10 }));
    promotion.take(&mut head, gate(false), 1).unwrap();
    assert_eq!((head.canary, head.production, promotion.stage), (None, Some(1), Stage::RolledBack));
    let (stages, _) =
        walk(&mut head, asked(), vec![gate(true), Input::Promote { by: by("bo") }, gate(true)]);
    assert_eq!(stages, ["canary", "ready", "guard", "done"]);
    assert_eq!((head.canary, head.production), (None, Some(3)));
}

#[test]
fn an_override_needs_two_people_and_is_still_watched() {
    let mut head = gated();
    let (mut promotion, _) = Promotion::begin(&mut head, wanted(2), 0).unwrap();
    let mut refused = |input, expected: &str| {
        let problem = promotion.take(&mut head, input, 1).unwrap_err();
        assert_eq!(problem.to_string(), expected);
    };
    refused(
        Input::Approve { by: by("bo") },
        "promotion: has no override to approve; ask for one first",
    );
    refused(
        Input::Override { by: by("ann"), reason: by(" ") },
        "reason: is missing; say why the gates are passed over",
    );
    refused(
        Input::Promote { by: by("bo") },
        "promotion: is not ready; it is in fast_eval, wait for it, or ask for an override",
    );
    promotion.take(&mut head, Input::Override { by: by("ann"), reason: by("outage") }, 2).unwrap();
    let problem = promotion.take(&mut head, Input::Approve { by: by("ann") }, 3).unwrap_err();
    assert_eq!(
        problem.to_string(),
        "promotion: needs a second person to approve the override; who asked for it cannot"
    );
    promotion.take(&mut head, Input::Approve { by: by("bo") }, 4).unwrap();
    assert_eq!((head.production, promotion.stage), (Some(2), Stage::Guard));
    promotion.take(&mut head, gate(false), 5).unwrap();
    assert_eq!((head.production, promotion.stage), (Some(1), Stage::RolledBack));
}

#[test]
fn protection_and_other_bounds_hold() {
    let mut head = Head { is_protected: true, gates: Gates::default(), ..gated() };
    let auto = Promotion::begin(&mut head, Wanted { is_auto: true, ..wanted(2) }, 0).unwrap_err();
    assert_eq!(
        auto.to_string(),
        "prompt: is protected: who wrote a version does not promote it; ask somebody else"
    );
    let (mut promotion, _) = Promotion::begin(&mut head, wanted(2), 0).unwrap();
    assert!(promotion.take(&mut head, Input::Promote { by: by("ann") }, 1).is_err());
    let second = Promotion::begin(&mut head, wanted(3), 0).unwrap_err();
    assert_eq!(
        second.to_string(),
        "promotion: promotion 1 of this prompt is in progress; withdraw it, or wait for its end"
    );
    promotion.take(&mut head, Input::Promote { by: by("bo") }, 2).unwrap();
    assert_eq!(head.step_back(None), Ok(1));
    let unknown = Promotion::begin(&mut Head::default(), wanted(1), 0).unwrap_err();
    assert_eq!(unknown.to_string(), "version: 1 is not there; the newest version is 0");
    assert!(head.step_back(Some(3)).is_err());
    // Whoever goes back by hand ends the watch, and the guard undoes nothing after it.
    promotion
        .take(&mut head, Input::StepBack { to: 1, by: by("bo"), reason: by("no") }, 3)
        .unwrap();
    assert_eq!((head.production, promotion.stage), (Some(1), Stage::RolledBack));
    assert!(promotion.take(&mut head, gate(false), 4).is_err());
}
