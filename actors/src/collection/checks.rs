//! What a document must keep to be put.

use std::collections::BTreeMap;

use headwater_vectors::Value;

use super::handle::checked_name;
use super::nouns::{ChunkText, CollectionError};

/// Longest chunk, in bytes.
const CHUNK_BYTES: usize = 1 << 20;
/// Most chunks of a document.
const DOCUMENT_CHUNKS: usize = 1 << 20;
/// Longest id of a document, in bytes: it is part of keys.
pub(crate) const DOCUMENT_ID_BYTES: usize = 1_024;
pub(crate) const FIELDS: usize = 64;
pub(crate) const FIELD_NAME_BYTES: usize = 128;
/// Most bytes of a document's fields together.
pub(crate) const FIELDS_BYTES: usize = 32 << 10;

type Outcome<T> = Result<T, CollectionError>;

pub(super) fn checked_document(document: &str) -> Outcome<()> {
    checked_name("document", document, DOCUMENT_ID_BYTES)
}

fn invalid(field: &'static str, problem: String) -> CollectionError {
    CollectionError::Invalid { field, problem }
}

pub(super) fn checked_fields(fields: &BTreeMap<String, Value>) -> Outcome<()> {
    if fields.len() > FIELDS {
        let text = format!("{} fields are given; at most {FIELDS} are allowed", fields.len());
        return Err(invalid("fields", text));
    }
    let mut bytes = 0;
    for (name, value) in fields {
        if name.is_empty() || name.len() > FIELD_NAME_BYTES || name.starts_with('$') {
            let text = format!(
                "a field's name has 1 to {FIELD_NAME_BYTES} bytes and does not start with '$'"
            );
            return Err(invalid("fields", text));
        }
        if matches!(value, Value::Number(number) if !number.is_finite()) {
            return Err(invalid("fields", format!("field '{name}' is no finite number")));
        }
        bytes += name.len() + if let Value::Text(text) = value { text.len() } else { 8 };
    }
    if bytes > FIELDS_BYTES {
        let text = format!("the fields take {bytes} bytes; at most {FIELDS_BYTES} are allowed");
        return Err(invalid("fields", text));
    }
    Ok(())
}

pub(super) fn checked_chunks(chunks: &[ChunkText]) -> Outcome<()> {
    if chunks.len() > DOCUMENT_CHUNKS {
        let text = format!(
            "the document has {} chunks; at most {DOCUMENT_CHUNKS} are allowed; split it",
            chunks.len()
        );
        return Err(invalid("chunks", text));
    }
    for (place, chunk) in chunks.iter().enumerate() {
        if chunk.ordinal as usize != place {
            let text = "ordinals count from 0 on without gaps or repetitions".to_owned();
            return Err(invalid("chunks", text));
        }
        if chunk.text.is_empty() || chunk.text.len() > CHUNK_BYTES {
            let text = format!(
                "chunk {place} has {} bytes; 1 to {CHUNK_BYTES} are allowed",
                chunk.text.len()
            );
            return Err(invalid("chunks", text));
        }
    }
    Ok(())
}
