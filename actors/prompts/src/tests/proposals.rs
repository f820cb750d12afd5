//! Flagged answers on their way into a golden set.

use serde_json::json;

use crate::{Acceptance, Case, Flag, Proposal};

fn flag() -> Flag {
    serde_json::from_value(json!({
        "variables": {"who": "Ann", "notes": [{"text": "call Bo"}, 7]},
        "messages": [{"role": "user", "content": "Hi"}],
        "answer": "Go away", "expected": "Hello Ann", "reason": "rude",
    }))
    .unwrap()
}

#[test]
fn every_text_is_seen_and_can_be_replaced() {
    let texts: Vec<String> = flag().texts().into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["Go away", "Hello Ann", "rude", "Hi", "call Bo", "Ann"]);
    let loud = texts.iter().map(|text| text.to_uppercase()).collect();
    let told = serde_json::to_value(flag().with_texts(loud)).unwrap();
    let expected = json!({
        "variables": {"who": "ANN", "notes": [{"text": "CALL BO"}, 7]},
        "messages": [{"role": "user", "content": "HI"}],
        "answer": "GO AWAY", "expected": "HELLO ANN", "reason": "RUDE",
    });
    assert_eq!(told, expected);
}

#[test]
fn the_same_again_is_the_same_proposal() {
    let other_answer = Flag { answer: "Leave".to_owned(), reason: String::new(), ..flag() };
    assert_eq!(flag().id(), other_answer.id());
    assert_ne!(flag().id(), Flag { expected: String::new(), ..flag() }.id());
    assert_eq!(flag().id().len(), 16);
}

#[test]
fn a_flag_is_bounded() {
    let long = Flag { answer: "x".repeat(20_001), ..flag() };
    assert!(long.check().unwrap_err().to_string().starts_with("flag: has 20"));
    let none = Flag { answer: " ".to_owned(), ..flag() };
    assert!(none.check().unwrap_err().to_string().starts_with("flag.answer: is missing"));
    assert!(flag().check().is_ok());
}

#[test]
fn an_editor_says_how_the_case_is_judged() {
    let proposal = Proposal {
        id: flag().id(),
        golden_set: "greetings".to_owned(),
        flag: flag(),
        by: "ann".to_owned(),
        created_ms: 1,
        times: 2,
    };
    let set = |judges: &[&str]| -> Vec<Case> {
        let case = |judge: &&str| json!({"id": "a", "expected": "x", "judge": {"type": judge}});
        judges.iter().map(case).map(|case| serde_json::from_value(case).unwrap()).collect()
    };
    let none = proposal.case(Acceptance::default(), &set(&["exact", "contains"])).unwrap_err();
    assert!(none.to_string().starts_with("judge: is missing"), "{none}");
    let own = proposal.case(Acceptance::default(), &set(&["exact", "exact"])).unwrap();
    assert_eq!((own.id, own.expected), (proposal.case_id(), "Hello Ann".to_owned()));
    let taken: Acceptance = serde_json::from_value(json!({
        "case": "rude", "expected": "Hello", "judge": {"type": "contains"},
    }))
    .unwrap();
    let taken = proposal.case(taken, &set(&["exact"])).unwrap();
    assert_eq!((taken.id.as_str(), taken.expected.as_str()), ("rude", "Hello"));
    assert_eq!(taken.judge.name(), "contains");
}
