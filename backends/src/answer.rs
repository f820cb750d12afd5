//! What a backend answers.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The answer of a tool. A tool that says that it failed has answered all the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub content: Content,
    /// The tool says that it failed; `content` tells why.
    pub is_error: bool,
    /// Bytes that the backend sent to us.
    pub bytes_in: u64,
    /// Bytes that we sent to the backend.
    pub bytes_out: u64,
    /// Hosts outside that were spoken to, in their order.
    pub reached: Vec<Reached>,
}

/// A host outside that was spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    pub host: String,
    pub port: u16,
    /// Bytes to the host.
    pub bytes_out: u64,
    /// Bytes from the host.
    pub bytes_in: u64,
}

/// What an answer holds.
#[derive(Clone, PartialEq)]
pub enum Content {
    Json(Value),
    Text {
        media_type: String,
        text: String,
    },
    Bytes {
        media_type: String,
        bytes: Vec<u8>,
    },
    /// Several parts in their order, such as a text and an image.
    Parts(Vec<Part>),
}

/// One part of an answer of several.
#[derive(Clone, PartialEq)]
pub enum Part {
    Text {
        media_type: String,
        text: String,
    },
    Bytes {
        media_type: String,
        bytes: Vec<u8>,
    },
    /// An address where more is to be had; nobody has fetched it.
    Link {
        uri: String,
        name: String,
        media_type: Option<String>,
    },
}

impl Content {
    /// Plain text.
    pub fn text(text: impl Into<String>) -> Content {
        Content::Text { media_type: "text/plain".to_owned(), text: text.into() }
    }

    /// Bytes that the content holds, without what its shape adds.
    pub fn bytes_len(&self) -> u64 {
        match self {
            Content::Json(value) => value.to_string().len() as u64,
            Content::Text { text, .. } => text.len() as u64,
            Content::Bytes { bytes, .. } => bytes.len() as u64,
            Content::Parts(parts) => parts.iter().map(Part::bytes_len).sum(),
        }
    }

    /// The content as one JSON value: JSON as it is, plain text as a string, all else as objects
    /// with `media_type` and `text`, `base64` or `uri`.
    pub fn to_json(&self) -> Value {
        match self {
            Content::Json(value) => value.clone(),
            Content::Text { media_type, text } => text_json(media_type, text),
            Content::Bytes { media_type, bytes } => bytes_json(media_type, bytes),
            Content::Parts(parts) => parts.iter().map(Part::to_json).collect(),
        }
    }
}

impl Part {
    fn bytes_len(&self) -> u64 {
        match self {
            Part::Text { text, .. } => text.len() as u64,
            Part::Bytes { bytes, .. } => bytes.len() as u64,
            Part::Link { uri, name, .. } => (uri.len() + name.len()) as u64,
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Part::Text { media_type, text } => text_json(media_type, text),
            Part::Bytes { media_type, bytes } => bytes_json(media_type, bytes),
            Part::Link { uri, name, media_type } => {
                json!({"uri": uri, "name": name, "media_type": media_type})
            }
        }
    }
}

fn text_json(media_type: &str, text: &str) -> Value {
    match media_type {
        "text/plain" => Value::String(text.to_owned()),
        _ => json!({"media_type": media_type, "text": text}),
    }
}

fn bytes_json(media_type: &str, bytes: &[u8]) -> Value {
    json!({"media_type": media_type, "base64": STANDARD.encode(bytes)})
}

/// What tools answer belongs to the tenant; only its kind and size are shown.
impl fmt::Debug for Content {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Content::Json(_) => "json",
            Content::Text { media_type, .. } | Content::Bytes { media_type, .. } => media_type,
            Content::Parts(_) => "parts",
        };
        write!(formatter, "Content({kind}, {} bytes)", self.bytes_len())
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Part::Text { media_type, .. } | Part::Bytes { media_type, .. } => media_type,
            Part::Link { .. } => "link",
        };
        write!(formatter, "Part({kind}, {} bytes)", self.bytes_len())
    }
}

#[cfg(test)]
mod tests;
