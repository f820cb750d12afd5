//! What a provider's status and words mean to the caller.

use std::time::{Duration, SystemTime};

use headwater_models::chat::ChatError;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;

#[cfg(test)]
mod tests;

/// Longest part of a provider's own words that goes into an error.
const WORDS_MAX: usize = 2_000;
/// Longest wait that is passed on: a provider's slip must not close a route for ever.
const RETRY_AFTER_MAX_MS: u64 = 24 * 3_600 * 1_000;

/// A provider's own words about an error.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) code: Option<String>,
    pub(crate) message: String,
}

/// The words in an error's body, whatever provider wrote it. The secret is cut out of them:
/// some providers repeat a key that they refuse.
pub(crate) fn words(body: &Value, secret: &str) -> Words {
    // Gemini wraps the error of a stream in a list.
    let body = body.get(0).unwrap_or(body);
    let error = body.get("error").filter(|error| !error.is_null());
    let error = error.unwrap_or(body);
    let text = |field: &str| error[field].as_str().filter(|text| !text.is_empty());
    let code = text("code").or_else(|| text("status")).or_else(|| text("type"));
    let message = error.as_str().or_else(|| text("message")).or_else(|| text("detail"));
    let mut message = message.unwrap_or("no reason given").to_owned();
    if !secret.is_empty() {
        message = message.replace(secret, "(hidden)");
    }
    let message = message.chars().take(WORDS_MAX).collect();
    Words { code: code.map(str::to_owned), message }
}

/// The error of an answer whose status is no success.
pub(crate) fn of_status(
    status: u16,
    headers: &HeaderMap,
    body: &Value,
    secret: &str,
    now: SystemTime,
) -> ChatError {
    let Words { code, message } = words(body, secret);
    match status {
        429 | 529 => {
            let retry_after_ms = retry_after_ms(headers, now).or_else(|| retry_delay_ms(body));
            ChatError::Limited { retry_after_ms, message }
        }
        // A redirect would carry the key to another host, so none is followed.
        300..=399 | 401 | 402 | 403 => ChatError::Misconfigured { status },
        // The operator gave the model's name and the address, not the client.
        404 => ChatError::Misconfigured { status },
        400 if is_bad_key(body) => ChatError::Misconfigured { status },
        408 | 425 | 500.. | ..=299 => {
            ChatError::Unavailable { status: Some(status), reason: message }
        }
        _ => ChatError::Refused { status, code, message },
    }
}

/// Gemini tells a key that it does not know as a bad request.
fn is_bad_key(body: &Value) -> bool {
    let details = &body.get(0).unwrap_or(body)["error"]["details"];
    let reasons = details.as_array().into_iter().flatten().map(|detail| &detail["reason"]);
    reasons.into_iter().any(|reason| reason == "API_KEY_INVALID")
}

fn retry_after_ms(headers: &HeaderMap, now: SystemTime) -> Option<u64> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let exact = text("retry-after-ms").and_then(|text| milliseconds(text, 1.0));
    exact.or_else(|| {
        let text = text(RETRY_AFTER.as_str())?;
        milliseconds(text, 1_000.0).or_else(|| {
            let date = httpdate::parse_http_date(text).ok()?;
            let wait = date.duration_since(now).unwrap_or(Duration::ZERO);
            Some((wait.as_millis() as u64).min(RETRY_AFTER_MAX_MS))
        })
    })
}

/// Gemini's `RetryInfo` among the details of an error: seconds with an `s`.
fn retry_delay_ms(body: &Value) -> Option<u64> {
    let details = body.get(0).unwrap_or(body)["error"]["details"].as_array()?;
    let delay = details.iter().find_map(|detail| detail["retryDelay"].as_str())?;
    milliseconds(delay.strip_suffix('s')?, 1_000.0)
}

fn milliseconds(text: &str, unit_ms: f64) -> Option<u64> {
    let count: f64 = text.parse().ok()?;
    let is_count = count.is_finite() && count >= 0.0;
    is_count.then(|| (count * unit_ms).ceil().min(RETRY_AFTER_MAX_MS as f64) as u64)
}
