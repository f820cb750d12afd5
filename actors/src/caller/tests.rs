//! One reply or one error for each call, whatever the network brings.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_cluster::{
    Envelope, Incarnation, Lane, MemoryLimits, MemoryNetwork, MemoryTransport, NodeId, Transport,
};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::{ANSWERING_MAX, CallError, Caller, HEAD_BYTES, REFUSAL, REPLY, REQUEST, Service};
use super::{message, parse};
use crate::cluster::tests::world::{Draws, environment, id, pause, until, within};
use crate::runtime::Runtime;

const LIMITS: MemoryLimits =
    MemoryLimits { queue_envelopes: 10_000, payload_bytes: 4096, streams: 1, stream_bytes: 1 };

fn network() -> MemoryNetwork {
    MemoryNetwork::new(LIMITS)
}

fn join(network: &MemoryNetwork, name: &str) -> MemoryTransport {
    network.join(id(name), Incarnation(1))
}

/// A caller that nothing runs yet.
fn idle(network: &MemoryNetwork, name: &str) -> Caller {
    let seed = name.bytes().fold(7, |sum, byte| sum * 31 + u64::from(byte));
    let runtime = Runtime::tokio(environment(seed), || 0);
    Caller::new(id(name), Arc::new(join(network, name)), runtime)
}

/// A caller that receives, and echoes with its own name in front.
fn caller(network: &MemoryNetwork, name: &'static str) -> Caller {
    let caller = idle(network, name);
    caller.serve(Service::Echo, move |from, body| async move {
        [name.as_bytes(), b" to ", from.as_str().as_bytes(), b": ", &body].concat()
    });
    tokio::spawn(caller.clone().run());
    caller
}

type Outcome = Result<Vec<u8>, CallError>;

fn spawn_call(caller: &Caller, to: &str, body: &[u8], timeout_ms: u64) -> JoinHandle<Outcome> {
    let (caller, to, body) = (caller.clone(), id(to), body.to_vec());
    tokio::spawn(async move { caller.call(&to, Service::Echo, body, timeout_ms).await })
}

async fn call(caller: &Caller, to: &str, body: &[u8], timeout_ms: u64) -> Outcome {
    within(spawn_call(caller, to, body, timeout_ms)).await.expect("no panic")
}

async fn ended(call: JoinHandle<Outcome>) -> Outcome {
    within(call).await.expect("no panic")
}

fn unanswered(node: &str, why: &str) -> Outcome {
    Err(CallError::Unanswered { node: id(node), why: why.to_owned() })
}

fn pending(caller: &Caller) -> usize {
    caller.shared.lock().len()
}

/// The next request as the transport brings it: its number and body.
async fn next_request(transport: &MemoryTransport) -> (u64, Vec<u8>) {
    let envelope = within(transport.receive()).await.expect("open");
    let (kind, service, number, body) = parse(&envelope.payload).expect("a message");
    assert_eq!((kind, service), (REQUEST, Service::Echo as u8));
    (number, body.to_vec())
}

async fn send(transport: &MemoryTransport, from: &str, to: &str, payload: Vec<u8>) {
    let (from, to) = (id(from), id(to));
    let envelope = Envelope { from, to, lane: Lane(0), sequence: 0, payload };
    transport.send(envelope).await.expect("sent");
}

#[tokio::test(start_paused = true)]
async fn each_call_gets_its_own_reply() {
    let network = network();
    let (a, b) = (caller(&network, "a"), caller(&network, "b"));
    assert_eq!(call(&a, "b", b"x", 1000).await, Ok(b"b to a: x".to_vec()));
    assert_eq!(call(&b, "a", b"", 1000).await, Ok(b"a to b: ".to_vec()));
    assert_eq!(call(&a, "a", b"own", 1000).await, Ok(b"a to a: own".to_vec()));
    let calls: Vec<_> =
        (0..500u32).map(|one| (one, spawn_call(&a, "b", &one.to_le_bytes(), 1000))).collect();
    for (one, call) in calls {
        assert_eq!(ended(call).await, Ok([b"b to a: ".as_slice(), &one.to_le_bytes()].concat()));
    }
    assert_eq!(pending(&a), 0);
}

