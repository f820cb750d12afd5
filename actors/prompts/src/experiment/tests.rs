//! Tests of experiments: checks, expiry, and what an analysis says.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    AnalyseError, Analysis, Better, DEFAULT_DURATION_MS, Ending, Experiment, Goal, GoalKind,
    Holdout, LAYER_EXPERIMENTS, Layer, Segment, Share, State, Summary, Unit, Variant, analyse,
    check, expire,
};
use crate::sequential::{Binary, Numeric, Range};

mod assign;

fn variant(name: &str, version: u32, weight: u32) -> Variant {
    Variant { name: name.to_owned(), version, weight }
}

fn goal(name: &str, kind: GoalKind, better: Better) -> Goal {
    Goal { name: name.to_owned(), kind, better }
}

/// An experiment without fault.
fn experiment() -> Experiment {
    Experiment {
        name: "tone".to_owned(),
        prompt: "support/reply".to_owned(),
        owner: "ada@example.com".to_owned(),
        variants: vec![variant("control", 3, 1), variant("short", 4, 1)],
        control: "control".to_owned(),
        unit: Unit::User,
        segments: Vec::new(),
        layer: None,
        share: Share::ALL,
        holdout: None,
        start_ms: 1_000,
        ends_ms: 1_000 + DEFAULT_DURATION_MS,
        state: State::Running,
        goals: vec![goal("thumbs_up", GoalKind::Binary, Better::Higher)],
    }
}

/// The experiment after a change.
fn with(change: impl FnOnce(&mut Experiment)) -> Experiment {
    let mut changed = experiment();
    change(&mut changed);
    changed
}

#[test]
fn errors_name_the_field_and_what_to_do() {
    let verify = |change: fn(&mut Experiment), expected: &[&str]| {
        let errors = check(&with(change), &[]).err().unwrap_or_default();
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), expected.len(), "{texts:?}");
        for (text, words) in texts.iter().zip(expected) {
            assert!(text.contains(words), "{text:?} lacks {words:?}");
        }
    };
    verify(|_| {}, &[]);
    verify(|it| it.name = String::new(), &["name is \"\"; it must have 1 to 128 bytes"]);
    verify(|it| it.name = "a:b".to_owned(), &["without ':'; choose another name"]);
    verify(|it| it.prompt = "a:b/c".to_owned(), &[]);
    verify(|it| it.prompt = "a\0".to_owned(), &["prompt is"]);
    verify(|it| it.layer = Some("x".repeat(129)), &["layer is"]);
    verify(|it| it.variants.truncate(1), &["variants has 1 entries; 2 to 20"]);
    verify(
        |it| it.variants.extend((0..19).map(|index| variant(&format!("v{index}"), 1, 1))),
        &["variants has 21 entries"],
    );
    verify(|it| it.variants.push(variant("short", 5, 1)), &["names \"short\" twice"]);
    verify(|it| it.variants.iter_mut().for_each(|one| one.weight = 0), &["no weight in total"]);
    verify(|it| it.variants[0].weight = 0, &["control \"control\" has weight 0"]);
    verify(|it| it.variants[1].weight = 0, &[]);
    verify(|it| it.control = "old".to_owned(), &["use one of: control, short"]);
    verify(|it| it.share = Share { from: 5, until: 5 }, &["share is 5..5"]);
    verify(|it| it.share = Share { from: 0, until: 10_001 }, &["share is 0..10001"]);
    let everyone = |it: &mut Experiment| {
        it.holdout = Some(Holdout { name: "global".to_owned(), buckets: 10_000 });
    };
    verify(everyone, &["holdout.buckets is 10000; 0 to 9999"]);
    let empty = |it: &mut Experiment| {
        it.segments = vec![Segment { field: "plan".to_owned(), values: BTreeSet::new() }];
    };
    verify(empty, &["field \"plan\" lists no values"]);
    verify(|it| it.ends_ms = it.start_ms, &["must be after start_ms 1000"]);
    verify(|it| it.ends_ms = it.start_ms + 90 * 86_400_000, &[]);
    verify(|it| it.ends_ms = it.start_ms + 90 * 86_400_000 + 1, &["91 days after start_ms"]);
    verify(|it| it.goals.clear(), &["goals is empty"]);
    verify(|it| it.goals.push(it.goals[0].clone()), &["goals names \"thumbs_up\" twice"]);
    let flat = |it: &mut Experiment| {
        it.goals[0].kind = GoalKind::Bounded(Range { min: 5.0, max: 5.0 });
    };
    verify(flat, &["range of \"thumbs_up\" is 5 to 5"]);
    verify(
        |it| {
            it.control = String::new();
            it.ends_ms = 0;
            it.goals.clear();
        },
        &["control is \"\"", "ends_ms is 0", "goals is empty"],
    );
}

