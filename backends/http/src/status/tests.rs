//! Each status has one meaning, and `Retry-After` both its forms.

use std::time::{Duration, SystemTime};

use headwater_backends::BackendError;
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};

use super::{Meaning, meaning};

fn kind(status: u16) -> &'static str {
    let said = || "no".to_owned();
    match meaning(status, &HeaderMap::new(), said, SystemTime::UNIX_EPOCH) {
        Meaning::Answer => "answer",
        Meaning::ToolFailed => "failed",
        Meaning::Error(error) => match error {
            BackendError::Arguments { .. } => "arguments",
            BackendError::NotFound { .. } => "not found",
            BackendError::Refused { .. } => "refused",
            BackendError::Busy { .. } => "busy",
            BackendError::Unsent { .. } => "unsent",
            BackendError::Unknown { .. } => "unknown",
            BackendError::TimedOut { .. } | BackendError::TooLarge { .. } => "other",
        },
    }
}

#[test]
fn each_status_has_its_meaning() {
    for (status, expected) in [
        (200, "answer"),
        (204, "answer"),
        (302, "refused"),
        (304, "refused"),
        (400, "arguments"),
        (401, "refused"),
        (403, "refused"),
        (404, "not found"),
        (408, "unsent"),
        (409, "failed"),
        (410, "failed"),
        (412, "failed"),
        (422, "arguments"),
        (429, "busy"),
        (500, "unknown"),
        (502, "unknown"),
        (503, "busy"),
        (504, "unknown"),
        (999, "unknown"),
    ] {
        assert_eq!(kind(status), expected, "{status}");
    }
}

#[test]
fn the_time_to_wait_is_told_in_both_forms() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    for (value, expected) in [
        (Some("7"), 7_000),
        (Some("Sun, 06 Nov 1994 08:49:40 GMT"), 3_000),
        (Some("Sun, 06 Nov 1994 08:49:30 GMT"), 0),
        (Some("99999999999999999999"), 1_000),
        (Some("999999"), 3_600_000),
        (Some("soon"), 1_000),
        (None, 1_000),
    ] {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(RETRY_AFTER, HeaderValue::from_str(value).expect("a header"));
        }
        let Meaning::Error(BackendError::Busy { retry_after_ms, .. }) =
            meaning(429, &headers, || "no".to_owned(), now)
        else {
            panic!("429 is busy");
        };
        assert_eq!(retry_after_ms, expected, "{value:?}");
    }
}
