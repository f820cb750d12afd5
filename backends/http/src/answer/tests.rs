//! Bodies by their media type, and errors in a few words.

use headwater_backends::{Content, SecretHeader};
use serde_json::json;

use super::{content, words};

fn text(media_type: &str, text: &str) -> Content {
    Content::Text { media_type: media_type.to_owned(), text: text.to_owned() }
}

fn bytes(media_type: &str, bytes: &[u8]) -> Content {
    Content::Bytes { media_type: media_type.to_owned(), bytes: bytes.to_owned() }
}

#[test]
fn bodies_are_read_by_their_media_type() {
    for (kind, body, expected) in [
        (Some("application/json"), &b"{\"a\":1}"[..], Content::Json(json!({"a": 1}))),
        (Some("application/problem+json"), b"[]", Content::Json(json!([]))),
        (Some("application/json"), b"{broken", text("text/plain", "{broken")),
        (Some("text/csv"), b"a,b", text("text/csv", "a,b")),
        (Some("text/plain"), b"\xff", bytes("application/octet-stream", b"\xff")),
        (Some("image/png"), b"png", bytes("image/png", b"png")),
        (None, b"7", Content::Json(json!(7))),
        (None, b"words", text("text/plain", "words")),
        (Some("application/json"), b"", Content::Json(json!(null))),
    ] {
        let found = content(kind.map(str::to_owned), body.to_owned(), &[]);
        assert_eq!(found, expected, "{kind:?}");
    }
}

#[test]
fn an_echoed_secret_is_cut_out() {
    let secrets = [SecretHeader::new("authorization", "Bearer tok-12345")];
    let body = b"{\"headers\":{\"authorization\":\"Bearer tok-12345\"}}".to_vec();
    let found = content(Some("application/json".to_owned()), body, &secrets);
    assert_eq!(found, Content::Json(json!({"headers": {"authorization": "[secret]"}})));
    assert_eq!(words(b"{\"error\":\"token tok-12345 is old\"}", &secrets), "token [secret] is old");
}

#[test]
fn errors_are_told_in_a_few_words() {
    for (body, expected) in [
        (&b"{\"error\":{\"message\":\"no such user\"}}"[..], "no such user"),
        (b"{\"detail\":\"too long\"}", "too long"),
        (b"{\"code\":7}", "{\"code\":7}"),
        (b"<html>", "a page of HTML or XML"),
        (b" plain ", "plain"),
        (b"", "no reason given"),
    ] {
        assert_eq!(words(body, &[]), expected);
    }
    assert_eq!(words("é".repeat(900).as_bytes(), &[]).chars().count(), 500);
}
