//! Guests and servers that send too much, too slowly or too often.

use super::world::{heard, open, usual_rules};
use crate::{GrantLimits, Refusal, Verdict};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

const GET: &[u8] = b"GET http://good.example.org/ HTTP/1.1\r\n\r\n";
const LARGE: &[u8] = &{
    let mut answer = [b'x'; 4_096];
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n";
    let mut at = 0;
    while at < head.len() {
        answer[at] = head[at];
        at += 1;
    }
    answer
};

#[tokio::test]
async fn a_slow_head_is_not_waited_for() {
    let world = open(usual_rules(), GrantLimits::default(), |_| {});
    let mut stream = UnixStream::connect(world.way.proxy()).await.unwrap();
    stream.write_all(b"GET http://good.example.org/ HTTP/1.1\r\nA: ").await.unwrap();
    heard(&mut stream).await;
    let refusal = Refusal::Deadline("waiting for a request's head");
    assert_eq!(world.refusals().await, [refusal]);
}

#[tokio::test]
async fn endless_heads_are_not_read() {
    let long = format!("GET http://good.example.org/ HTTP/1.1\r\nA: {}", "a".repeat(100_000));
    let many = format!("GET http://good.example.org/ HTTP/1.1\r\n{}\r\n", "A: a\r\n".repeat(200));
    for head in [long, many] {
        let world = open(usual_rules(), GrantLimits::default(), |_| {});
        let answer = world.say(head.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
        assert!(matches!(world.refusals().await[..], [Refusal::Malformed(_)]));
        assert!(world.dialled().is_empty());
    }
}

#[tokio::test]
async fn bytes_are_held_to_the_grant() {
    let limits = GrantLimits { bytes_in: 1_000, bytes_out: 1_000, ..GrantLimits::default() };
    let world = open(usual_rules(), limits, |_| {});
    let _got = world.serve(LARGE).await;
    let answer = world.say(GET).await;
    assert!(answer.len() < 1_200, "{}", answer.len());
    assert_eq!(world.refusals().await, [Refusal::BytesIn]);

    let world = open(usual_rules(), limits, |_| {});
    let got = world.serve(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let head = "POST http://good.example.org/ HTTP/1.1\r\ncontent-length: 3000\r\n\r\n";
    world.say(format!("{head}{}", "y".repeat(3_000)).as_bytes()).await;
    assert!(got.lock().unwrap().iter().filter(|byte| **byte == b'y').count() <= 1_000);
    assert_eq!(world.refusals().await, [Refusal::BytesOut]);
}

#[tokio::test]
async fn connections_and_requests_are_counted() {
    let limits = GrantLimits { connections: 2, ..GrantLimits::default() };
    let world = open(usual_rules(), limits, |settings| settings.head_ms = 60_000);
    let first = UnixStream::connect(world.way.proxy()).await.unwrap();
    let _second = UnixStream::connect(world.way.proxy()).await.unwrap();
    let mut third = UnixStream::connect(world.way.proxy()).await.unwrap();
    assert!(heard(&mut third).await.starts_with("HTTP/1.1 429"));
    assert_eq!(world.refusals().await, [Refusal::Connections]);
    drop(first);
    let _got = world.serve(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    for _ in 0..100 {
        if world.say(GET).await.starts_with("HTTP/1.1 204") {
            break;
        }
    }
    assert!(world.allowed().await.is_some());

    let limits = GrantLimits { requests_per_minute: 2, ..GrantLimits::default() };
    let world = open(usual_rules(), limits, |_| {});
    let _got = world.serve(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    for status in ["204", "204", "429"] {
        let answer = world.say(GET).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
}

#[tokio::test]
async fn servers_that_stop_are_not_waited_for() {
    let rows: [(&[u8], Refusal); 3] = [
        (b"", Refusal::Deadline("waiting for the answer")),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",
            Refusal::Deadline("waiting for more of the body"),
        ),
        (b"no answer of HTTP\r\n\r\n", Refusal::Broken),
    ];
    for (answer, refusal) in rows {
        let world = open(usual_rules(), GrantLimits::default(), |settings| {
            (settings.answer_ms, settings.idle_ms) = (300, 300);
        });
        let _got = world.serve(answer).await;
        world.say(GET).await;
        assert_eq!(world.refusals().await, [refusal]);
        let told = world.allowed().await;
        assert!(matches!(told, Some(Verdict::Allowed { cut: Some(_), .. })), "{told:?}");
    }
}
