//! One line of JSON as a document: `{"id": text, "text": text, "fields": {..}?}`.

use std::collections::BTreeMap;

use headwater_embedding::ingest::LineProblem;
use headwater_vectors::Value;
use serde_json::{Map, Value as Json};

use super::nouns::{BadLine, Document};
use crate::collection::{DOCUMENT_ID_BYTES, FIELD_NAME_BYTES, FIELDS, FIELDS_BYTES};

/// Longest text, in bytes. With all that goes with it, it fits into one of the store's
/// transactions, which hold 10,000,000.
const TEXT_BYTES: usize = 8 << 20;

fn bad(field: Option<&str>, problem: impl Into<String>) -> BadLine {
    BadLine { field: field.map(str::to_owned), problem: problem.into() }
}

/// What the client hears of a line that could not be read at all.
pub(super) fn unreadable(problem: LineProblem) -> BadLine {
    match problem {
        LineProblem::TooLong { allowed_bytes } => {
            bad(None, format!("the line is longer than {allowed_bytes} bytes; split the document"))
        }
        LineProblem::NotUtf8 { byte } => {
            bad(None, format!("the line is not valid UTF-8 at byte {byte}; write it as UTF-8"))
        }
    }
}

/// Reads a line.
///
/// # Errors
/// [`BadLine`] names the field at fault; it never quotes the text.
pub(super) fn document(line: &str) -> Result<Document, BadLine> {
    let read: Json = serde_json::from_str(line).map_err(|error| {
        bad(None, format!("the line is not valid JSON at column {}", error.column()))
    })?;
    let Json::Object(mut object) = read else {
        return Err(bad(None, "the line must be a JSON object with id and text"));
    };
    let id = text_of(&mut object, "id")?;
    if id.is_empty() || id.len() > DOCUMENT_ID_BYTES || id.chars().any(char::is_control) {
        let allowed = format!("must have 1 to {DOCUMENT_ID_BYTES} bytes and no control characters");
        return Err(bad(Some("id"), allowed));
    }
    let text = text_of(&mut object, "text")?;
    if text.trim().is_empty() {
        return Err(bad(Some("text"), "must hold more than white space"));
    }
    if text.len() > TEXT_BYTES {
        let problem = format!(
            "has {} bytes; at most {TEXT_BYTES} are allowed; split the document",
            text.len()
        );
        return Err(bad(Some("text"), problem));
    }
    let fields = match object.remove("fields") {
        None | Some(Json::Null) => BTreeMap::new(),
        Some(Json::Object(fields)) => fields_of(fields)?,
        Some(_) => return Err(bad(Some("fields"), "must be an object")),
    };
    match object.keys().next() {
        Some(_) => Err(bad(None, "the line has a field that is none of id, text and fields")),
        None => Ok(Document { id, text, fields }),
    }
}

fn text_of(object: &mut Map<String, Json>, field: &str) -> Result<String, BadLine> {
    match object.remove(field) {
        Some(Json::String(text)) => Ok(text),
        Some(_) => Err(bad(Some(field), "must be a string")),
        None => Err(bad(Some(field), "is missing; each line needs id and text")),
    }
}

fn fields_of(given: Map<String, Json>) -> Result<BTreeMap<String, Value>, BadLine> {
    if given.len() > FIELDS {
        let problem = format!("has {} fields; at most {FIELDS} are allowed", given.len());
        return Err(bad(Some("fields"), problem));
    }
    let mut fields = BTreeMap::new();
    for (name, value) in given {
        // Before anything else: the name itself becomes part of what the client is told.
        if name.is_empty() || name.len() > FIELD_NAME_BYTES || name.starts_with('$') {
            let problem = format!(
                "a field's name must have 1 to {FIELD_NAME_BYTES} bytes and not start with '$'"
            );
            return Err(bad(Some("fields"), problem));
        }
        let (name, value) = field(name, value)?;
        let bytes = field_bytes(&name, &value);
        if bytes > FIELDS_BYTES {
            let problem = format!(
                "takes {bytes} bytes; all fields of a line together may take {FIELDS_BYTES}; put long texts into text"
            );
            return Err(bad(Some(&format!("fields.{name}")), problem));
        }
        fields.insert(name, value);
    }
    let bytes: usize = fields.iter().map(|(name, value)| field_bytes(name, value)).sum();
    if bytes > FIELDS_BYTES {
        let problem = format!(
            "take {bytes} bytes together; at most {FIELDS_BYTES} are allowed; leave some out"
        );
        return Err(bad(Some("fields"), problem));
    }
    Ok(fields)
}

/// What a field counts, in bytes.
pub(super) fn field_bytes(name: &str, value: &Value) -> usize {
    name.len() + if let Value::Text(text) = value { text.len() } else { size_of::<f64>() }
}

fn field(name: String, value: Json) -> Result<(String, Value), BadLine> {
    let value = match value {
        Json::Bool(value) => Value::Bool(value),
        Json::String(value) => Value::Text(value),
        Json::Number(number) => match number.as_f64() {
            Some(value) if value.is_finite() => Value::Number(value),
            _ => return Err(bad(Some(&format!("fields.{name}")), "must be a finite number")),
        },
        _ => {
            let field = format!("fields.{name}");
            return Err(bad(Some(&field), "must be a boolean, a number or a string"));
        }
    };
    Ok((name, value))
}