#[tokio::test(start_paused = true)]
async fn the_first_answerer_of_a_service_stays() {
    let network = network();
    let (a, b) = (caller(&network, "a"), caller(&network, "b"));
    b.serve(Service::Echo, |_, _| async { b"second".to_vec() });
    assert_eq!(call(&a, "b", b"x", 1000).await, Ok(b"b to a: x".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_nobody_serves_is_refused() {
    let network = network();
    let (a, _b) = (caller(&network, "a"), caller(&network, "b"));
    let remote = within(a.call(&id("b"), Service::Storage, Vec::new(), 1000)).await;
    assert_eq!(remote, Err(CallError::Overloaded { node: id("b") }));
    let local = within(a.call(&id("a"), Service::Storage, Vec::new(), 1000)).await;
    let why = "no such service".to_owned();
    assert_eq!(local, Err(CallError::NotSent { node: id("a"), why }));
    assert_eq!(pending(&a), 0);
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_node_is_not_asked() {
    let network = network();
    let a = caller(&network, "a");
    let outcome = call(&a, "nobody", b"x", 1000).await;
    assert!(matches!(outcome, Err(CallError::NotSent { node, .. }) if node == id("nobody")));
    let _b = join(&network, "b");
    let huge = call(&a, "b", &[0; 5000], 1000).await;
    let Err(CallError::NotSent { why, .. }) = huge else { panic!("{huge:?}") };
    assert!(why.contains("4096"), "{why}");
    assert_eq!(pending(&a), 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_with_too_much_to_do_refuses_and_goes_on() {
    let network = network();
    let (a, b) = (caller(&network, "a"), idle(&network, "b"));
    let gate = Arc::new(Semaphore::new(0));
    let (held, waiting) = (Arc::clone(&gate), Arc::new(Semaphore::new(0)));
    let begun = Arc::clone(&waiting);
    b.serve(Service::Echo, move |_, body| {
        let (gate, begun) = (Arc::clone(&held), Arc::clone(&begun));
        async move {
            begun.add_permits(1);
            gate.acquire().await.expect("open").forget();
            body
        }
    });
    tokio::spawn(b.clone().run());
    let calls: Vec<_> = (0..ANSWERING_MAX).map(|_| spawn_call(&a, "b", b"held", 60_000)).collect();
    until(|| waiting.available_permits() == ANSWERING_MAX).await;
    let above = call(&a, "b", b"above", 60_000).await;
    assert_eq!(above, Err(CallError::Overloaded { node: id("b") }));
    gate.add_permits(ANSWERING_MAX + 1);
    for call in calls {
        assert_eq!(ended(call).await, Ok(b"held".to_vec()));
    }
    assert_eq!(call(&a, "b", b"after", 60_000).await, Ok(b"after".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_to_a_node_is_overload() {
    let network = MemoryNetwork::new(MemoryLimits { queue_envelopes: 1, ..LIMITS });
    let (a, _b) = (caller(&network, "a"), join(&network, "b"));
    let first = spawn_call(&a, "b", b"first", 100);
    until(|| pending(&a) == 1).await;
    assert_eq!(call(&a, "b", b"x", 100).await, Err(CallError::Overloaded { node: id("b") }));
    assert_eq!(ended(first).await, unanswered("b", "its time was up"));
    assert_eq!(pending(&a), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_with_its_time_and_a_late_reply_finds_nobody() {
    let network = network();
    let (a, b) = (caller(&network, "a"), join(&network, "b"));
    let late = spawn_call(&a, "b", b"late", 100);
    let (number, _) = next_request(&b).await;
    assert_eq!(ended(late).await, unanswered("b", "its time was up"));
    assert_eq!(pending(&a), 0);
    let next = spawn_call(&a, "b", b"next", 100);
    let (next_number, _) = next_request(&b).await;
    assert_ne!(number, next_number);
    send(&b, "b", "a", message(REPLY, Service::Echo as u8, number, b"late")).await;
    send(&b, "b", "a", message(REPLY, Service::Echo as u8, next_number, b"next")).await;
    assert_eq!(ended(next).await, Ok(b"next".to_vec()));

    let local = idle(&network, "c");
    local.serve(Service::Echo, |_, _| std::future::pending());
    assert_eq!(call(&local, "c", b"x", 100).await, unanswered("c", "its time was up"));
}

#[tokio::test(start_paused = true)]
async fn a_lost_link_fails_what_waits_for_that_node_at_once() {
    let network = network();
    let a = caller(&network, "a");
    let (b, c) = (join(&network, "b"), join(&network, "c"));
    let to_b = [spawn_call(&a, "b", b"1", 60_000), spawn_call(&a, "b", b"2", 60_000)];
    let to_c = spawn_call(&a, "c", b"3", 60_000);
    let (number, _) = next_request(&c).await;
    let requests = [next_request(&b).await.1, next_request(&b).await.1];
    assert_eq!(requests, [b"1", b"2"]);
    let now_ms = a.runtime().now_ms();
    a.lost(&id("b"), "cut off");
    for call in to_b {
        assert_eq!(ended(call).await, unanswered("b", "cut off"));
    }
    assert_eq!(a.runtime().now_ms(), now_ms, "nobody waited");
    send(&c, "c", "a", message(REPLY, Service::Echo as u8, number, b"three")).await;
    assert_eq!(ended(to_c).await, Ok(b"three".to_vec()));
    assert_eq!(pending(&a), 0);
}

#[tokio::test(start_paused = true)]
async fn only_the_node_that_was_asked_may_answer() {
    let network = network();
    let a = caller(&network, "a");
    let (b, c) = (join(&network, "b"), join(&network, "c"));
    let waiting = spawn_call(&a, "b", b"x", 60_000);
    let (number, _) = next_request(&b).await;
    send(&c, "c", "a", message(REPLY, Service::Echo as u8, number, b"forged")).await;
    send(&c, "c", "a", message(REFUSAL, Service::Echo as u8, number, b"")).await;
    pause(10).await;
    assert!(!waiting.is_finished());
    send(&b, "b", "a", message(REPLY, Service::Echo as u8, number, b"true")).await;
    assert_eq!(ended(waiting).await, Ok(b"true".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_message_is_dropped_and_the_node_goes_on() {
    let network = network();
    let (a, b) = (caller(&network, "a"), join(&network, "b"));
    let draws = Draws::new(11);
    for length in 0..HEAD_BYTES {
        send(&b, "b", "a", vec![REQUEST; length]).await;
    }
    for kind in REFUSAL..=u8::MAX {
        send(&b, "b", "a", message(kind, Service::Echo as u8, 1, b"x")).await;
    }
    let mut asked = BTreeMap::new();
    for number in 0..2000 {
        let service = draws.next() as u8;
        send(&b, "b", "a", message(REQUEST, service, number, &draws.bytes(64))).await;
        asked.insert(number, service);
    }
    while !asked.is_empty() {
        let reply = within(b.receive()).await.expect("open");
        let (kind, service, number, _) = parse(&reply.payload).expect("a message");
        assert_eq!(asked.remove(&number), Some(service));
        assert_eq!(kind, if service == Service::Echo as u8 { REPLY } else { REFUSAL });
    }
    let waiting = spawn_call(&a, "b", b"x", 60_000);
    let (number, _) = next_request(&b).await;
    for _ in 0..2000 {
        let bytes: Vec<u8> = std::iter::once(REPLY).chain(draws.bytes(64)).collect();
        send(&b, "b", "a", bytes).await;
    }
    pause(10).await;
    assert!(!waiting.is_finished());
    send(&b, "b", "a", message(REPLY, Service::Echo as u8, number, b"true")).await;
    assert_eq!(ended(waiting).await, Ok(b"true".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_leaves_nothing_behind() {
    let network = network();
    let (a, b) = (caller(&network, "a"), join(&network, "b"));
    let calls: Vec<_> = (0..10).map(|_| spawn_call(&a, "b", b"x", 60_000)).collect();
    until(|| pending(&a) == 10).await;
    for call in &calls {
        call.abort();
    }
    for call in calls {
        assert!(within(call).await.expect_err("aborted").is_cancelled());
    }
    assert_eq!(pending(&a), 0);
    let (number, _) = next_request(&b).await;
    send(&b, "b", "a", message(REPLY, Service::Echo as u8, number, b"to nobody")).await;
    drop(b);
    let _b = caller(&network, "b");
    assert_eq!(call(&a, "b", b"x", 1000).await, Ok(b"b to a: x".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn a_closed_node_tells_those_who_wait_and_asks_nobody() {
    let network = network();
    let (a, _b) = (caller(&network, "a"), join(&network, "b"));
    let waiting = spawn_call(&a, "b", b"x", 60_000);
    until(|| pending(&a) == 1).await;
    let restarted: NodeId = id("a");
    let _restarted = network.join(restarted, Incarnation(2));
    assert_eq!(ended(waiting).await, unanswered("b", "this node is closing"));
    let after = call(&a, "b", b"x", 60_000).await;
    assert!(matches!(after, Err(CallError::NotSent { .. })), "{after:?}");
    assert_eq!(pending(&a), 0);
}
