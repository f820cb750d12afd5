//! Which judge judges live answers, how many of them, and for how much.

use serde_json::{Value, json};

use crate::live::{Full, Judgings, LiveJudge, Measure};
use crate::{Case, Gates};

fn case(id: &str, judge: &Value, rubric: &str) -> Case {
    serde_json::from_value(json!({"id": id, "judge": judge, "rubric": rubric})).unwrap()
}

fn llm(version: u64) -> Value {
    json!({"type": "llm", "model": "chat", "prompt": "judge", "version": version})
}

#[test]
fn the_judge_is_the_sets_one_judging_model() {
    let regex = json!({"type": "regex", "pattern": "a"});
    let both =
        [case("a", &regex, ""), case("b", &llm(1), "be kind"), case("c", &llm(1), "be kind")];
    let measure = Measure::of(&both).unwrap();
    assert_eq!(
        (measure.judge.name().as_str(), measure.rubric.as_str()),
        ("llm chat asked by judge@1", "be kind")
    );
    // Rubrics that differ are those of their cases.
    let apart =
        Measure::of(&[case("b", &llm(1), "be kind"), case("c", &llm(1), "be short")]).unwrap();
    assert_eq!(apart.rubric, "");
    let newer = Measure::of(&[case("b", &llm(2), "be kind")]).unwrap();
    let named = [&measure, &apart, &newer].map(Measure::fingerprint);
    assert!(named[0] != named[1] && named[0] != named[2] && named[1] != named[2], "{named:?}");
    assert!(named.iter().all(|one| i64::try_from(*one).is_ok()));
    let none = Measure::of(&both[..1]).unwrap_err();
    assert_eq!(none.field, "gates.live_judge");
    let several = Measure::of(&[case("b", &llm(1), ""), case("c", &llm(2), "")]).unwrap_err();
    assert!(several.problem.contains("judge@1' and 'llm chat asked by judge@2"), "{several}");
}

#[test]
fn places_are_bounded_by_the_minute_and_the_days_budget() {
    let most = LiveJudge { per_mille: 1_000, per_minute: 2, budget_micro_usd: 100 };
    let (minute, day) = (60_000, 24 * 60 * 60_000);
    let now = 50 * day;
    let mut judgings = Judgings::default();
    let mut check = |at_ms: u64, pays: u64, expected: Result<(), Full>| {
        assert_eq!(judgings.take(&most, at_ms), expected, "at {at_ms}");
        judgings.pay(pays, at_ms);
    };
    check(now, 40, Ok(()));
    check(now + 1, 40, Ok(()));
    check(now + 2, 0, Err(Full::Minute));
    check(now + minute, 40, Ok(()));
    // 120 of 100 are spent: what was under way is paid, and nothing more begins that day.
    check(now + 2 * minute, 0, Err(Full::Budget));
    check(now + day - 1, 0, Err(Full::Budget));
    check(now + day, 0, Ok(()));
    check(now + day, 0, Ok(()));
    // A node whose clock is a day behind gets no second budget, and no second minute.
    check(now, 100, Err(Full::Minute));
    check(now + day + minute, 0, Err(Full::Budget));
}

#[test]
fn what_cannot_be_judged_live_is_refused() {
    let cases = [
        (json!({}), None),
        (json!({"per_mille": 0}), Some("gates.live_judge.per_mille: must be 1 to 1000")),
        (json!({"per_mille": 1_001}), Some("gates.live_judge.per_mille: must be 1 to 1000")),
        (json!({"per_minute": 0}), Some("gates.live_judge.per_minute: must be 1 to 600")),
        (
            json!({"budget_micro_usd": 0}),
            Some("gates.live_judge.budget_micro_usd: must be above 0"),
        ),
    ];
    for (live, expected) in cases {
        let gates = json!({"golden_set": "greetings", "live_judge": live});
        let gates: Gates = serde_json::from_value(gates).unwrap();
        match (gates.check(), expected) {
            (Ok(()), None) => {}
            (Err(problem), Some(told)) => {
                assert!(problem.to_string().starts_with(told), "{problem}")
            }
            (found, expected) => panic!("{found:?} is not {expected:?}"),
        }
    }
    let gates: Gates = serde_json::from_value(json!({"live_judge": {}})).unwrap();
    assert!(
        gates
            .check()
            .unwrap_err()
            .to_string()
            .starts_with("gates.live_judge: needs gates.golden_set")
    );
    assert_eq!(Gates::default().live_judge, None);
    assert!(serde_json::from_value::<Gates>(json!({"live_judge": {"per_hour": 1}})).is_err());
}
