//! What judges make of answers.

use serde_json::json;

use crate::{Case, GoldenSet, Judge, Score, mean_score};

#[test]
fn judges_that_need_no_model_decide() {
    let schema =
        json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}});
    let cases = [
        (json!({"type": "exact"}), "Yes", " Yes\n", 1.0),
        (json!({"type": "exact"}), "Yes", "yes", 0.0),
        (json!({"type": "exact", "ignore_case": true}), "Yes", "yes", 1.0),
        (json!({"type": "contains"}), "blue", "It is blue.", 1.0),
        (json!({"type": "contains", "texts": ["a", "z"]}), "", "abc", 0.0),
        (json!({"type": "regex", "pattern": "^\\d+$"}), "", "123", 1.0),
        (json!({"type": "regex", "pattern": "^\\d+$"}), "", "12c", 0.0),
        (json!({"type": "json_schema", "schema": schema}), "", "```json\n{\"a\": 1}\n```", 1.0),
        (json!({"type": "json_schema", "schema": schema}), "", "{\"a\": \"1\"}", 0.0),
        (json!({"type": "json_schema", "schema": schema}), "", "a: 1", 0.0),
    ];
    for (judge, expected, answer, value) in cases {
        let judge: Judge = serde_json::from_value(judge).unwrap();
        let score = judge.decide(expected, answer).unwrap();
        assert_eq!(score.value, value, "{judge:?} of {answer}: {}", score.reason);
        assert_eq!(score.reason.is_empty(), value == 1.0);
    }
}

#[test]
fn what_a_judging_model_says_is_read() {
    assert_eq!(
        Score::read("{\"score\": 0.5, \"reason\": \"half\"}").unwrap(),
        Score { value: 0.5, reason: "half".to_owned() }
    );
    for said in ["good", "{\"score\": 7}", "{\"reason\": \"x\"}"] {
        assert!(Score::read(said).is_err(), "{said}");
    }
    assert_eq!(Score::of_similarity(0.9, 0.8).value, 1.0);
    assert_eq!(Score::of_similarity(0.7, 0.8).reason, "is 0.700 alike, less than 0.800");
    assert_eq!(mean_score([(1.0, 3.0), (0.0, 1.0)]), Some(0.75));
    assert_eq!(mean_score([]), None);
}

#[test]
fn sets_that_cannot_be_judged_are_refused() {
    let case = |json| serde_json::from_value::<Case>(json).unwrap();
    let good = json!({"id": "a", "expected": "x", "judge": {"type": "exact"}});
    let cases = [
        (vec![], "cases: has 0 entries; 1 to 2000 are allowed"),
        (
            vec![good.clone(), good.clone()],
            "cases[1].id: must be 1 to 128 bytes, and no other case's",
        ),
        (
            vec![json!({"id": "a", "judge": {"type": "exact"}})],
            "cases[0].expected: is missing; its judge compares with it",
        ),
        (
            vec![json!({"id": "a", "weight": 0.0, "judge": {"type": "contains", "texts": ["a"]}})],
            "cases[0].weight: must be above 0, and at most 1000",
        ),
        (
            vec![
                json!({"id": "a", "judge": {"type": "llm", "model": "", "prompt": "judge", "version": 1}}),
            ],
            "cases[0].judge.model: is empty; name a model of the gateway",
        ),
    ];
    for (set, expected) in cases {
        let set: Vec<Case> = set.into_iter().map(case).collect();
        assert_eq!(GoldenSet::check(&set).unwrap_err().to_string(), expected);
    }
    assert!(GoldenSet::check(&[case(good)]).is_ok());
}
