//! The double keeps the transport's promises, and its faults do what they say.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::{MemoryLimits, MemoryNetwork, MemoryTransport};
use crate::member::{Incarnation, NodeId};
use crate::transport::{
    ByteStream, Envelope, Lane, LinkChange, StreamBroken, Transport, TransportError,
};

const LIMITS: MemoryLimits =
    MemoryLimits { queue_envelopes: 3, payload_bytes: 8, streams: 2, stream_bytes: 4 };

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn join(network: &MemoryNetwork, name: &str, incarnation: u64) -> MemoryTransport {
    network.join(id(name), Incarnation(incarnation))
}

fn network() -> (MemoryNetwork, MemoryTransport, MemoryTransport) {
    let network = MemoryNetwork::new(LIMITS);
    let (a, b) = (join(&network, "a", 1), join(&network, "b", 1));
    (network, a, b)
}

fn envelope(to: &str, sequence: u64) -> Envelope {
    let payload = vec![b'x'; 4];
    Envelope { from: id("a"), to: id(to), lane: Lane(0), sequence, payload }
}

/// Counts how often it was woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>, count: &Arc<Count>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&Waker::from(count.clone())))
}

/// The output of a future that never waits.
fn now<F: Future>(future: F) -> F::Output {
    match poll(pin!(future), &Arc::default()) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future waits"),
    }
}

fn send(transport: &MemoryTransport, to: &str, sequence: u64) -> Result<(), TransportError> {
    now(transport.send(envelope(to, sequence)))
}

fn is_empty(transport: &MemoryTransport) -> bool {
    poll(pin!(transport.receive()), &Arc::default()).is_pending()
}

fn received(transport: &MemoryTransport) -> Option<u64> {
    now(transport.receive()).map(|envelope| envelope.sequence)
}

#[test]
fn envelopes_arrive_whole_and_in_order() {
    let (_network, a, b) = network();
    send(&a, "b", 1).unwrap();
    send(&a, "b", 2).unwrap();
    send(&a, "a", 3).unwrap();
    assert_eq!(now(b.receive()), Some(envelope("b", 1)));
    assert_eq!(received(&b), Some(2));
    assert!(is_empty(&b));
    assert_eq!(received(&a), Some(3), "a node reaches itself");
}

#[test]
fn a_receiver_that_waits_is_woken_by_an_envelope_and_by_the_end() {
    let (network, a, b) = network();
    let count = Arc::new(Count::default());
    let mut waiting = pin!(b.receive());
    assert!(poll(waiting.as_mut(), &count).is_pending());
    send(&a, "b", 1).unwrap();
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert!(matches!(poll(waiting.as_mut(), &count), Poll::Ready(Some(_))));

    let mut waiting = pin!(b.receive());
    assert!(poll(waiting.as_mut(), &count).is_pending());
    let _restarted = join(&network, "b", 2);
    assert_eq!(count.0.load(Ordering::SeqCst), 2);
    assert_eq!(poll(waiting.as_mut(), &count), Poll::Ready(None));
}

#[test]
fn dropping_a_receive_loses_nothing() {
    let (_network, a, b) = network();
    assert!(is_empty(&b));
    send(&a, "b", 1).unwrap();
    drop(b.receive());
    assert_eq!(received(&b), Some(1));
}

#[test]
fn limits_are_errors() {
    let (_network, a, b) = network();
    let mut large = envelope("b", 1);
    large.payload = vec![0; 9];
    let refused = TransportError::TooLarge { given_bytes: 9, allowed_bytes: 8 };
    assert_eq!(now(a.send(large)), Err(refused));
    assert_eq!(send(&a, "nobody", 1), Err(TransportError::Unreachable(id("nobody"))));
    (1..=3).for_each(|sequence| send(&a, "b", sequence).unwrap());
    assert_eq!(send(&a, "b", 4), Err(TransportError::Overloaded(id("b"))));
    assert_eq!(received(&b), Some(1));
    send(&a, "b", 5).unwrap();
    let rest: Vec<_> = (0..3).map(|_| received(&b)).collect();
    assert_eq!(rest, [Some(2), Some(3), Some(5)], "what was refused never arrives");
}

#[test]
fn a_cut_is_one_way_and_can_be_mended() {
    let (network, a, b) = network();
    send(&a, "b", 1).unwrap();
    network.cut(&id("a"), &id("b"));
    assert_eq!(send(&a, "b", 2), Err(TransportError::Unreachable(id("b"))));
    assert_eq!(received(&b), Some(1), "what was sent before is still received");
    send(&b, "a", 3).unwrap();
    assert_eq!(received(&a), Some(3));
    network.mend(&id("a"), &id("b"));
    send(&a, "b", 4).unwrap();
    assert_eq!(received(&b), Some(4));
}

#[test]
fn a_lost_envelope_looks_sent() {
    let (network, a, b) = network();
    network.lose(|envelope| envelope.sequence % 2 == 0);
    (1..=4).for_each(|sequence| send(&a, "b", sequence).unwrap());
    assert_eq!((received(&b), received(&b)), (Some(1), Some(3)));
    assert!(is_empty(&b));
}

