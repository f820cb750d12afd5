//! Policies and sessions: which entities, which scores, and one replacement for one value.

use std::sync::Arc;

use super::{found, redacted, redactor, redactor_of, rules, session};
use crate::redaction::{
    Action, Entity, HashKey, RedactError, RedactionPolicy, RedactionSession, Redactor, Rule,
};

#[test]
fn each_action_does_what_it_is_called() {
    let text = "Ada Lovelace <ada@example.com>, again ada@example.com, b@example.com";
    for (action, expected) in [
        (Action::Mask, "[PERSON] <[EMAIL]>, again [EMAIL], [EMAIL]"),
        (Action::Token, "<PERSON_1> <<EMAIL_1>>, again <EMAIL_1>, <EMAIL_2>"),
    ] {
        assert_eq!(redacted(&mut session(action), text), expected);
    }
    let hashed = redacted(&mut session(Action::Hash), text);
    let hashes: Vec<&str> =
        hashed.match_indices("[EMAIL:").map(|(place, _)| &hashed[place..place + 24]).collect();
    assert_eq!(hashes.len(), 3, "{hashed}");
    assert!(hashes[0] == hashes[1] && hashes[1] != hashes[2], "{hashed}");
    assert!(!hashed.contains("ada@"), "{hashed}");
    let blocked = session(Action::Block).redact(&redactor(), text, &|| false);
    assert_eq!(blocked, Err(RedactError::Blocked { entity: Entity::Person }));
}

#[test]
fn a_hash_hangs_on_its_key() {
    let hash = |key: &str| {
        let redactor = Redactor::new(HashKey::new(key), None).expect("patterns compile");
        let text = session(Action::Hash).redact(&redactor, "ada@example.com", &|| false);
        text.expect("nothing is blocked")
    };
    assert_eq!(hash("one"), hash("one"));
    assert_ne!(hash("one"), hash("two"));
}

#[test]
fn a_value_has_one_token_over_all_messages() {
    let mut session = session(Action::Token);
    for (text, expected) in [
        ("I am ada@example.com", "I am <EMAIL_1>"),
        ("and 203.0.113.9", "and <IP_1>"),
        ("write to b@example.com or ada@example.com", "write to <EMAIL_2> or <EMAIL_1>"),
    ] {
        assert_eq!(redacted(&mut session, text), expected);
    }
    assert_eq!(session.counts().get(&Entity::Email), Some(&3));
    assert!(!format!("{session:?}").contains("ada"), "values reach no log");
}

#[test]
fn a_token_that_the_client_wrote_is_given_to_no_value() {
    let mut session = session(Action::Token);
    let text = "what is <EMAIL_1>? mail a@example.com";
    assert_eq!(redacted(&mut session, text), "what is <EMAIL_1>? mail <EMAIL_2>");
    let restored = session.tokens().restorer().push("<EMAIL_1> is not <EMAIL_2>");
    assert_eq!(restored, "<EMAIL_1> is not a@example.com");
}

#[test]
fn what_has_no_rule_or_too_low_a_score_stays() {
    let text = "mail a@example.com or call 0171 2345678";
    let mut own = RedactionSession::new(Arc::new(rules(&[(Entity::Phone, Action::Mask)])));
    assert_eq!(redacted(&mut own, text), "mail a@example.com or call [PHONE]");
    let mut policy = rules(&[(Entity::Phone, Action::Mask)]);
    policy.rules.insert(Entity::Phone, Rule { action: Action::Mask, threshold_percent: 100 });
    let mut own = RedactionSession::new(Arc::new(policy));
    assert_eq!(redacted(&mut own, text), text);
    // A card is no telephone number where cards have no rule.
    let mut own = RedactionSession::new(Arc::new(rules(&[(Entity::Phone, Action::Mask)])));
    let card = "pay with 4111 1111 1111 1111";
    assert_eq!(redacted(&mut own, card), card);
}

#[test]
fn overlaps_are_one_finding_of_the_surest() {
    for (text, expected) in [
        ("https://u:p@example.com/", vec![(Entity::UrlCredentials, "u:p")]),
        ("card 4111 1111 1111 1111", vec![(Entity::Card, "4111 1111 1111 1111")]),
        ("SSN 536-90-4399", vec![(Entity::Ssn, "536-90-4399")]),
        ("203.0.113.9", vec![(Entity::Ip, "203.0.113.9")]),
    ] {
        let own = found(text);
        let own: Vec<(Entity, &str)> = own.iter().map(|own| (own.0, own.1.as_str())).collect();
        assert_eq!(own, expected);
    }
}

#[test]
fn long_texts_are_looked_through_in_windows_and_lose_nothing() {
    let policy = RedactionPolicy::of(Action::Mask, &[Entity::Email]);
    for step in [97, 511, 1_003] {
        let mut text = String::new();
        for number in 0..200 {
            text.push_str(&"x ".repeat(step / 2));
            text.push_str(&format!("person{number}@example.com "));
        }
        let found = redactor().find(&policy, &text, &|| false).expect("it does not stop");
        let own: Vec<&str> = found.iter().map(|own| &text[own.range.clone()]).collect();
        let expected: Vec<String> =
            (0..200).map(|number| format!("person{number}@example.com")).collect();
        assert_eq!(own, expected, "one every {step} bytes");
    }
    // No blank to cut at, and characters of several bytes.
    for text in ["ü".repeat(20_001), "1".repeat(30_000), "a@".repeat(15_000)] {
        redactor().find(&policy, &text, &|| false).expect("it does not stop");
    }
}

#[test]
fn it_stops_when_asked() {
    let text = "a@example.com";
    let policy = RedactionPolicy::of(Action::Mask, &Entity::ALL);
    let stopped = redactor_of(None).find(&policy, text, &|| true);
    assert_eq!(stopped, Err(RedactError::Stopped));
}
