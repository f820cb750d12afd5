//! Bodies that are too large, too slow, broken, or not JSON.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::Frame;
use tokio::sync::mpsc;

use super::world::{BODY_LIMIT, Setup, World};

/// A body that is what is sent to it, as long as somebody may send.
struct Sent(mpsc::Receiver<io::Result<Bytes>>);

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|next| next.map(|data| data.map(Frame::data)))
    }
}

fn channel() -> (mpsc::Sender<io::Result<Bytes>>, Body) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Body::new(Sent(receiver)))
}

#[tokio::test]
async fn broken_bodies() {
    let world = World::new().await;
    let table: [(&[u8], &[&str]); 7] = [
        (b"", &["not valid JSON", "EOF"]),
        (b"hello", &["not valid JSON", "line 1 column 1"]),
        (b"{\"model\": \"plain\", ", &["not valid JSON"]),
        (b"{\"model\": \"plain\", \"input\": \"a\"} trailing", &["not valid JSON", "trailing"]),
        (b"{\"model\": \"plain\", \"input\": \"\xff\"}", &["not valid UTF-8 at byte 29"]),
        (b"\xef\xbb\xbf{}", &["not valid JSON"]),
        (b"{\"model\": \"\\ud800\"}", &["not valid JSON"]),
    ];
    for (body, words) in table {
        let answer = world.send(world.request("POST", "/v1/embeddings", body.to_vec())).await;
        answer.is_error(400, "invalid_body", None, words);
    }
    let deep = "[".repeat(4000);
    let answer = world.send(world.request("POST", "/v1/embeddings", deep)).await;
    assert_eq!(answer.status, 400, "a deep body is refused and does not end the process");
}

#[tokio::test]
async fn a_body_of_the_limit_passes_and_one_byte_more_does_not() {
    let world = World::new().await;
    let mut body = "{\"model\": \"plain\", \"input\": \"a\"}".to_owned();
    body.push_str(&" ".repeat(BODY_LIMIT - body.len()));
    let answer = world.send(world.request("POST", "/v1/embeddings", body.clone())).await;
    assert_eq!(answer.status, 200);
    body.push(' ');
    let answer = world.send(world.request("POST", "/v1/embeddings", body.clone())).await;
    answer.is_error(413, "body_too_large", None, &["4096 bytes", "send less"]);
    let answer = world.send(world.request("POST", "/embed", body)).await;
    answer.is_tei_error(413, "Validation", &["4096 bytes"]);
}

#[tokio::test]
async fn an_endless_body_is_cut_off() {
    let world = World::new().await;
    let (sender, body) = channel();
    let sending = tokio::spawn(async move {
        let mut sent = 0usize;
        while sender.send(Ok(Bytes::from(vec![b' '; 1000]))).await.is_ok() {
            sent += 1000;
        }
        sent
    });
    let answer = world.send(world.request("POST", "/v1/embeddings", body)).await;
    answer.is_error(413, "body_too_large", None, &["4096 bytes"]);
    let sent = sending.await.expect("ends when the reader is gone");
    assert!(sent < 20 * BODY_LIMIT, "{sent} bytes were read");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let world = World::with(Setup { body_timeout_ms: 50, ..Setup::default() }).await;
    let (sender, body) = channel();
    sender.send(Ok(Bytes::from_static(b"{"))).await.expect("sent");
    let answer = world.send(world.request("POST", "/v1/embeddings", body)).await;
    answer.is_error(408, "body_timeout", None, &["50 ms"]);
    drop(sender);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_told_so() {
    let world = World::new().await;
    let (sender, body) = channel();
    sender.send(Err(io::Error::other("reset by peer"))).await.expect("sent");
    let answer = world.send(world.request("POST", "/v1/embeddings", body)).await;
    answer.is_error(400, "invalid_body", None, &["could not be read"]);
}
