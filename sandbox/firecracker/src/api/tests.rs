//! Calls: what is sent, and what an answer, a fault, a flood or silence becomes.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::{Api, deadline};

/// A server that reads one request and answers so; it hands back what it read.
async fn served(answer: Vec<u8>, until_ms: u64) -> (Result<String, String>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut read = vec![0; 4_096];
        let count = stream.read(&mut read).await.unwrap();
        // The other side may have heard enough before the end.
        drop(stream.write_all(&answer).await);
        if answer.is_empty() {
            drop(stream.read(&mut [0]).await);
        }
        String::from_utf8_lossy(&read[..count]).into_owned()
    });
    let stream = UnixStream::connect(&path).await.unwrap();
    let mut api = Api::new(stream, deadline(until_ms)).await.unwrap();
    let state = api.state().await;
    drop(api);
    (state, server.await.unwrap())
}

fn answer(status: &str, body: &str) -> Vec<u8> {
    let head = "Server: Firecracker API\r\nConnection: keep-alive\r\nContent-Length";
    format!("HTTP/1.1 {status} \r\n{head}: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[tokio::test]
async fn a_call_is_plain_http_and_its_answer_is_json() {
    let (state, read) =
        served(answer("200", r#"{"id": "a", "state": "Not started"}"#), 9_000).await;
    assert_eq!(state.unwrap(), "Not started");
    assert!(read.starts_with("GET / HTTP/1.1\r\n"), "{read}");
}

#[tokio::test]
async fn what_is_wrong_is_told_with_the_call() {
    let fault = r#"{"fault_message": "The requested\noperation is not supported"}"#;
    let long = format!(r#"{{"state": "{}"}}"#, "x".repeat(70_000));
    let rows = [
        (answer("400", fault), 9_000, "400 Bad Request, The requestedoperation is not supported"),
        (answer("400", "no json"), 9_000, "400 Bad Request, no reason"),
        (answer("200", "{}"), 9_000, "it tells no state"),
        (answer("200", &long), 9_000, "length limit exceeded"),
        (b"220 not http\r\n\r\n".to_vec(), 9_000, "invalid HTTP"),
        (Vec::new(), 50, "no answer in time"),
    ];
    for (answer, until_ms, expected) in rows {
        let error = served(answer, until_ms).await.0.unwrap_err();
        assert!(error.starts_with("GET /: ") && error.contains(expected), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_waits_until_the_one_before_is_over() {
    let (near, mut far) = UnixStream::pair().unwrap();
    tokio::spawn(async move {
        let mut read = vec![0; 4_096];
        while let Ok(1..) = far.read(&mut read).await {
            far.write_all(b"HTTP/1.1 204 \r\nConnection: keep-alive\r\n\r\n").await.unwrap();
        }
    });
    let mut api = Api::new(near, deadline(60_000)).await.unwrap();
    for _ in 0..2_000 {
        api.put("/entropy", json!({})).await.unwrap();
    }
}
