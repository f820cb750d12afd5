//! What a status means for the caller.

use std::time::{Duration, SystemTime};

use headwater_backends::BackendError;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// Told to wait for nothing, or for longer, a caller waits for so long.
const RETRY_AFTER_DEFAULT_MS: u64 = 1_000;
const RETRY_AFTER_MAX_MS: u64 = 3_600_000;

/// What a response is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Answer,
    /// The tool says that it failed: an answer all the same.
    ToolFailed,
    Error(BackendError),
}

/// `words` is what the backend says, `now` is for a `Retry-After` that names a time.
pub(crate) fn meaning(
    status: u16,
    headers: &HeaderMap,
    words: impl FnOnce() -> String,
    now: SystemTime,
) -> Meaning {
    let told = |words: String| format!("{words} (status {status})");
    let error = match status {
        200..=299 => return Meaning::Answer,
        300..=399 => BackendError::Refused {
            why: format!(
                "the backend points to another address (status {status}), which is not followed"
            ),
        },
        400 | 413 | 414 | 415 | 422 | 431 => BackendError::Arguments { why: told(words()) },
        401 | 403 | 407 | 511 => BackendError::Refused { why: told(words()) },
        404 | 405 | 501 => BackendError::NotFound { what: told(words()) },
        408 | 425 => BackendError::Unsent { why: told(words()) },
        429 | 503 => BackendError::Busy {
            why: told(words()),
            retry_after_ms: retry_after_ms(headers, now).unwrap_or(RETRY_AFTER_DEFAULT_MS),
        },
        500.. => BackendError::Unknown { why: told(words()) },
        _ => return Meaning::ToolFailed,
    };
    Meaning::Error(error)
}

/// Seconds or a time, as RFC 9110 has them.
fn retry_after_ms(headers: &HeaderMap, now: SystemTime) -> Option<u64> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let ms = match value.parse::<u64>() {
        Ok(seconds) => seconds.saturating_mul(1_000),
        Err(_) => {
            let time = httpdate::parse_http_date(value).ok()?;
            let wait = time.duration_since(now).unwrap_or(Duration::ZERO);
            u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
        }
    };
    Some(ms.min(RETRY_AFTER_MAX_MS))
}

#[cfg(test)]
mod tests;
