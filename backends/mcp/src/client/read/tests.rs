//! A server's blocks become parts, and secrets that it echoes are cut out.

use headwater_backends::{Content, Part, SecretHeader};
use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::json;

use super::answer;

fn secrets() -> Vec<SecretHeader> {
    vec![SecretHeader::new("authorization", "Bearer tok-12345")]
}

#[test]
fn structured_content_comes_first() {
    let mut result = CallToolResult::success(vec![ContentBlock::text("{}")]);
    result.structured_content = Some(json!({"told": ["tok-12345"], "n": 1}));
    let (content, is_error, _) = answer(result, &secrets());
    assert_eq!(content, Content::Json(json!({"told": ["[secret]"], "n": 1})));
    assert!(!is_error);
}

#[test]
fn blocks_become_parts() {
    let text =
        |text: &str| Part::Text { media_type: "text/plain".to_owned(), text: text.to_owned() };
    let one = CallToolResult::error(vec![ContentBlock::text("no tok-12345")]);
    let (content, is_error, bytes) = answer(one, &secrets());
    assert_eq!((content, is_error, bytes), (Content::text("no [secret]"), true, 11));
    let several = CallToolResult::success(vec![
        ContentBlock::text("see"),
        ContentBlock::image("AP8=", "image/png"),
        ContentBlock::image("no base64!", "image/png"),
    ]);
    let image = Part::Bytes { media_type: "image/png".to_owned(), bytes: vec![0, 255] };
    let expected = Content::Parts(vec![text("see"), image, text("no base64!")]);
    assert_eq!(answer(several, &[]).0, expected);
    assert_eq!(answer(CallToolResult::success(vec![]), &[]).0, Content::Json(json!(null)));
}
