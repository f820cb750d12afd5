//! Envelopes and streams of one node, with a peer that the test plays.

use std::sync::Arc;
use std::time::Duration;

use headwater_cluster::{
    Envelope, Incarnation, Lane, LinkChange, NodeId, StreamBroken, Transport, TransportError,
};
use tokio::time::timeout;

use super::clock::NodeClock;
use super::{Links, LockstepTransport, Outbox, Overrides};
use crate::lockstep::node_names;
use crate::lockstep::wire::{FromNode, Hello, Passing};

struct Stage {
    links: Arc<Links>,
    transport: LockstepTransport,
    outbox: Outbox,
    peer: NodeId,
}

/// The first of two nodes; its peer has the number 1.
fn stage() -> Stage {
    let overrides = Overrides { switch_on: |_| {}, set_clocks: |_, _| {} };
    let hello = Hello {
        seed: 1,
        node: 0,
        nodes: 2,
        incarnation: 1,
        now_ms: 5,
        wall_offset_ms: 0,
        workload: String::new(),
        parameters: String::new(),
    };
    let outbox = Outbox::new(&Arc::new(NodeClock::new(overrides, &hello)));
    let names = node_names(2);
    let links = Arc::new(Links::new(names[0].clone(), names.clone(), outbox.clone()));
    let transport = LockstepTransport::new(Arc::clone(&links));
    Stage { links, transport, outbox, peer: names[1].clone() }
}

impl Stage {
    fn passed(&self) -> Vec<Passing> {
        let passing = |(_, deed)| match deed {
            FromNode::Pass { peer: 1, round: 7, passing } => passing,
            other => panic!("{other:?}"),
        };
        self.outbox.take().into_iter().map(passing).collect()
    }

    fn envelope(&self, sequence: u64) -> Envelope {
        let from = NodeId::new("n1").unwrap();
        Envelope { from, to: self.peer.clone(), lane: Lane(3), sequence, payload: vec![9] }
    }
}

#[tokio::test]
async fn envelopes_need_a_link_and_a_window() {
    let stage = stage();
    let unreachable = Err(TransportError::Unreachable(stage.peer.clone()));
    assert_eq!(stage.transport.send(stage.envelope(0)).await, unreachable);
    stage.links.up(1, 7, Incarnation(4));
    let mut sent = 0;
    let refused = loop {
        match stage.transport.send(stage.envelope(sent)).await {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, TransportError::Overloaded(stage.peer.clone()));
    assert_eq!(stage.passed().len() as u64, sent);
    stage.links.passed(1, Passing::EnvelopesTaken { count: 1 });
    assert_eq!(stage.transport.send(stage.envelope(sent)).await, Ok(()));
    assert!(stage.transport.send(stage.envelope(sent)).await.is_err());
    stage.links.down(1, 7, "gone");
    assert_eq!(stage.transport.send(stage.envelope(sent)).await, unreachable);
    let up = LinkChange::Up { node: stage.peer.clone(), incarnation: Incarnation(4), version: 1 };
    assert_eq!(stage.transport.next_change().await, Some(up));
    let down = stage.transport.next_change().await;
    assert!(matches!(down, Some(LinkChange::Down { why, .. }) if why == "gone"));
}

#[tokio::test]
async fn taken_envelopes_are_told_in_groups() {
    let stage = stage();
    stage.links.up(1, 7, Incarnation(1));
    for sequence in 0..40 {
        let payload = vec![1];
        stage.links.passed(1, Passing::Envelope { lane: 2, sequence, payload });
    }
    for sequence in 0..40 {
        let envelope = stage.transport.receive().await.unwrap();
        assert_eq!((envelope.from, envelope.sequence), (stage.peer.clone(), sequence));
    }
    assert_eq!(stage.passed(), [Passing::EnvelopesTaken { count: 32 }]);
}

#[tokio::test]
async fn a_stream_waits_for_its_window_and_ends_in_order() {
    let stage = stage();
    stage.links.up(1, 7, Incarnation(1));
    let mut stream = stage.transport.open(&stage.peer).await.unwrap();
    let bytes = vec![5; 1 << 20];
    let blocked = timeout(Duration::from_millis(20), stream.write(&bytes)).await;
    assert!(blocked.is_err(), "a window is finite");
    let passed = stage.passed();
    let Some(Passing::StreamOpened { stream: number }) = passed.first().cloned() else {
        panic!("{passed:?}")
    };
    let sent: usize = passed[1..]
        .iter()
        .map(|passing| match passing {
            Passing::StreamBytes { bytes, .. } => bytes.len(),
            other => panic!("{other:?}"),
        })
        .sum();
    assert!(sent > 0 && sent < bytes.len(), "{sent}");
    stage.links.passed(1, Passing::StreamTaken { stream: number, bytes: 10 });
    stream.write(&[1; 10]).await.unwrap();
    stream.finish().await.unwrap();
    stage.links.passed(1, Passing::StreamBytes { stream: number, bytes: vec![2, 3] });
    stage.links.passed(1, Passing::StreamFinished { stream: number });
    assert_eq!(stream.read().await, Ok(Some(vec![2, 3])));
    assert_eq!(stream.read().await, Ok(None));
    let expected = [
        Passing::StreamBytes { stream: number, bytes: vec![1; 10] },
        Passing::StreamFinished { stream: number },
        Passing::StreamTaken { stream: number, bytes: 2 },
    ];
    assert_eq!(stage.passed(), expected);
    drop(stream);
    assert_eq!(stage.passed(), [], "both directions had ended");
}

#[tokio::test]
async fn a_dropped_stream_cancels_and_a_lost_link_breaks() {
    let stage = stage();
    stage.links.up(1, 7, Incarnation(1));
    stage.links.passed(1, Passing::StreamOpened { stream: 8 });
    let (from, stream) = stage.transport.accept().await.unwrap();
    assert_eq!(from, stage.peer);
    drop(stream);
    let given_up = Passing::StreamGivenUp { stream: 8, reading: true, writing: true };
    assert_eq!(stage.passed(), [given_up]);

    let mut cancelled = stage.transport.open(&stage.peer).await.unwrap();
    let mut lost = stage.transport.open(&stage.peer).await.unwrap();
    let passed = stage.passed();
    let Passing::StreamOpened { stream: number } = passed[0] else { panic!("{passed:?}") };
    let given_up = Passing::StreamGivenUp { stream: number, reading: true, writing: true };
    stage.links.passed(1, given_up);
    assert_eq!(cancelled.read().await, Err(StreamBroken::Cancelled));
    assert_eq!(cancelled.write(&[1]).await, Err(StreamBroken::Cancelled));
    stage.links.down(1, 7, "idle");
    let broken = StreamBroken::LinkLost("idle".to_owned());
    assert_eq!(lost.read().await, Err(broken.clone()));
    assert_eq!(lost.write(&[1]).await, Err(broken));
}
