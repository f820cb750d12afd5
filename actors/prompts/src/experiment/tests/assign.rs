//! Tests of assignment: the shared vectors, here and in Python, and what stays the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::super::assign::minus_log2;
use super::super::{
    Assignment, Experiment, Holdout, Reason, Request, Segment, Share, State, Unit, bucket_of,
};
use super::{variant, with};

const VECTORS: &str = include_str!("../vectors.json");

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn read_experiment(value: &Value) -> Experiment {
    with(|it| {
        it.name = text(&value["name"]);
        it.prompt = text(&value["prompt"]);
        let of = |one: &Value| {
            let (version, weight) = (number(&one["version"]), number(&one["weight"]));
            variant(one["name"].as_str().unwrap(), version as u32, weight as u32)
        };
        it.variants = value["variants"].as_array().unwrap().iter().map(of).collect();
        it.unit = if value["unit"] == "user" { Unit::User } else { Unit::Request };
        let segment = |one: &Value| Segment {
            field: text(&one["field"]),
            values: one["values"].as_array().unwrap().iter().map(text).collect(),
        };
        it.segments = value["segments"].as_array().unwrap().iter().map(segment).collect();
        it.layer = value["layer"].as_str().map(str::to_owned);
        let share = &value["share"];
        it.share =
            Share { from: number(&share["from"]) as u16, until: number(&share["until"]) as u16 };
        let holdout = |one: &Value| Holdout {
            name: text(&one["name"]),
            buckets: number(&one["buckets"]) as u16,
        };
        it.holdout = Some(&value["holdout"]).filter(|one| one.is_object()).map(holdout);
        it.start_ms = number(&value["start_ms"]);
        it.ends_ms = number(&value["ends_ms"]);
        it.state = match value["state"].as_str() {
            Some("running") => State::Running,
            Some("draft") => State::Draft,
            _ => State::Ended { reason: super::Ending::Stopped, at_ms: 0 },
        };
    })
}

fn name_of(assignment: Assignment<'_>) -> String {
    match assignment {
        Assignment::Inside(variant) => variant.name.clone(),
        Assignment::Outside(Reason::NotRunning) => "outside: not running".to_owned(),
        Assignment::Outside(Reason::Segment) => "outside: segment".to_owned(),
        Assignment::Outside(Reason::NoUnit) => "outside: no unit".to_owned(),
        Assignment::Outside(Reason::Holdout) => "outside: holdout".to_owned(),
        Assignment::Outside(Reason::Share) => "outside: share".to_owned(),
        Assignment::Outside(Reason::NoVariant) => "outside: no variant".to_owned(),
    }
}

#[test]
fn agrees_with_the_vectors() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    for case in vectors["buckets"].as_array().unwrap() {
        let (salt, id) = (text(&case["salt"]), text(&case["id"]));
        assert_eq!(u64::from(bucket_of(&salt, &id)), number(&case["bucket"]), "{case}");
    }
    for case in vectors["logarithms"].as_array().unwrap() {
        let hash = text(&case["hash"]).parse().unwrap();
        assert_eq!(minus_log2(hash).to_string(), text(&case["minus_log2"]), "{case}");
    }
    let cases = vectors["cases"].as_array().unwrap();
    assert!(cases.len() >= 40, "only {} cases", cases.len());
    for case in cases {
        let experiment = read_experiment(&vectors["experiments"][text(&case["experiment"])]);
        let attributes = case["attributes"].as_object().unwrap().iter();
        let request = Request {
            user: text(&case["user"]),
            request: text(&case["request"]),
            attributes: attributes.map(|(field, value)| (field.clone(), text(value))).collect(),
        };
        let found = name_of(experiment.assign(&request, number(&case["now_ms"])));
        assert_eq!(found, text(&case["expected"]), "{case}");
    }
}

