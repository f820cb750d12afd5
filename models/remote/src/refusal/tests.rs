//! Statuses, waits and words of errors.

use std::time::{Duration, SystemTime};

use headwater_models::chat::ChatError;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::of_status;

fn check(status: u16, headers: &[(&'static str, &str)], body: &Value, expected: ChatError) {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"));
    }
    // Sunday, 6 November 1994, 08:49:37 UTC.
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    assert_eq!(of_status(status, &map, body, "sk-secret", now), expected, "{status} {headers:?}");
}

fn refused(status: u16, code: Option<&str>, message: &str) -> ChatError {
    ChatError::Refused { status, code: code.map(str::to_owned), message: message.to_owned() }
}

fn limited(retry_after_ms: Option<u64>) -> ChatError {
    ChatError::Limited { retry_after_ms, message: "slow down".to_owned() }
}

#[test]
fn each_status_by_what_to_do() {
    let openai = json!({"error": {"message": "bad", "type": "invalid", "code": "context"}});
    check(400, &[], &openai, refused(400, Some("context"), "bad"));
    let anthropic = json!({"type": "error", "error": {"type": "not_found_error", "message": "no"}});
    check(422, &[], &anthropic, refused(422, Some("not_found_error"), "no"));
    check(404, &[], &anthropic, ChatError::Misconfigured { status: 404 });
    let key = json!({"error": {"code": 400, "details": [{"reason": "API_KEY_INVALID"}]}});
    check(400, &[], &key, ChatError::Misconfigured { status: 400 });
    let gemini = json!([{"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}]);
    check(400, &[], &gemini, refused(400, Some("INVALID_ARGUMENT"), "no"));
    check(413, &[], &Value::Null, refused(413, None, "no reason given"));
    check(422, &[], &json!({"detail": "field required"}), refused(422, None, "field required"));
    check(422, &[], &json!({"error": "plain"}), refused(422, None, "plain"));
    let vllm = json!({"object": "error", "message": "too long", "type": "BadRequest", "code": 400});
    check(400, &[], &vllm, refused(400, Some("BadRequest"), "too long"));
    for status in [301, 401, 402, 403] {
        check(status, &[], &openai, ChatError::Misconfigured { status });
    }
    for status in [408, 500, 502, 503, 504] {
        let reason = "bad".to_owned();
        check(status, &[], &openai, ChatError::Unavailable { status: Some(status), reason });
    }
}

#[test]
fn waits_in_every_form() {
    let body = json!({"error": {"message": "slow down"}});
    let details = json!([{"@type": "RetryInfo", "retryDelay": "34.5s"}]);
    let gemini = json!({"error": {"message": "slow down", "details": details}});
    check(429, &[], &body, limited(None));
    check(529, &[("retry-after", "7")], &body, limited(Some(7_000)));
    check(429, &[("retry-after", "0.25")], &body, limited(Some(250)));
    check(429, &[("retry-after", "7"), ("retry-after-ms", "20")], &body, limited(Some(20)));
    check(429, &[("retry-after", "Sun, 06 Nov 1994 08:49:40 GMT")], &body, limited(Some(3_000)));
    check(429, &[("retry-after", "Sun, 06 Nov 1994 08:49:00 GMT")], &body, limited(Some(0)));
    check(429, &[("retry-after", "-3")], &body, limited(None));
    check(429, &[("retry-after", "inf")], &body, limited(None));
    check(429, &[("retry-after", "1e300")], &body, limited(Some(86_400_000)));
    check(429, &[], &gemini, limited(Some(34_500)));
}

#[test]
fn secrets_and_long_words_stay_out() {
    let body = json!({"error": {"message": "the key sk-secret is wrong"}});
    check(400, &[], &body, refused(400, None, "the key (hidden) is wrong"));
    let body = json!({"error": {"message": "x".repeat(9_000)}});
    check(400, &[], &body, refused(400, None, &"x".repeat(2_000)));
}
