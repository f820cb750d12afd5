//! An answer as JSON, and what a log would show of it.

use serde_json::{Value, json};

use crate::{Content, Part};

fn check(content: Content, json: Value, bytes_len: u64) {
    assert_eq!(content.to_json(), json);
    assert_eq!(content.bytes_len(), bytes_len, "{json}");
}

#[test]
fn every_kind_has_its_shape() {
    check(Content::Json(json!({"a": 1})), json!({"a": 1}), 7);
    check(Content::text("hi"), json!("hi"), 2);
    let text = |media_type: &str| Content::Text {
        media_type: media_type.to_owned(),
        text: "a,b".to_owned(),
    };
    check(text("text/csv"), json!({"media_type": "text/csv", "text": "a,b"}), 3);
    let media_type = "image/png".to_owned();
    let bytes = Content::Bytes { media_type: media_type.clone(), bytes: vec![0, 255] };
    check(bytes, json!({"media_type": "image/png", "base64": "AP8="}), 2);
    let parts = Content::Parts(vec![
        Part::Text { media_type: "text/plain".to_owned(), text: "see".to_owned() },
        Part::Bytes { media_type, bytes: vec![1] },
        Part::Link { uri: "file:///a".to_owned(), name: "a".to_owned(), media_type: None },
    ]);
    let expected = json!([
        "see",
        {"media_type": "image/png", "base64": "AQ=="},
        {"uri": "file:///a", "name": "a", "media_type": null},
    ]);
    check(parts, expected, 14);
}

#[test]
fn a_log_shows_the_size_only() {
    let shown = format!("{:?}", Content::text("the tenant's words"));
    assert_eq!(shown, "Content(text/plain, 18 bytes)");
}