#[test]
fn python_agrees_with_the_vectors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/experiment");
    let run = Command::new("python3")
        .arg(folder.join("assign.py"))
        .arg(folder.join("vectors.json"))
        .output();
    // Where there is no Python the Rust test above still holds both to the same vectors.
    if let Ok(output) = run {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

fn user(id: &str) -> Request {
    Request { user: id.to_owned(), request: String::new(), attributes: BTreeMap::new() }
}

fn assigned(experiment: &Experiment, index: u32) -> String {
    name_of(experiment.assign(&user(&format!("user-{index}")), 1_500))
}

#[test]
fn changed_weights_move_only_the_users_they_must() {
    // Share of users that move, and the variants they may move from and to.
    let check =
        |before: &[(&str, u32)], after: &[(&str, u32)], moved: f64, from: &str, to: &str| {
            let of = |weights: &[(&str, u32)]| {
                with(|it| {
                    it.variants = weights.iter().map(|(name, w)| variant(name, 1, *w)).collect();
                })
            };
            let (one, two) = (of(before), of(after));
            let mut moves = 0;
            for index in 0..4_000 {
                let (old, new) = (assigned(&one, index), assigned(&two, index));
                if old != new {
                    moves += 1;
                    assert!(from.is_empty() || old == from, "{before:?} {after:?}: {old} to {new}");
                    assert!(to.is_empty() || new == to, "{before:?} {after:?}: {old} to {new}");
                }
            }
            let share = f64::from(moves) / 4_000.0;
            assert!((share - moved).abs() < 0.025, "{before:?} {after:?}: {share} moved");
        };
    let even = [("a", 1), ("b", 1)];
    check(&even, &[("b", 500), ("a", 500)], 0.0, "", "");
    check(&even, &[("a", 1), ("b", 3)], 0.25, "a", "b");
    check(&even, &[("a", 99), ("b", 1)], 0.49, "b", "a");
    check(&even, &[("a", 1), ("b", 1), ("c", 2)], 0.5, "", "c");
    check(&[("a", 1), ("b", 1), ("c", 2)], &even, 0.5, "c", "");
    check(&even, &[("a", 0), ("b", 1)], 0.5, "a", "b");
}

#[test]
fn shares_are_those_of_the_weights() {
    let check = |weights: &[u32]| {
        let variants = || weights.iter().enumerate();
        let of = with(|it| {
            it.variants = variants().map(|(i, w)| variant(&format!("v{i}"), 1, *w)).collect();
        });
        let mut counts = BTreeMap::new();
        for index in 0..8_000 {
            *counts.entry(assigned(&of, index)).or_insert(0_u32) += 1;
        }
        let total: u32 = weights.iter().sum();
        for (index, weight) in variants() {
            let expected = f64::from(*weight) / f64::from(total);
            let found = f64::from(counts.get(&format!("v{index}")).copied().unwrap_or(0)) / 8e3;
            let allowed = 4.0 * (expected * (1.0 - expected) / 8e3).sqrt();
            assert!((found - expected).abs() <= allowed, "{weights:?}: v{index} got {found}");
        }
    };
    check(&[1, 1]);
    check(&[99, 1]);
    check(&[5, 3, 2, 0]);
    check(&[1; 20]);
}

#[test]
fn draws_of_layer_holdout_and_variants_are_independent() {
    let check = |first: &dyn Fn(&str) -> bool, second: &dyn Fn(&str) -> bool| {
        let mut counts = [0_u32; 4];
        for index in 0..8_000 {
            let id = format!("user-{index}");
            counts[usize::from(first(&id)) * 2 + usize::from(second(&id))] += 1;
        }
        let [neither, right, left, both] = counts.map(f64::from);
        let odds = (both * neither / (left * right)).ln();
        let error = counts.iter().map(|count| 1.0 / f64::from(*count)).sum::<f64>().sqrt();
        assert!(odds.abs() < 4.0 * error, "{counts:?}");
    };
    let tone = with(|_| {});
    let other = with(|it| it.name = "length".to_owned());
    let layer = |id: &str| bucket_of("layer:wording", id) < 5_000;
    let holdout = |id: &str| bucket_of("holdout:wording", id) < 5_000;
    let short = |id: &str| name_of(tone.assign(&user(id), 1_500)) == "short";
    let length = |id: &str| name_of(other.assign(&user(id), 1_500)) == "short";
    check(&layer, &holdout);
    check(&layer, &short);
    check(&holdout, &short);
    check(&short, &length);
}

#[test]
fn experiments_of_one_layer_never_share_a_user() {
    let half = |name: &str, from: u16, until: u16| {
        with(|it| {
            it.name = name.to_owned();
            it.layer = Some("wording".to_owned());
            it.share = Share { from, until };
        })
    };
    let (one, two) = (half("one", 0, 5_000), half("two", 5_000, 10_000));
    for index in 0..2_000 {
        let inside =
            [&one, &two].map(|it| !assigned(it, index).starts_with("outside")).map(u8::from);
        assert_eq!(inside[0] + inside[1], 1, "user-{index}");
    }
}