#[test]
fn a_restart_and_an_end_close_the_old_transport() {
    let (network, a, old) = network();
    send(&a, "b", 1).unwrap();
    let new = join(&network, "b", 2);
    assert_eq!(now(old.receive()), None);
    assert_eq!(send(&old, "a", 2), Err(TransportError::Closed));
    drop(old);
    send(&a, "b", 3).unwrap();
    assert_eq!(received(&new), Some(3), "the end of the old one leaves the new one connected");
    drop(new);
    assert_eq!(send(&a, "b", 4), Err(TransportError::Unreachable(id("b"))));
}

fn up(node: &str, incarnation: u64) -> LinkChange {
    LinkChange::Up { node: id(node), incarnation: Incarnation(incarnation), version: 1 }
}

fn down(node: &str, incarnation: u64, why: &str) -> LinkChange {
    let incarnation = Incarnation(incarnation);
    LinkChange::Down { node: id(node), incarnation, why: why.to_owned() }
}

/// Every change that waits.
fn changes(transport: &MemoryTransport) -> Vec<LinkChange> {
    let next = || match poll(pin!(transport.next_change()), &Arc::default()) {
        Poll::Ready(change) => change,
        Poll::Pending => None,
    };
    std::iter::from_fn(next).collect()
}

type Stream = Box<dyn ByteStream>;

/// A stream from `a` to `b`, with both ends.
fn stream(a: &MemoryTransport, b: &MemoryTransport) -> (Stream, Stream) {
    let opened = now(a.open(&id("b"))).unwrap();
    let (from, accepted) = now(b.accept()).unwrap();
    assert_eq!(from, id("a"));
    (opened, accepted)
}

#[test]
fn links_change_with_joining_restarting_and_leaving() {
    let (network, a, b) = network();
    assert_eq!(changes(&a), [up("b", 1)]);
    assert_eq!(changes(&b), [up("a", 1)]);
    let new = join(&network, "b", 2);
    assert_eq!(changes(&a), [down("b", 1, "the node was started anew"), up("b", 2)]);
    assert_eq!(now(b.next_change()), None, "the replaced one is closed");
    drop(b);
    assert_eq!(changes(&a), []);
    assert_eq!(changes(&new), [up("a", 1)]);
    drop(new);
    assert_eq!(changes(&a), [down("b", 2, "the node was closed")]);
}

#[test]
fn a_cut_takes_the_link_from_the_side_that_cannot_send() {
    let (network, a, b) = network();
    assert_eq!((changes(&a), changes(&b)), (vec![up("b", 1)], vec![up("a", 1)]));
    network.cut(&id("a"), &id("b"));
    assert_eq!(changes(&a), [down("b", 1, "the direction was cut")]);
    assert_eq!(changes(&b), []);
    for (from, to) in [(&a, "b"), (&b, "a")] {
        let refused = now(from.open(&id(to))).err();
        assert_eq!(refused, Some(TransportError::Unreachable(id(to))), "streams need both");
    }
    network.cut(&id("b"), &id("a"));
    assert_eq!(changes(&b), [down("a", 1, "the direction was cut")]);
    network.mend(&id("a"), &id("b"));
    network.mend(&id("b"), &id("a"));
    assert_eq!((changes(&a), changes(&b)), (vec![up("b", 1)], vec![up("a", 1)]));
}

#[test]
fn changes_that_nobody_reads_do_not_pile_up() {
    let (network, a, _b) = network();
    assert_eq!(changes(&a), [up("b", 1)]);
    for _ in 0..100 {
        network.cut(&id("a"), &id("b"));
        network.mend(&id("a"), &id("b"));
    }
    assert_eq!(changes(&a), [down("b", 1, "the direction was cut"), up("b", 1)]);
}

#[test]
fn a_waiting_task_is_woken_by_a_change_and_by_a_stream() {
    let (network, a, b) = network();
    assert_eq!(changes(&b), [up("a", 1)]);
    let count = Arc::new(Count::default());
    let mut change = pin!(b.next_change());
    let mut accept = pin!(b.accept());
    assert!(poll(change.as_mut(), &count).is_pending());
    let _opened = now(a.open(&id("b"))).unwrap();
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert!(poll(accept.as_mut(), &count).is_ready());
    assert!(poll(change.as_mut(), &count).is_pending());
    network.cut(&id("b"), &id("a"));
    assert_eq!(count.0.load(Ordering::SeqCst), 2);
    assert!(poll(change.as_mut(), &count).is_ready());
}

