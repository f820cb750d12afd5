//! Channels: what comes in goes out, windows hold both sides, and rule breakers are closed.

use std::path::Path;

use headwater_sandbox::WayOut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{CHANNELS_MAX, Relays, WINDOW_BYTES};
use crate::wire::{Frame, Kind, Order, frame};

fn relays(folder: &Path) -> (Relays, UnboundedReceiver<Vec<u8>>) {
    let way_out = WayOut { proxy: folder.join("proxy"), names: folder.join("names") };
    let (outbound, sent) = unbounded_channel();
    (Relays::new(Some(way_out), outbound), sent)
}

fn heard(kind: Kind, channel: u32, body: &[u8]) -> Frame {
    Frame { kind, channel, body: body.to_vec() }
}

#[tokio::test]
async fn bytes_go_both_ways_and_are_credited() {
    let folder = tempfile::tempdir().unwrap();
    let names = UnixListener::bind(folder.path().join("names")).unwrap();
    let (mut relays, mut sent) = relays(folder.path());
    relays.heard(heard(Kind::Open, 5, &[1]));
    relays.heard(heard(Kind::Data, 5, b"question"));
    relays.heard(heard(Kind::Data, 5, b""));
    let (mut stream, _) = names.accept().await.unwrap();
    let mut read = Vec::new();
    stream.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, b"question");
    assert_eq!(sent.recv().await.unwrap(), frame(Order::Credit, 5, &8_u32.to_be_bytes()));
    stream.write_all(b"answer").await.unwrap();
    drop(stream);
    assert_eq!(sent.recv().await.unwrap(), frame(Order::Data, 5, b"answer"));
    assert_eq!(sent.recv().await.unwrap(), frame(Order::Data, 5, b""));
}

#[tokio::test]
async fn no_more_is_read_of_the_proxy_than_the_guest_takes() {
    let folder = tempfile::tempdir().unwrap();
    let proxy = UnixListener::bind(folder.path().join("proxy")).unwrap();
    let (mut relays, mut sent) = relays(folder.path());
    relays.heard(heard(Kind::Open, 1, &[0]));
    let (mut stream, _) = proxy.accept().await.unwrap();
    tokio::spawn(async move { stream.write_all(&vec![7; WINDOW_BYTES + 100]).await });
    let mut count = 0;
    while count < WINDOW_BYTES {
        count += sent.recv().await.unwrap().len() - 9;
    }
    assert_eq!(count, WINDOW_BYTES);
    relays.heard(heard(Kind::Credit, 1, &60_u32.to_be_bytes()));
    while count < WINDOW_BYTES + 60 {
        count += sent.recv().await.unwrap().len() - 9;
    }
    assert_eq!(count, WINDOW_BYTES + 60);
}

#[tokio::test]
async fn what_breaks_the_rules_closes_its_channel() {
    let folder = tempfile::tempdir().unwrap();
    let _proxy = UnixListener::bind(folder.path().join("proxy")).unwrap();
    let breaks: [&[Frame]; 4] = [
        &[heard(Kind::Open, 3, &[2])],
        &[heard(Kind::Open, 3, &[0]), heard(Kind::Open, 3, &[0])],
        &[heard(Kind::Open, 3, &[0]), heard(Kind::Data, 3, &vec![0; WINDOW_BYTES + 1])],
        &[heard(Kind::Open, 3, &[0]), heard(Kind::Credit, 3, &[255; 4])],
    ];
    for frames in breaks {
        let (mut relays, mut sent) = relays(folder.path());
        for frame in frames {
            relays.heard(frame.clone());
        }
        assert_eq!(sent.recv().await.unwrap(), frame(Order::Close, 3, b""));
        assert!(relays.channels.is_empty());
    }
}

#[tokio::test]
async fn channels_are_bounded_and_none_opens_without_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let _proxy = UnixListener::bind(folder.path().join("proxy")).unwrap();
    let (mut many, mut sent) = relays(folder.path());
    let most = CHANNELS_MAX as u32;
    for number in 0..=most {
        many.heard(heard(Kind::Open, number, &[0]));
    }
    assert_eq!(sent.recv().await.unwrap(), frame(Order::Close, most, b""));
    assert_eq!(many.channels.len(), CHANNELS_MAX);
    let (outbound, mut sent) = unbounded_channel();
    Relays::new(None, outbound).heard(heard(Kind::Open, 1, &[0]));
    assert_eq!(sent.recv().await.unwrap(), frame(Order::Close, 1, b""));
}
