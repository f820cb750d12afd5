//! Envelopes: order within a lane, limits, and back-pressure.

use headwater_cluster::{Envelope, Transport, TransportError};
use headwater_cluster_quic::QuicSettings;

use crate::support::{Authority, Node, id, pair, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envelopes_keep_their_order_within_a_lane() {
    const PER_LANE: u64 = 500;
    let authority = Authority::new();
    let (a, b) = pair(&authority).await;
    // More lanes than streams: two lanes may share one stream.
    let lanes = 7_u16;
    let sender = a.transport.clone();
    let sent: Vec<Envelope> = (0..PER_LANE)
        .flat_map(|sequence| (0..lanes).map(move |lane| (lane, sequence)))
        .map(|(lane, sequence)| a.envelope(&b, lane, sequence))
        .collect();
    let expected = sent.clone();
    let sending = tokio::spawn(async move {
        for envelope in sent {
            while let Err(error) = sender.send(envelope.clone()).await {
                assert_eq!(error, TransportError::Overloaded(id("b")));
                tokio::task::yield_now().await;
            }
        }
    });
    let mut received = Vec::new();
    for _ in 0..expected.len() {
        received.push(b.receive().await);
    }
    within(sending).await.unwrap();
    received.sort_by_key(|envelope| envelope.lane);
    let mut by_lane = expected;
    by_lane.sort_by_key(|envelope| envelope.lane);
    assert_eq!(received, by_lane);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_above_either_limit_is_refused() {
    let authority = Authority::new();
    let a = Node::start(QuicSettings { payload_bytes: 1_000, ..authority.settings("a", 1) }).await;
    let b = authority.node("b", 1, &[&a]).await;
    a.up("b", 1).await;
    b.up("a", 1).await;
    for (from, to) in [(&a, &b), (&b, &a)] {
        let mut envelope = from.envelope(to, 0, 1);
        envelope.payload = vec![7; 1_001];
        let refused = TransportError::TooLarge { given_bytes: 1_001, allowed_bytes: 1_000 };
        assert_eq!(from.transport.send(envelope.clone()).await, Err(refused));
        envelope.payload.truncate(1_000);
        from.transport.send(envelope.clone()).await.unwrap();
        assert_eq!(to.receive().await, envelope);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_payload_arrives() {
    let authority = Authority::new();
    let (a, b) = pair(&authority).await;
    let mut envelope = a.envelope(&b, 1, 1);
    envelope.payload = (0..1 << 20).map(|index: u32| index as u8).collect();
    a.transport.send(envelope.clone()).await.unwrap();
    assert_eq!(b.receive().await, envelope);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_stands_still_overloads_its_senders_and_nobody_else() {
    let authority = Authority::new();
    let small = |node, seeds| QuicSettings {
        queue_envelopes: 8,
        lanes: 1,
        seeds,
        ..authority.settings(node, 1)
    };
    let a = Node::start(small("a", vec![])).await;
    let b = Node::start(small("b", vec![a.address()])).await;
    let c = Node::start(small("c", vec![a.address()])).await;
    b.up("a", 1).await;
    c.up("a", 1).await;
    let envelope = |sequence| Envelope { payload: vec![1; 100_000], ..a.envelope(&b, 0, sequence) };
    // Taken until the windows and all queues are full, for good.
    let (mut taken, mut refusals) = (0, 0);
    while refusals < 50 {
        match a.transport.send(envelope(taken)).await {
            Ok(()) => (taken, refusals) = (taken + 1, 0),
            Err(error) => {
                assert_eq!(error, TransportError::Overloaded(id("b")));
                refusals += 1;
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
        assert!(taken < 100, "the queue has no bound");
    }
    a.transport.send(a.envelope(&c, 0, 9)).await.unwrap();
    assert_eq!(c.receive().await.sequence, 9);
    let mut stream = within(a.transport.open(&b.id)).await.unwrap();
    within(stream.write(b"past the lanes")).await.unwrap();
    assert!(within(b.transport.accept()).await.is_some());
    for sequence in 0..taken {
        assert_eq!(b.receive().await.sequence, sequence, "what was taken arrives in order");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_a_receive_loses_nothing() {
    let authority = Authority::new();
    let (a, b) = pair(&authority).await;
    for sequence in 0..200 {
        a.transport.send(a.envelope(&b, 0, sequence)).await.unwrap();
    }
    let mut next = 0;
    while next < 200 {
        tokio::select! {
            biased;
            envelope = b.transport.receive() => {
                assert_eq!(envelope.unwrap().sequence, next);
                next += 1;
            }
            () = tokio::task::yield_now() => {}
        }
    }
}
