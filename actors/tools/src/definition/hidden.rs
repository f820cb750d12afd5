//! Characters that people do not see and models read: a way to tell a model what nobody reviewed.

use serde_json::Value;

use crate::problem::Problem;

/// # Errors
/// The first text in the value, or name of a field, that holds a hidden character.
pub(super) fn check(path: &str, value: Option<&Value>) -> Result<(), Problem> {
    match value {
        Some(Value::String(text)) => check_text(path, text),
        Some(Value::Array(entries)) => {
            let mut entries = entries.iter().enumerate();
            entries.try_for_each(|(place, entry)| check(&format!("{path}[{place}]"), Some(entry)))
        }
        Some(Value::Object(fields)) => fields.iter().try_for_each(|(name, field)| {
            check_text(path, name)?;
            check(&format!("{path}.{name}"), Some(field))
        }),
        _ => Ok(()),
    }
}

fn check_text(path: &str, text: &str) -> Result<(), Problem> {
    match text.chars().find(|one| is_hidden(*one)) {
        None => Ok(()),
        Some(one) => {
            let code = u32::from(one);
            let problem = format!("holds the invisible character U+{code:04X}; remove it");
            Err(Problem::new(path, problem))
        }
    }
}

/// Controls but for line ends and tabs, marks of width 0 that join nothing, marks that turn the
/// direction of text, and tags.
fn is_hidden(one: char) -> bool {
    let is_control = one.is_control() && !matches!(one, '\n' | '\r' | '\t');
    is_control
        || matches!(one, '\u{200B}' | '\u{2060}'..='\u{2064}' | '\u{FEFF}')
        || matches!(one, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
        || matches!(one, '\u{E0000}'..='\u{E007F}')
}
