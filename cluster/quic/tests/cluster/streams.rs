//! Streams of long requests: echo, back-pressure, cancellation from both sides, limits.

use std::time::Duration;

use headwater_cluster::{ByteStream, StreamBroken, Transport, TransportError};
use headwater_cluster_quic::QuicSettings;
use tokio::time::timeout;

use crate::support::{Authority, Node, id, pair, within};

type Stream = Box<dyn ByteStream>;

async fn stream(a: &Node, b: &Node) -> (Stream, Stream) {
    let opened = within(a.transport.open(&b.id)).await.unwrap();
    let (from, accepted) = within(b.transport.accept()).await.unwrap();
    assert_eq!(from, a.id);
    (opened, accepted)
}

async fn read_all(stream: &mut Stream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(bytes) = within(stream.read()).await.unwrap() {
        assert!(!bytes.is_empty());
        all.extend(bytes);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_echoes_and_its_writer_waits_for_the_reader() {
    let authority = Authority::new();
    let (a, b) = pair(&authority).await;
    let (mut opened, mut accepted) = stream(&a, &b).await;
    let sent: Vec<u8> = (0..8 << 20).map(|index: u32| (index >> 3) as u8).collect();
    let bytes = sent.clone();
    let mut writing = tokio::spawn(async move {
        opened.write(&bytes).await.unwrap();
        opened.finish().await.unwrap();
        opened
    });
    let early = timeout(Duration::from_millis(300), &mut writing).await;
    assert!(early.is_err(), "8 MiB went to a reader that reads nothing");
    let echoing = tokio::spawn(async move {
        let all = read_all(&mut accepted).await;
        accepted.write(&all).await.unwrap();
        accepted.finish().await.unwrap();
    });
    let mut opened = within(writing).await.unwrap();
    assert_eq!(read_all(&mut opened).await, sent);
    assert_eq!(within(opened.read()).await, Ok(None), "the end stays the end");
    within(echoing).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_opener_cancels() {
    let authority = Authority::new();
    let (a, b) = pair(&authority).await;
    let (mut opened, mut accepted) = stream(&a, &b).await;
    opened.write(b"half a request").await.unwrap();
    assert_eq!(within(accepted.read()).await, Ok(Some(b"half a request".to_vec())));
    drop(opened);
    assert_eq!(within(accepted.read()).await, Err(StreamBroken::Cancelled));
    assert_eq!(write_until_broken(&mut accepted).await, StreamBroken::Cancelled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_acceptor_cancels() {
    let authority = Authority::new();
    let (a, b) = pair(&authority).await;
    let (mut opened, mut accepted) = stream(&a, &b).await;
    accepted.write(b"half an answer").await.unwrap();
    assert_eq!(within(opened.read()).await, Ok(Some(b"half an answer".to_vec())));
    drop(accepted);
    assert_eq!(within(opened.read()).await, Err(StreamBroken::Cancelled));
    assert_eq!(write_until_broken(&mut opened).await, StreamBroken::Cancelled);
    // A writer that waits for room hears of it too.
    let (mut opened, accepted) = stream(&a, &b).await;
    let waiting = tokio::spawn(async move { opened.write(&vec![0; 8 << 20]).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(accepted);
    assert_eq!(within(waiting).await.unwrap(), Err(StreamBroken::Cancelled));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_answer_outlives_its_writer() {
    let authority = Authority::new();
    let (a, b) = pair(&authority).await;
    let (mut opened, mut accepted) = stream(&a, &b).await;
    opened.finish().await.unwrap();
    opened.finish().await.unwrap();
    assert_eq!(within(accepted.read()).await, Ok(None));
    accepted.write(&[5; 100_000]).await.unwrap();
    accepted.finish().await.unwrap();
    drop(accepted);
    assert_eq!(read_all(&mut opened).await, vec![5; 100_000]);
    assert_eq!(opened.write(b"x").await, Err(StreamBroken::Cancelled), "finished");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_link_breaks_its_streams() {
    let authority = Authority::new();
    let (a, b) = pair(&authority).await;
    let (mut opened, mut accepted) = stream(&a, &b).await;
    b.transport.close().await;
    let why = "the peer ended it: the node is closing".to_owned();
    assert_eq!(within(opened.read()).await, Err(StreamBroken::LinkLost(why)));
    let why = "this side closed it".to_owned();
    assert_eq!(within(accepted.read()).await, Err(StreamBroken::LinkLost(why)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_bounded_and_come_free_again() {
    let authority = Authority::new();
    let a = Node::start(QuicSettings { streams: 3, ..authority.settings("a", 1) }).await;
    let b = authority.node("b", 1, &[&a]).await;
    a.up("b", 1).await;
    b.up("a", 1).await;
    let mut open = Vec::new();
    let refused = loop {
        match within(b.transport.open(&a.id)).await {
            Ok(stream) => open.push(stream),
            Err(error) => break error,
        }
        assert!(open.len() <= 4, "the peer's limit does not hold");
    };
    assert_eq!(refused, TransportError::Overloaded(id("a")));
    assert!(open.len() >= 3);
    let (_, accepted) = within(a.transport.accept()).await.unwrap();
    drop((open.remove(0), accepted));
    let reopened = async {
        while b.transport.open(&a.id).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(reopened).await;
}

/// The other side's stop may arrive a little later than what it follows from.
async fn write_until_broken(stream: &mut Stream) -> StreamBroken {
    let writing = async {
        loop {
            if let Err(broken) = stream.write(&[0; 1_000]).await {
                return broken;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(writing).await
}
