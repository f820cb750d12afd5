//! Compressed requests, answers that are compressed where it is worth it, and streams that are
//! not.

use std::io::{Read, Write};

use axum::body::Body;
use axum::http::{HeaderValue, Request, header};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use headwater_models::chat::double::ScriptedChat;
use serde_json::{Value, json};

use super::chat::CHAT;
use super::world::{BODY_LIMIT, Setup, World};

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("packs");
    encoder.finish().expect("packs")
}

fn encoded(world: &World, encoding: &'static str, body: Vec<u8>) -> Request<Body> {
    let mut request = world.request("POST", "/v1/embeddings", body);
    request.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    request
}

fn texts(count: usize) -> Value {
    json!({"model": "plain", "input": vec!["a"; count]})
}

#[tokio::test]
async fn a_packed_request_is_read_and_its_limit_is_that_of_the_whole() {
    let world = World::new().await;
    let body = packed(texts(3).to_string().as_bytes());
    let answer = world.send(encoded(&world, "gzip", body.clone())).await.ok();
    assert_eq!(answer["data"].as_array().map(Vec::len), Some(3));
    let large = packed(" ".repeat(BODY_LIMIT + 1).as_bytes());
    assert!(large.len() < BODY_LIMIT);
    let answer = world.send(encoded(&world, "gzip", large)).await;
    answer.is_error(413, "body_too_large", None, &["4096 bytes"]);
    let answer = world.send(encoded(&world, "gzip", body[..body.len() / 2].to_vec())).await;
    answer.is_error(400, "invalid_body", None, &["could not be read"]);
    let answer = world.send(encoded(&world, "gzip", b"{}".to_vec())).await;
    answer.is_error(400, "invalid_body", None, &["could not be read"]);
    for other in ["br", "deflate", "gzip, gzip"] {
        let answer = world.send(encoded(&world, other, body.clone())).await;
        answer.is_error(415, "unsupported_encoding", None, &[other, "allowed are gzip"]);
    }
}

#[tokio::test]
async fn a_large_answer_is_packed_for_whoever_takes_it() {
    let world = World::new().await;
    let asked = |count: usize, accepts: Option<&'static str>| {
        let body = texts(count).to_string();
        let mut request = world.request("POST", "/v1/embeddings", body);
        let accepts = accepts.map(HeaderValue::from_static);
        accepts.map(|value| request.headers_mut().insert(header::ACCEPT_ENCODING, value));
        request
    };
    let plain = world.send(asked(4, None)).await;
    assert_eq!(plain.header("content-encoding"), None);
    assert!(plain.bytes.len() >= 300, "{}", plain.text());
    let answer = world.send(asked(4, Some("gzip"))).await;
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(answer.header("vary"), Some("accept-encoding"));
    let mut text = String::new();
    GzDecoder::new(answer.bytes.as_slice()).read_to_string(&mut text).expect("unpacks");
    assert_eq!(text, plain.text());
    let small = world.send(asked(1, Some("gzip"))).await;
    assert_eq!(small.header("content-encoding"), None);
    assert_eq!(small.ok()["object"], "list");
}

#[tokio::test]
async fn a_stream_is_never_packed() {
    let words = vec!["word "; 500];
    let chat = ScriptedChat::new(vec![ScriptedChat::words(1, &words)]);
    let world = World::with(Setup { chat: Some(chat), ..Setup::default() }).await;
    let body = json!({
        "model": CHAT, "stream": true, "messages": [{"role": "user", "content": "hi"}],
    });
    let mut request = world.request("POST", "/v1/chat/completions", body.to_string());
    request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    let answer = world.send(request).await;
    assert_eq!(answer.header("content-encoding"), None);
    assert!(answer.text().ends_with("data: [DONE]\n\n"));
}
