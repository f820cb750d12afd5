//! Request bodies: bounded in size and time, read as UTF-8 JSON with the field named in
//! every error.

use std::time::Duration;

use axum::body::Body;
use bytes::BytesMut;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::error::ApiError;
use crate::router::EdgeSettings;

/// How much more than the limit is read and thrown away. A client that is cut off while
/// it still writes sees a broken connection and never the answer.
const DISCARD_FACTOR: usize = 16;

/// Reads a body of the route's type.
///
/// # Errors
/// 413, 408 or 400 with the reason.
pub(crate) async fn read_json<T: DeserializeOwned>(
    body: Body,
    settings: &EdgeSettings,
) -> Result<T, ApiError> {
    parse(&read(body, settings).await?)
}

/// A body that may be left out.
///
/// # Errors
/// As [`read_json`].
pub(crate) async fn read_optional_json<T: DeserializeOwned>(
    body: Body,
    settings: &EdgeSettings,
) -> Result<Option<T>, ApiError> {
    let bytes = read(body, settings).await?;
    if bytes.is_empty() { Ok(None) } else { parse(&bytes).map(Some) }
}

async fn read(body: Body, settings: &EdgeSettings) -> Result<BytesMut, ApiError> {
    let reading = collect(body, settings.body_limit_bytes);
    let timely = timeout(Duration::from_millis(settings.body_timeout_ms), reading).await;
    timely.map_err(|_| ApiError::body_too_slow(settings.body_timeout_ms))?
}

async fn collect(mut body: Body, limit_bytes: usize) -> Result<BytesMut, ApiError> {
    let mut kept = BytesMut::new();
    let mut seen = 0usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            ApiError::bad_body(format!("the request body could not be read: {error}"))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        seen = seen.saturating_add(data.len());
        if seen <= limit_bytes {
            kept.extend_from_slice(&data);
        } else if seen > limit_bytes.saturating_mul(DISCARD_FACTOR) {
            break;
        } else {
            kept.clear();
        }
    }
    if seen > limit_bytes { Err(ApiError::body_too_large(limit_bytes)) } else { Ok(kept) }
}

/// serde quotes the value that it did not expect. A string may be a client's text, which
/// must not travel on in errors and logs, so only the word `string` stays. Rust's name of a
/// request means nothing to its sender, so that goes too.
fn without_text(problem: &str) -> String {
    let mut told = problem.to_owned();
    if let Some((before, found)) = problem.split_once(": string \"") {
        let expected = found.rsplit_once(", expected ").map_or("", |(_, expected)| expected);
        told = format!("{before}: string, expected {expected}");
    }
    match told.split_once("expected struct ") {
        Some((before, name)) => {
            let place = name.split_once(' ').map_or("", |(_, place)| place);
            format!("{before}expected an object {place}")
        }
        None => told,
    }
}

/// A part of a body that was read as JSON, by the name of its field.
///
/// # Errors
/// 400 with the reason.
pub(crate) fn read_value<T: DeserializeOwned>(
    name: &str,
    value: serde_json::Value,
) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { name.to_owned() } else { format!("{name}.{path}") };
        let told = without_text(&error.into_inner().to_string());
        ApiError::invalid(&path, "invalid_field", format!("{path}: {told}"))
    })
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let place = error.valid_up_to();
        ApiError::bad_body(format!("the request body is not valid UTF-8 at byte {place}"))
    })?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let problem = error.into_inner();
        if problem.is_data() {
            let told = without_text(&problem.to_string());
            if path == "." {
                ApiError::bad_body(format!("the request body: {told}"))
            } else {
                ApiError::invalid(&path, "invalid_field", format!("{path}: {told}"))
            }
        } else {
            ApiError::bad_body(format!("the request body is not valid JSON: {problem}"))
        }
    })?;
    reader.end().map_err(|error| {
        ApiError::bad_body(format!("the request body is not valid JSON: {error}"))
    })?;
    Ok(value)
}