#[test]
fn shares_of_one_layer_do_not_overlap() {
    let layered = |name: &str, from: u16, until: u16| {
        with(|it| {
            it.name = name.to_owned();
            it.layer = Some("wording".to_owned());
            it.share = Share { from, until };
        })
    };
    let verify = |other: Experiment, words: Option<&str>| {
        let found = check(&layered("tone", 2_000, 6_000), std::slice::from_ref(&other));
        let text = found.err().and_then(|errors| errors.first().map(ToString::to_string));
        match (words, &text) {
            (None, None) => {}
            (Some(words), Some(text)) => assert!(text.contains(words), "{text}"),
            _ => panic!("{other:?}: {text:?}"),
        }
    };
    let overlap = Some("share 2000..6000 overlaps");
    verify(layered("other", 0, 2_000), None);
    verify(layered("other", 6_000, 10_000), None);
    verify(layered("other", 0, 2_001), overlap);
    verify(layered("other", 5_999, 6_000), overlap);
    verify(layered("other", 3_000, 3_001), overlap);
    verify(layered("tone", 0, 10_000), None);
    verify(Experiment { prompt: "else".to_owned(), ..layered("tone", 0, 10_000) }, overlap);
    verify(Experiment { layer: None, ..layered("other", 0, 10_000) }, None);
    verify(Experiment { layer: Some("model".to_owned()), ..layered("other", 0, 10_000) }, None);
    verify(Experiment { state: State::Draft, ..layered("other", 0, 10_000) }, None);
    verify(Experiment { ends_ms: 1_000, start_ms: 0, ..layered("other", 0, 10_000) }, None);
    verify(Experiment { unit: Unit::Request, ..layered("other", 0, 1) }, Some("unit differs"));
}

#[test]
fn a_layer_gives_each_part_to_one_experiment_at_a_time() {
    let asking = |prompt: &str, from: u16, until: u16| {
        with(|it| {
            it.prompt = prompt.to_owned();
            it.layer = Some("words".to_owned());
            it.share = Share { from, until };
        })
    };
    let mut layer = Layer::of("words", &[experiment(), asking("a", 0, 5_000)]);
    assert_eq!(layer.taken.len(), 1);
    let refused = layer.enter(&asking("b", 4_999, 6_000), 2_000).unwrap_err();
    assert!(refused[0].to_string().contains("overlaps 0..5000"), "{refused:?}");
    layer.enter(&asking("b", 5_000, 6_000), 2_000).unwrap();
    let mut by_request = asking("c", 6_000, 7_000);
    by_request.unit = Unit::Request;
    assert!(
        layer.enter(&by_request, 2_000).unwrap_err()[0].to_string().starts_with("unit differs")
    );
    // What is stopped, and what has reached its end, is free again.
    layer.leave("a", "tone");
    layer.enter(&asking("c", 0, 5_000), 2_000).unwrap();
    let later = 1_000 + DEFAULT_DURATION_MS;
    let mut next = asking("d", 0, 10_000);
    (next.start_ms, next.ends_ms) = (later, later + 1_000);
    layer.enter(&next, later).unwrap();
    assert_eq!(layer.taken.len(), 1);
    let mut full = Layer::default();
    for place in 0..LAYER_EXPERIMENTS as u16 {
        full.enter(&asking(&format!("p{place}"), place, place + 1), 2_000).unwrap();
    }
    let refused = full.enter(&asking("one-more", 9_000, 9_001), 2_000).unwrap_err();
    assert!(refused[0].to_string().starts_with("layer \"words\" has 200"), "{refused:?}");
}

#[test]
fn expires_once_and_goes_back_to_the_control() {
    let verify = |state: State, now_ms: u64, ends: bool| {
        let start = with(|it| it.state = state);
        let Some(expiry) = expire(&start, now_ms) else {
            assert!(!ends, "{start:?} did not end at {now_ms}");
            return;
        };
        assert!(ends, "{start:?} ended at {now_ms}");
        let ended = State::Ended { reason: Ending::Expired, at_ms: now_ms };
        assert_eq!(expiry.experiment, Experiment { state: ended, ..start });
        assert_eq!((expiry.version, expiry.owner.as_str()), (Some(3), "ada@example.com"));
        assert!(expiry.message.contains("in production again"), "{}", expiry.message);
        assert_eq!(expire(&expiry.experiment, now_ms), None, "a second time");
    };
    let ends_ms = experiment().ends_ms;
    verify(State::Running, ends_ms - 1, false);
    verify(State::Running, ends_ms, true);
    verify(State::Running, u64::MAX, true);
    verify(State::Draft, u64::MAX, false);
    verify(State::Ended { reason: Ending::Stopped, at_ms: 5 }, u64::MAX, false);
    let promoted = Ending::Promoted("short".to_owned());
    verify(State::Ended { reason: promoted, at_ms: 5 }, u64::MAX, false);
}

