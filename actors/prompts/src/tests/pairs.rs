//! What two orders of a pair come to, and what many pairs do.

use crate::{BothOrders, Case, Gates, Pair, PairOutcome, Pairs, Preference, pairwise_in};
use serde_json::json;

#[test]
fn what_a_judge_says_of_two_answers_is_read() {
    let cases = [
        ("{\"winner\": \"first\", \"reason\": \"r\"}", Some((Preference::First, "r"))),
        ("```json\n{\"winner\": \"second\"}\n```", Some((Preference::Second, ""))),
        ("{\"winner\": \"tie\"}", Some((Preference::Tie, ""))),
        ("{\"winner\": \"A\"}", None),
        ("{\"score\": 1.0}", None),
        ("first", None),
    ];
    for (said, expected) in cases {
        let read = Preference::read(said).ok();
        let expected = expected.map(|(winner, reason)| (winner, reason.to_owned()));
        assert_eq!(read, expected, "{said}");
    }
    let told = Preference::read("first").unwrap_err().to_string();
    assert!(told.contains("winner (first, second or tie)"), "{told}");
}

#[test]
fn only_what_both_orders_say_wins_or_loses() {
    use PairOutcome::{Loss, Tie as Even, Win};
    use Preference::{First, Second, Tie};
    let cases = [
        // A judge that likes one answer wherever it stands.
        (First, Second, Win, 1.0, true),
        (Second, First, Loss, 0.0, true),
        (Tie, Tie, Even, 0.5, true),
        // One that likes a place.
        (First, First, Even, 0.5, false),
        (Second, Second, Even, 0.5, false),
        // One that is sure in one order alone.
        (First, Tie, Even, 0.5, false),
        (Tie, First, Even, 0.5, false),
        (Second, Tie, Even, 0.5, false),
        (Tie, Second, Even, 0.5, false),
    ];
    for (version_first, baseline_first, outcome, score, agree) in cases {
        let both = BothOrders { version_first, baseline_first };
        let found = (both.outcome(), both.outcome().score("").value, both.agree());
        assert_eq!(found, (outcome, score, agree), "{both:?}");
    }
}

#[test]
fn pairs_are_counted_with_an_interval() {
    let pair =
        |outcome, orders_agree| Pair { baseline: 3, answer: String::new(), outcome, orders_agree };
    let pairs = [
        pair(PairOutcome::Win, true),
        pair(PairOutcome::Win, true),
        pair(PairOutcome::Tie, false),
        pair(PairOutcome::Tie, true),
        pair(PairOutcome::Loss, true),
    ];
    let counted = Pairs::of(3, &pairs);
    let expected = Pairs { baseline: 3, wins: 2, ties: 2, losses: 1, orders_disagreed: 1 };
    assert_eq!((counted, counted.compared()), (expected, 5));
    let rate = counted.win_rate().unwrap();
    // Wilson's interval of 3 of 5, as statsmodels' proportion_confint gives it.
    assert!((rate.estimate - 0.6).abs() < 1e-12, "{rate:?}");
    assert!((rate.lower - 0.230_724).abs() < 1e-5, "{rate:?}");
    assert!((rate.upper - 0.882_378).abs() < 1e-5, "{rate:?}");
    assert_eq!(Pairs::of(3, &[]).win_rate(), None);
}

#[test]
fn pairwise_judges_are_checked_and_named() {
    let judge = |prompt: &str, model: &str| {
        let judge = json!({"type": "pairwise", "model": model, "prompt": prompt, "version": 2});
        serde_json::from_value::<Case>(json!({"id": "a", "judge": judge})).unwrap()
    };
    let good = judge("compare", "chat");
    assert_eq!(good.judge.name(), "pairwise chat asked by compare@2");
    assert!(good.judge.measures() && !good.judge.needs_expected());
    assert_eq!(good.judge.decide("yes", "yes"), None);
    assert!(good.judge.check("judge").is_ok());
    for (prompt, model, field) in [("No", "chat", "judge.prompt"), ("compare", "", "judge.model")] {
        let problem = judge(prompt, model).judge.check("judge").unwrap_err();
        assert_eq!(problem.field, field);
    }
    let plain = serde_json::from_value::<Case>(json!({"id": "b", "judge": {"type": "contains"}}));
    assert!(!pairwise_in(&[plain.unwrap()]) && pairwise_in(&[good]));
    // A shadow's two answers get a score each.
    let shadow = json!({"judge": judge("compare", "chat").judge});
    let gates: Gates = serde_json::from_value(json!({"shadow": shadow})).unwrap();
    assert_eq!(gates.check().unwrap_err().field, "gates.shadow.judge");
}
