//! The double keeps the transport's promises, and its faults do what they say.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::{MemoryLimits, MemoryNetwork, MemoryTransport};
use crate::member::NodeId;
use crate::transport::{Envelope, Lane, Transport, TransportError};

const LIMITS: MemoryLimits = MemoryLimits { queue_envelopes: 3, payload_bytes: 8 };

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn network() -> (MemoryNetwork, MemoryTransport, MemoryTransport) {
    let network = MemoryNetwork::new(LIMITS);
    let (a, b) = (network.join(id("a")), network.join(id("b")));
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

fn poll<F: Future>(future: Pin<&mut F>, count: &Arc<Count>) -> Poll<F::Output> {
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
    let _restarted = network.join(id("b"));
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
    let new = network.join(id("b"));
    assert_eq!(now(old.receive()), None);
    assert_eq!(send(&old, "a", 2), Err(TransportError::Closed));
    drop(old);
    send(&a, "b", 3).unwrap();
    assert_eq!(received(&new), Some(3), "the end of the old one leaves the new one connected");
    drop(new);
    assert_eq!(send(&a, "b", 4), Err(TransportError::Unreachable(id("b"))));
}