#[test]
fn forgetting_lasts_until_an_introduction_or_a_restart() {
    let (network, a, b) = network();
    assert_eq!((changes(&a), changes(&b)), (vec![up("b", 1)], vec![up("a", 1)]));
    a.forget(&id("b"));
    assert_eq!(changes(&a), [down("b", 1, "the node was forgotten")]);
    assert_eq!(changes(&b), [down("a", 1, "the node was forgotten")]);
    assert_eq!(send(&a, "b", 1), Err(TransportError::Unreachable(id("b"))));
    a.introduce(&id("b"), "b:7400");
    assert_eq!((changes(&a), changes(&b)), (vec![up("b", 1)], vec![up("a", 1)]));
    a.forget(&id("b"));
    let _new = join(&network, "b", 2);
    assert_eq!(changes(&a), [down("b", 1, "the node was forgotten"), up("b", 2)]);
}

#[test]
fn a_stream_carries_both_directions_to_their_ends() {
    let (_network, a, b) = network();
    let (mut opened, mut accepted) = stream(&a, &b);
    now(opened.write(b"ask")).unwrap();
    now(opened.finish()).unwrap();
    assert_eq!(now(accepted.read()), Ok(Some(b"ask".to_vec())));
    assert_eq!(now(accepted.read()), Ok(None));
    now(accepted.write(b"told")).unwrap();
    now(accepted.finish()).unwrap();
    drop(accepted);
    assert_eq!(now(opened.read()), Ok(Some(b"told".to_vec())), "the end was finished, so whole");
    assert_eq!(now(opened.read()), Ok(None));
    assert_eq!(now(opened.read()), Ok(None));
}

#[test]
fn a_writer_waits_for_its_reader_and_is_woken() {
    let (_network, a, b) = network();
    let (mut opened, mut accepted) = stream(&a, &b);
    let count = Arc::new(Count::default());
    let mut writing = opened.write(b"0123456789");
    assert!(poll(writing.as_mut(), &count).is_pending());
    let before = count.0.load(Ordering::SeqCst);
    assert_eq!(now(accepted.read()), Ok(Some(b"0123".to_vec())), "no more than the capacity");
    assert!(count.0.load(Ordering::SeqCst) > before);
    assert!(poll(writing.as_mut(), &count).is_pending());
    assert_eq!(now(accepted.read()), Ok(Some(b"4567".to_vec())));
    assert!(poll(writing.as_mut(), &count).is_ready());
    drop(writing);
    assert_eq!(now(accepted.read()), Ok(Some(b"89".to_vec())));
    let mut reading = accepted.read();
    let count = Arc::new(Count::default());
    assert!(poll(reading.as_mut(), &count).is_pending());
    now(opened.write(b"x")).unwrap();
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert_eq!(poll(reading.as_mut(), &count), Poll::Ready(Ok(Some(b"x".to_vec()))));
}

#[test]
fn dropping_one_end_cancels_the_other() {
    let (_network, a, b) = network();
    let (mut opened, accepted) = stream(&a, &b);
    let count = Arc::new(Count::default());
    let mut reading = opened.read();
    assert!(poll(reading.as_mut(), &count).is_pending());
    drop(accepted);
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert_eq!(poll(reading.as_mut(), &count), Poll::Ready(Err(StreamBroken::Cancelled)));
    drop(reading);
    assert_eq!(now(opened.write(b"x")), Err(StreamBroken::Cancelled));
    drop(opened);

    let (mut opened, mut accepted) = stream(&a, &b);
    now(opened.write(b"half")).unwrap();
    drop(opened);
    assert_eq!(now(accepted.read()), Err(StreamBroken::Cancelled), "half is not the whole");
    assert_eq!(now(accepted.write(b"x")), Err(StreamBroken::Cancelled));
}

#[test]
fn a_lost_link_breaks_its_streams() {
    let (network, a, b) = network();
    let (mut opened, mut accepted) = stream(&a, &b);
    network.cut(&id("b"), &id("a"));
    let lost = StreamBroken::LinkLost("the direction was cut".to_owned());
    assert_eq!(now(opened.write(b"x")), Err(lost.clone()));
    assert_eq!(now(accepted.read()), Err(lost.clone()));
    network.mend(&id("b"), &id("a"));
    assert_eq!(now(accepted.finish()), Err(lost), "a mended link brings no stream back");
    let mut unaccepted = now(a.open(&id("b"))).unwrap();
    drop(b);
    let lost = StreamBroken::LinkLost("the node was closed".to_owned());
    assert_eq!(now(unaccepted.read()), Err(lost));
}

#[test]
fn streams_are_bounded() {
    let (_network, a, b) = network();
    let first = now(a.open(&id("b"))).unwrap();
    let _second = now(a.open(&id("b"))).unwrap();
    let refused = || now(a.open(&id("b"))).err();
    assert_eq!(refused(), Some(TransportError::Overloaded(id("b"))));
    drop(first);
    assert!(refused().is_some(), "it still waits for the other side to accept it");
    let (_, mut accepted) = now(b.accept()).unwrap();
    assert_eq!(now(accepted.read()), Err(StreamBroken::Cancelled));
    drop(accepted);
    assert_eq!(refused(), None);
    assert_eq!(now(a.open(&id("a"))).err(), Some(TransportError::Unreachable(id("a"))));
}
