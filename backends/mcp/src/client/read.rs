//! A server's answers in the port's nouns.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use headwater_backends::{Content, Part, SecretHeader, blank};
use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};
use serde_json::Value;

/// The content, whether the tool has failed, and how many bytes it was.
pub(super) fn answer(result: CallToolResult, secrets: &[SecretHeader]) -> (Content, bool, u64) {
    let is_error = result.is_error == Some(true);
    let content = match result.structured_content {
        Some(value) => Content::Json(blanked(value, secrets)),
        None => {
            let mut parts: Vec<Part> =
                result.content.into_iter().map(|block| part(block, secrets)).collect();
            match parts.pop() {
                None => Content::Json(Value::Null),
                Some(Part::Text { media_type, text }) if parts.is_empty() => {
                    Content::Text { media_type, text }
                }
                Some(Part::Bytes { media_type, bytes }) if parts.is_empty() => {
                    Content::Bytes { media_type, bytes }
                }
                Some(last) => {
                    parts.push(last);
                    Content::Parts(parts)
                }
            }
        }
    };
    let bytes = content.bytes_len();
    (content, is_error, bytes)
}

fn part(block: ContentBlock, secrets: &[SecretHeader]) -> Part {
    match block {
        ContentBlock::Text(text) => plain(blank(&text.text, secrets)),
        ContentBlock::Image(image) => bytes(&image.data, image.mime_type),
        ContentBlock::Audio(audio) => bytes(&audio.data, audio.mime_type),
        ContentBlock::Resource(embedded) => match embedded.resource {
            ResourceContents::TextResourceContents { mime_type, text, .. } => Part::Text {
                media_type: mime_type.unwrap_or_else(|| "text/plain".to_owned()),
                text: blank(&text, secrets),
            },
            ResourceContents::BlobResourceContents { mime_type, blob, .. } => {
                bytes(&blob, mime_type.unwrap_or_else(|| "application/octet-stream".to_owned()))
            }
            _ => plain("a resource of a kind that is not known here".to_owned()),
        },
        ContentBlock::ResourceLink(link) => {
            Part::Link { uri: link.uri, name: link.name, media_type: link.mime_type }
        }
        _ => plain("a part of a kind that is not known here".to_owned()),
    }
}

fn plain(text: String) -> Part {
    Part::Text { media_type: "text/plain".to_owned(), text }
}

/// What is no base64 stays the text that it is.
fn bytes(data: &str, media_type: String) -> Part {
    match STANDARD.decode(data) {
        Ok(bytes) => Part::Bytes { media_type, bytes },
        Err(_) => plain(data.to_owned()),
    }
}

fn blanked(value: Value, secrets: &[SecretHeader]) -> Value {
    match value {
        Value::String(text) => Value::String(blank(&text, secrets)),
        Value::Array(values) => values.into_iter().map(|value| blanked(value, secrets)).collect(),
        Value::Object(map) => {
            map.into_iter().map(|(name, value)| (name, blanked(value, secrets))).collect()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests;
