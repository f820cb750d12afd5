//! Which changes of a set change its judges, and when a new judge is too far from the old one.

use serde_json::{Value, json};

use crate::{Case, Drift, Rescored, judge_changes, judged_now};

fn case(id: &str, judge: &Value, rubric: &str, expected: &str) -> Case {
    let judge = judge.clone();
    let case = json!({"id": id, "expected": expected, "judge": judge, "rubric": rubric});
    serde_json::from_value(case).unwrap()
}

fn llm(model: &str, version: u64) -> Value {
    json!({"type": "llm", "model": model, "prompt": "judge", "version": version})
}

#[test]
fn a_changed_measure_is_found_and_a_new_case_is_none() {
    let (old, exact) = (llm("chat", 1), json!({"type": "exact"}));
    let before = [case("a", &old, "kind", "x"), case("b", &exact, "", "x")];
    let a = || case("a", &old, "kind", "x");
    let b = || case("b", &exact, "", "x");
    let cases: [(&str, Vec<Case>, &[&str]); 9] = [
        ("nothing", vec![b(), a()], &[]),
        ("another expectation", vec![case("a", &old, "kind", "y"), b()], &[]),
        ("a case more, judged the same", vec![a(), b(), case("c", &old, "short", "")], &[]),
        (
            "a rule of its own",
            vec![a(), b(), case("c", &json!({"type": "contains"}), "", "z")],
            &[],
        ),
        ("a case less", vec![a()], &[]),
        (
            "another model",
            vec![case("a", &llm("large", 1), "kind", "x"), b()],
            &["the judge of the case 'a'"],
        ),
        (
            "another prompt",
            vec![case("a", &llm("chat", 2), "kind", "x"), b()],
            &["the judge of the case 'a'"],
        ),
        (
            "another rubric",
            vec![case("a", &old, "strict", "x"), b()],
            &["the judge of the case 'a'"],
        ),
        (
            "another name for a case with another model",
            vec![case("c", &llm("large", 1), "", "x")],
            &["the judge llm large asked by judge@1"],
        ),
    ];
    for (what, after, expected) in cases {
        assert_eq!(judge_changes(&before, &after), expected, "{what}");
    }
}

#[test]
fn anchors_are_judged_by_what_took_their_judges_place() {
    let exact = json!({"type": "exact"});
    let before = [case("a", &llm("chat", 1), "kind", "x"), case("b", &exact, "", "x")];
    let renamed = [case("c", &llm("large", 2), "", "x")];
    let (judge, rubric) = judged_now(&before[0], &before, &renamed).unwrap();
    assert_eq!((judge.name().as_str(), rubric.as_str()), ("llm large asked by judge@2", "kind"));
    assert_eq!(judged_now(&before[1], &before, &renamed), None);
    let stricter = [case("a", &llm("chat", 1), "strict", "y")];
    assert_eq!(judged_now(&before[0], &before, &stricter).unwrap().1, "strict");
    assert_eq!(judged_now(&before[0], &before, &before), None);
}

#[test]
fn a_judge_that_says_something_else_is_too_far_away() {
    /// The old score, the new one, how often, and what is said of all of them.
    type Compared = (&'static [(f64, f64, usize)], &'static [&'static str]);
    let scores = |pairs: &[(f64, f64, usize)]| -> Vec<Rescored> {
        let one = |(old, new)| Rescored { eval: 1, case: "a".to_owned(), old, new };
        pairs.iter().flat_map(|(old, new, times)| vec![one((*old, *new)); *times]).collect()
    };
    let cases: [Compared; 6] = [
        (&[(1.0, 1.0, 15), (0.0, 0.0, 5)], &[]),
        // One flip in many, where all others are good, says little about kappa.
        (&[(1.0, 1.0, 39), (1.0, 0.0, 1)], &[]),
        (&[(1.0, 1.0, 5), (0.0, 0.0, 4)], &["it judged 9 answers of at least 10"]),
        (
            &[(1.0, 0.9, 15), (0.0, 0.0, 5)],
            &["its mean is 0.675 against 0.750, more than 0.05 apart"],
        ),
        (
            &[(1.0, 1.0, 20), (0.0, 0.0, 10), (0.6, 0.4, 2), (0.4, 0.6, 2)],
            &["4 of 34 verdicts flipped, more than 10 %"],
        ),
        (
            &[(1.0, 0.0, 10), (0.0, 1.0, 10)],
            &[
                "20 of 20 verdicts flipped, more than 10 %",
                "kappa is -1.00 (-1.00 to -0.68), surely below 0.6",
            ],
        ),
    ];
    for (pairs, expected) in cases {
        let drift = Drift::of(&scores(pairs)).unwrap();
        assert_eq!(drift.problems(), expected, "{pairs:?}: {drift:?}");
    }
    assert_eq!(Drift::of(&[]), None);
}
