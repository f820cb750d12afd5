//! What stands for a secret in a rendered text until the moment it is sent. The characters are of
//! Unicode's private use area, no caller may send them as a variable, and only texts that a
//! template made are looked through, so that nobody can ask for a secret by writing its marker.

use serde_json::Value;

const OPEN: char = '\u{F8F0}';
const CLOSE: char = '\u{F8F1}';

/// The marker of a secret.
pub(crate) fn marker(name: &str) -> String {
    format!("{OPEN}{name}{CLOSE}")
}

/// Whether a text holds one of the markers' characters.
pub fn text_holds_marker(text: &str) -> bool {
    text.contains([OPEN, CLOSE])
}

/// Whether any text of it, keys included, does.
pub fn holds_marker(value: &Value) -> bool {
    match value {
        Value::String(text) => text_holds_marker(text),
        Value::Array(entries) => entries.iter().any(holds_marker),
        Value::Object(fields) => {
            fields.iter().any(|(name, value)| text_holds_marker(name) || holds_marker(value))
        }
        _ => false,
    }
}

/// The text with each marker replaced by what `value` says for its secret's name; a marker that it
/// knows nothing for stays.
pub fn replace_markers<'a>(text: &str, value: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPEN) {
        replaced.push_str(before);
        let named = after.split_once(CLOSE);
        match named.and_then(|(name, behind)| value(name).map(|value| (value, behind))) {
            Some((value, behind)) => {
                replaced.push_str(value);
                rest = behind;
            }
            None => {
                replaced.push(OPEN);
                rest = after;
            }
        }
    }
    replaced.push_str(rest);
    replaced
}

/// The text as people may see it: each marker as the template wrote it.
pub fn show_markers(text: &str) -> String {
    text.replace(OPEN, "{{ secret.").replace(CLOSE, " }}")
}
