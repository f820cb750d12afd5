//! Which texts are names.

use super::{NameError, SecretName};

fn check(text: &str, expected: Result<(), NameError>) {
    assert_eq!(SecretName::new(text).map(|_| ()), expected, "{text}");
}

#[test]
fn names_are_told_from_other_texts() {
    let longest = "A".repeat(64);
    for text in ["A", "TOOL_API_KEY", "A0_", "K2", &longest] {
        check(text, Ok(()));
    }
    check("", Err(NameError::Empty));
    check(&"A".repeat(65), Err(NameError::TooLong { characters: 65 }));
    for (text, place) in
        [("_A", 1), ("0A", 1), ("a", 1), ("Ab", 2), ("A-B", 2), ("A/..", 2), ("AÄ", 2), ("A\n", 2)]
    {
        check(text, Err(NameError::Character { place }));
    }
}

#[test]
fn an_error_repeats_no_text_and_says_what_is_allowed() {
    let error = SecretName::new("sk-canary").unwrap_err().to_string();
    assert!(!error.contains("canary"), "{error}");
    assert!(error.contains("A to Z") && error.contains("rename"), "{error}");
}

#[test]
fn a_name_in_settings_is_checked() {
    assert!(serde_json::from_str::<SecretName>("\"TOOL_API_KEY\"").is_ok());
    assert!(serde_json::from_str::<SecretName>("\"tool\"").is_err());
}
