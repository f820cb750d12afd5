//! Scenario files, schedules, queues and the timeline, without processes.

use super::outcome::{Cost, Line, LineKind, LockstepOutcome};
use super::queues::Queues;
use super::scenario::Scenario;
use super::schedule::draw;
use super::timeline::html;
use super::wire::{Passing, ToNode};

const TEXT: &str = "
name = \"test\"
workload = \"demonstration\"
duration_ms = 20_000
heal_ms = 10_000
faults = [\"partition\", \"kill\", \"clock_skew\", \"store_slow\"]
[parameters]
interval_ms = 5
";

#[test]
fn a_scenario_has_defaults_and_keeps_parameters() {
    let scenario = Scenario::parse(TEXT).unwrap();
    assert_eq!((scenario.nodes, scenario.tick_ms, scenario.delay_ms), (3, 2, [2, 25]));
    assert_eq!(scenario.parameters["interval_ms"].as_integer(), Some(5));
}

#[test]
fn wrong_scenarios_say_what_is_wrong() {
    for (from, to, expected) in [
        ("heal_ms = 10_000", "heal_ms = 20_000", "`heal_ms` is 20000"),
        ("heal_ms = 10_000", "heal_ms = 10_000\nnodes = 0", "`nodes` is 0; take 1 to 16"),
        ("heal_ms = 10_000", "heal_ms = 10_000\ntick_ms = 5", "at least `tick_ms` (5)"),
        ("heal_ms = 10_000", "heal_ms = 10_000\nheel_ms = 3", "unknown field `heel_ms`"),
        ("\"kill\"", "\"murder\"", "unknown variant `murder`"),
        ("\"kill\"", "\"partition\"", "names Partition twice"),
    ] {
        let error = Scenario::parse(&TEXT.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn schedules_repeat_and_end_before_the_healing() {
    let scenario = Scenario::parse(TEXT).unwrap();
    let mut all = 0;
    for seed in 0..200 {
        let faults = draw(&scenario, seed);
        assert_eq!(faults, draw(&scenario, seed));
        all += faults.len();
        for fault in &faults {
            let whole_run = fault.strike.name() == "skew";
            assert!(whole_run || fault.until_ms <= scenario.heal_ms, "seed {seed}: {fault}");
            assert!(fault.from_ms < fault.until_ms, "seed {seed}: {fault}");
            assert!(fault.nodes().iter().all(|node| *node < 3), "seed {seed}: {fault}");
        }
    }
    assert!(all > 400, "{all} faults in 200 seeds");
}

#[test]
fn a_lane_keeps_its_order_and_a_cut_holds_it_back() {
    let mut queues = Queues::new(3, 2, [2, 50]);
    for sequence in 0..100 {
        let payload = Vec::new();
        queues.send(0, 1, sequence / 10, Passing::Envelope { lane: 0, sequence, payload });
    }
    assert_eq!(queues.take(1, (100, 102), |_| false), []);
    let taken = queues.take(1, (200, 202), |_| true);
    let sequences: Vec<u64> = taken
        .iter()
        .map(|(at_ms, event)| match event {
            ToNode::Passed { peer: 0, passing: Passing::Envelope { sequence, .. } } => {
                assert_eq!(*at_ms, 200);
                *sequence
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(sequences, (0..100).collect::<Vec<u64>>());
}

#[test]
fn a_timeline_shows_faults_events_and_violations() {
    let scenario = Scenario::parse(TEXT).unwrap();
    let line =
        |at_ms, kind, text: &str| Line { at_ms, who: "n2".to_owned(), kind, text: text.to_owned() };
    let outcome = LockstepOutcome {
        scenario: "a < b".to_owned(),
        seed: 7,
        nodes: 3,
        duration_ms: 20_000,
        heal_ms: 10_000,
        options: String::new(),
        faults: draw(&scenario, 7),
        counts: [("link up".to_owned(), 3)].into(),
        violations: vec!["law: \"broken\"".to_owned()],
        trace: vec![
            line(5, LineKind::Node, "lease <granted>"),
            line(9, LineKind::Violation, "VIOLATED law"),
        ],
        fingerprint: 0,
        cost: Cost::default(),
    };
    let page = html(&outcome);
    for part in [
        "<h1>a &lt; b, seed 7</h1>",
        "<p class=\"bad\">law: &quot;broken&quot;</p>",
        "<title>5 ms  lease &lt;granted&gt;</title>",
        "<b>      9 n2     VIOLATED law</b>",
        "class=\"event Violation\"",
        "link up: 3",
    ] {
        assert!(page.contains(part), "{part} is missing");
    }
    for fault in &outcome.faults {
        assert!(page.contains(&fault.to_string().replace('>', "&gt;")), "{fault}");
    }
    assert!(!page.contains("http"), "the page needs nothing from elsewhere");
}
