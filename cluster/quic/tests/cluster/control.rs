//! Control streams: one per link, on both sides, redialled while the link is up.

use headwater_cluster::Transport;
use headwater_cluster_quic::ControlStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Authority, Node, check_link, pair, until, within};

async fn control(node: &mut Node) -> ControlStream {
    within(node.controls.recv()).await.expect("the transport is open")
}

async fn check_stream(from: &mut ControlStream, to: &mut ControlStream) {
    let sent = vec![9; 200_000];
    let bytes = sent.clone();
    let mut received = vec![0; sent.len()];
    let (written, read) =
        tokio::join!(from.write.write_all(&bytes), within(to.read.read_exact(&mut received)));
    written.unwrap();
    read.unwrap();
    assert_eq!(received, sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_get_the_stream_and_it_carries_bytes() {
    let authority = Authority::new();
    let (mut a, mut b) = pair(&authority).await;
    let (mut at_a, mut at_b) = (control(&mut a).await, control(&mut b).await);
    assert_eq!((&at_a.node, at_a.dialled), (&b.id, false));
    assert_eq!((&at_b.node, at_b.dialled), (&a.id, true), "who dialled the data dials this");
    check_stream(&mut at_a, &mut at_b).await;
    check_stream(&mut at_b, &mut at_a).await;
    assert!(a.transport.links()[0].control && b.transport.links()[0].control);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_control_stream_is_made_anew_and_the_link_stays() {
    let authority = Authority::new();
    let (mut a, mut b) = pair(&authority).await;
    for side in 0..2 {
        let (mut at_a, mut at_b) = (control(&mut a).await, control(&mut b).await);
        check_stream(&mut at_a, &mut at_b).await;
        let (dropped, mut other) = if side == 0 { (at_a, at_b) } else { (at_b, at_a) };
        drop(dropped);
        assert!(within(other.read.read_u8()).await.is_err(), "the other side sees the end");
    }
    let (mut at_a, mut at_b) = (control(&mut a).await, control(&mut b).await);
    check_stream(&mut at_b, &mut at_a).await;
    a.stays_quiet().await;
    check_link(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_control_stream_ends_with_its_link() {
    let authority = Authority::new();
    let (mut a, mut b) = pair(&authority).await;
    let (mut at_a, mut at_b) = (control(&mut a).await, control(&mut b).await);
    a.transport.forget(&b.id);
    assert!(within(at_a.read.read_u8()).await.is_err());
    assert!(within(at_b.read.read_u8()).await.is_err());
    a.down("b", 1).await;
    b.down("a", 1).await;
    // b's seed brings the link back, and with it the control stream.
    a.up("b", 1).await;
    b.up("a", 1).await;
    let (mut at_a, mut at_b) = (control(&mut a).await, control(&mut b).await);
    check_stream(&mut at_a, &mut at_b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_control_has_links_all_the_same() {
    let authority = Authority::new();
    let mut a = authority.node("a", 1, &[]).await;
    a.controls.close();
    let b = authority.node("b", 1, &[&a]).await;
    a.up("b", 1).await;
    b.up("a", 1).await;
    check_link(&a, &b).await;
    b.stays_quiet().await;
    until("no control", || !b.transport.links()[0].control).await;
    assert_eq!((a.transport.refused(), b.transport.refused()), (0, 0));
}
