//! Fingerprints: the same arguments have the same one, however their keys are ordered.

use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// JSON without spaces, keys of objects in the order of their bytes.
pub fn canonical_text(value: &Value) -> String {
    let mut text = String::new();
    write_value(value, &mut text);
    text
}

/// SHA-256 of [`canonical_text`], in hexadecimal.
pub fn sha256_of_value(value: &Value) -> String {
    sha256_of_text(&canonical_text(value))
}

/// SHA-256 of a text, in hexadecimal.
pub fn sha256_of_text(text: &str) -> String {
    let mut hexadecimal = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        let _ = write!(hexadecimal, "{byte:02x}");
    }
    hexadecimal
}

// serde_json reads at most 128 levels, so the depth is bounded.
fn write_value(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_value(item, text);
            }
            text.push(']');
        }
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(key, _)| key.as_bytes());
            text.push('{');
            for (index, (key, item)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                let _ = write!(text, "{}:", Value::String(key.clone()));
                write_value(item, text);
            }
            text.push('}');
        }
        plain => {
            let _ = write!(text, "{plain}");
        }
    }
}