type Arms<'a> = &'a [(&'a str, u64, Summary)];

fn look(experiment: &Experiment, arms: Arms<'_>) -> Result<Analysis, AnalyseError> {
    let users = arms.iter().map(|(name, users, _)| ((*name).to_owned(), *users)).collect();
    let of_goal: BTreeMap<String, Summary> =
        arms.iter().map(|(name, _, summary)| ((*name).to_owned(), *summary)).collect();
    let name = experiment.goals[0].name.clone();
    analyse(experiment, &users, &BTreeMap::from([(name, of_goal)]), 0.05)
}

fn yes(successes: u64, count: u64) -> Summary {
    Summary::Binary(Binary { count, successes })
}

#[test]
fn verdict_follows_the_first_goal_and_the_shares() {
    let verify = |experiment: &Experiment, arms: Arms<'_>, words: &str| {
        let analysis = look(experiment, arms).unwrap();
        assert!(analysis.verdict.contains(words), "{:?} lacks {words:?}", analysis.verdict);
    };
    let two = experiment();
    let three = with(|it| it.variants.push(variant("long", 5, 1)));
    let base = ("control", 1_000, yes(200, 1_000));
    verify(&two, &[], "Undecided on \"thumbs_up\"");
    verify(&two, &[base, ("short", 1_010, yes(210, 1_010))], "Undecided");
    verify(&two, &[base, ("short", 1_010, yes(310, 1_010))], "Promote \"short\"");
    verify(&two, &[base, ("short", 1_010, yes(110, 1_010))], "Keep \"control\"");
    verify(&two, &[base, ("short", 600, yes(300, 600))], "Do not trust");
    let long = ("long", 990, yes(420, 990));
    verify(&three, &[base, ("short", 1_010, yes(310, 1_010)), long], "Promote \"long\"");
    verify(&three, &[base, ("short", 1_010, yes(110, 1_010)), long], "Promote \"long\"");
    let none = ("long", 990, yes(200, 990));
    verify(&three, &[base, ("short", 1_010, yes(110, 1_010)), none], "Undecided");
    let lower = with(|it| it.goals[0].better = Better::Lower);
    verify(&lower, &[base, ("short", 1_010, yes(110, 1_010))], "Promote \"short\"");
}

#[test]
fn findings_read_in_the_unit_of_the_goal() {
    let verify = |kind: GoalKind, values: (f64, f64), words: &str| {
        let experiment = with(|it| it.goals = vec![goal("g", kind, Better::Higher)]);
        let fill = |middle: f64| {
            let mut summary = Summary::empty(&experiment.goals[0]);
            for index in 0..2_000 {
                let value = if kind == GoalKind::Binary {
                    f64::from(u8::from(f64::from(index % 100) < middle))
                } else {
                    middle + f64::from(index % 3) - 1.0
                };
                summary.record(&experiment.goals[0], value).unwrap();
            }
            summary
        };
        let arms = [("control", 2_000, fill(values.0)), ("short", 2_000, fill(values.1))];
        let analysis = look(&experiment, &arms).unwrap();
        let finding = &analysis.findings[0];
        assert_eq!((finding.control_count, finding.variant_count), (2_000, 2_000));
        assert_eq!(finding.better, Some(true), "{finding:?}");
        assert!(finding.verdict.contains(words), "{:?} lacks {words:?}", finding.verdict);
    };
    verify(GoalKind::Binary, (20.0, 40.0), "on \"g\": +20.00 points (between +1");
    verify(GoalKind::Numeric, (10.0, 10.5), "on \"g\": +0.5000 (between");
    verify(GoalKind::Logarithm, (99.0, 199.0), "on \"g\": +100.0 % (between");
    verify(
        GoalKind::Bounded(Range { min: 1.0, max: 5.0 }),
        (2.0, 3.0),
        "on \"g\": +1.0000 (between",
    );
}

#[test]
fn alpha_is_divided_among_the_variants() {
    let verify = |count: u32, expected: f64| {
        let many = with(|it| {
            it.variants = (0..count).map(|index| variant(&format!("v{index}"), 1, 1)).collect();
            it.control = "v0".to_owned();
        });
        let analysis = look(&many, &[]).unwrap();
        assert!((analysis.corrected_alpha - expected).abs() < 1e-12);
        assert_eq!(analysis.findings.len(), count as usize - 1);
    };
    verify(2, 0.05);
    verify(6, 0.01);
    verify(20, 0.05 / 19.0);
}

#[test]
fn what_cannot_be_analysed_says_why() {
    let verify = |result: Result<Analysis, AnalyseError>, words: &str| {
        let text = result.unwrap_err().to_string();
        assert!(text.contains(words), "{text:?} lacks {words:?}");
    };
    let none = BTreeMap::new;
    verify(analyse(&experiment(), &none(), &BTreeMap::new(), 0.0), "alpha is 0");
    verify(analyse(&experiment(), &none(), &BTreeMap::new(), f64::NAN), "alpha is NaN");
    let lost = with(|it| it.control = "old".to_owned());
    verify(look(&lost, &[]), "control is \"old\"");
    let wrong = Summary::Numeric(Numeric::default());
    verify(look(&experiment(), &[("short", 1, wrong)]), "variant \"short\" on goal \"thumbs_up\"");
    let mut summary = yes(0, 0);
    let error = summary.record(&experiment().goals[0], 4.0).unwrap_err().to_string();
    assert_eq!(error.split(';').next(), Some("goal \"thumbs_up\": value is 4"));
    assert_eq!(yes(1, 2).merge(yes(2, 3)), Some(yes(3, 5)));
    assert_eq!(yes(1, 2).merge(wrong), None);
}
