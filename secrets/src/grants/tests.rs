//! What grants allow, and which make no sense.

use std::sync::Arc;

use crate::double::MemorySource;
use crate::{GrantedSource, SecretError, SecretGrants, SecretName, SecretSource};

fn name(text: &str) -> SecretName {
    SecretName::new(text).unwrap()
}

#[test]
fn nothing_is_allowed_unless_it_is_said() {
    let grants: SecretGrants =
        serde_json::from_str(r#"{"acme": ["ONE", "TWO"], "ops": ["*"], "none": []}"#).unwrap();
    let check = |team: &str, wanted: &str, allowed: bool| {
        let expected = if allowed { Ok(()) } else { Err(SecretError::denied(team, &name(wanted))) };
        assert_eq!(grants.check(team, &name(wanted)), expected, "{team} {wanted}");
    };
    for (team, wanted, allowed) in [
        ("acme", "ONE", true),
        ("acme", "TWO", true),
        ("acme", "ON", false),
        ("acme", "ONE_", false),
        ("ops", "ONE", true),
        ("none", "ONE", false),
        ("Acme", "ONE", false),
        ("acme ", "ONE", false),
        ("stranger", "ONE", false),
        ("", "ONE", false),
        ("*", "ONE", false),
    ] {
        check(team, wanted, allowed);
    }
    assert!(SecretGrants::default().check("ops", &name("ONE")).is_err());
}

#[test]
fn grants_that_make_no_sense_are_refused() {
    let check = |text: &str, expected: &str| {
        let error = serde_json::from_str::<SecretGrants>(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    };
    check(r#"{"*": ["ONE"]}"#, "name one team");
    check(r#"{"": ["ONE"]}"#, "name one team");
    check(r#"{"acme": ["*", "ONE"]}"#, "team `acme` has `*` beside names");
    check(r#"{"acme": ["ONE", "two"]}"#, "team `acme`, entry 2: the secret's name");
    check(r#"{"acme": ["T*"]}"#, "not allowed from character 2");
}

#[tokio::test]
async fn a_source_is_not_asked_for_what_was_not_granted() {
    let source = Arc::new(MemorySource::new());
    source.put("acme", name("ONE"), "1");
    source.put("acme", name("TWO"), "2");
    let grants = serde_json::from_str(r#"{"acme": ["ONE"]}"#).unwrap();
    let granted = GrantedSource::new(grants, source.clone());
    let denied = granted.get("acme", &name("TWO")).await.unwrap_err();
    assert_eq!(denied, SecretError::denied("acme", &name("TWO")));
    assert_eq!(source.asks(), 0);
    assert_eq!(granted.get("acme", &name("ONE")).await.unwrap().expose(), "1");
    assert_eq!(source.asks(), 1);
}
