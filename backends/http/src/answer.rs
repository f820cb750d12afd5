//! Reads an answer within its limits.

use headwater_backends::{BackendError, Content, SecretHeader, blank};
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;

/// Longest part that is read of an error's body, in bytes.
const ERROR_BYTES_MAX: usize = 16 << 10;
/// Longest part of a backend's own words in an error, in characters.
const WORDS_MAX: usize = 500;

/// The media type in lower case, without its parameters.
pub(crate) fn media_type(response: &Response) -> Option<String> {
    let kind = response.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    (!kind.is_empty()).then_some(kind)
}

/// The whole body, of at most `bytes_max` bytes.
pub(crate) async fn read(response: &mut Response, bytes_max: u64) -> Result<Vec<u8>, BackendError> {
    let too_large = || BackendError::TooLarge { bytes_max };
    if response.content_length().is_some_and(|length| length > bytes_max) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(bytes)) => {
                if (body.len() + bytes.len()) as u64 > bytes_max {
                    return Err(too_large());
                }
                body.extend_from_slice(&bytes);
            }
            Ok(None) => return Ok(body),
            Err(_) => {
                let why = "the connection broke within the answer".to_owned();
                return Err(BackendError::Unknown { why });
            }
        }
    }
}

/// The beginning of a body that tells of an error; a broken one ends where it breaks.
pub(crate) async fn read_error(response: &mut Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(bytes)) = response.chunk().await {
        body.extend_from_slice(&bytes);
        if body.len() > ERROR_BYTES_MAX {
            body.truncate(ERROR_BYTES_MAX);
            break;
        }
    }
    body
}

/// JSON as JSON, text as text, all else as bytes; secrets that were sent are cut out of what comes
/// back.
pub(crate) fn content(
    media_type: Option<String>,
    body: Vec<u8>,
    secrets: &[SecretHeader],
) -> Content {
    if body.is_empty() {
        return Content::Json(Value::Null);
    }
    let kind = media_type.unwrap_or_default();
    let says_json = kind == "application/json" || kind.ends_with("+json");
    let says_bytes = !kind.is_empty() && !says_json && !is_text(&kind);
    let text = match String::from_utf8(body) {
        Ok(text) if !says_bytes => blank(&text, secrets),
        Ok(text) => return bytes(kind, text.into_bytes()),
        Err(error) => return bytes(kind, error.into_bytes()),
    };
    if (says_json || kind.is_empty())
        && let Ok(value) = serde_json::from_str(&text)
    {
        return Content::Json(value);
    }
    let media_type = if says_json || kind.is_empty() { "text/plain".to_owned() } else { kind };
    Content::Text { media_type, text }
}

fn bytes(kind: String, bytes: Vec<u8>) -> Content {
    let media_type = if kind.is_empty() || is_text(&kind) {
        "application/octet-stream".to_owned()
    } else {
        kind
    };
    Content::Bytes { media_type, bytes }
}

fn is_text(kind: &str) -> bool {
    kind.starts_with("text/")
        || kind.ends_with("+xml")
        || kind.ends_with("+yaml")
        || matches!(
            kind,
            "application/xml"
                | "application/yaml"
                | "application/x-yaml"
                | "application/javascript"
                | "application/x-www-form-urlencoded"
                | "application/x-ndjson"
                | "application/sql"
                | "application/toml"
        )
}

/// What a backend says of an error, in a few words and without secrets.
pub(crate) fn words(body: &[u8], secrets: &[SecretHeader]) -> String {
    let text = String::from_utf8_lossy(body);
    let told = match serde_json::from_str::<Value>(&text) {
        Ok(value) => message(&value).unwrap_or_else(|| value.to_string()),
        Err(_) if text.trim_start().starts_with('<') => "a page of HTML or XML".to_owned(),
        Err(_) => text.trim().to_owned(),
    };
    let told = if told.is_empty() { "no reason given".to_owned() } else { told };
    // Cut first, a secret could lose its end and not be known any more.
    blank(&told, secrets).chars().take(WORDS_MAX).collect()
}

/// Where servers tell their reasons.
fn message(value: &Value) -> Option<String> {
    let value = value.get("error").filter(|error| error.is_object()).unwrap_or(value);
    ["message", "detail", "title", "error_description", "error"]
        .iter()
        .find_map(|field| value.get(field)?.as_str().map(str::to_owned))
}

#[cfg(test)]
mod tests;
