//! What strangers and broken peers send is refused, told once, and harms no other link.

use std::fmt::Debug;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Mutex, OnceLock};

use headwater_cluster::Transport;
use quinn::Connection;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::raw::{Identity, Raw, forge, frame, hello, hex, names, refused, say};
use crate::support::{Authority, CLUSTER, Node, check_link, id, pair, until, within};

const DATA: &str = "headwater-data/1";

/// Keeps the warnings of the whole test process.
struct Log;

static LINES: OnceLock<Mutex<Vec<String>>> = OnceLock::new();

fn lines() -> &'static Mutex<Vec<String>> {
    LINES.get_or_init(|| {
        tracing::subscriber::set_global_default(Log).unwrap();
        Mutex::default()
    })
}

/// The warnings about connections from this address.
fn warnings(source: &str) -> Vec<String> {
    let source = format!("source={source} ");
    lines().lock().unwrap().iter().filter(|line| line.contains(&source)).cloned().collect()
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!("{}={value:?} ", field.name());
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN && metadata.target().starts_with("headwater")
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        lines().lock().unwrap().push(line.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Two linked nodes, and a client that the first one should refuse.
struct Attacked {
    authority: Authority,
    a: Node,
    b: Node,
    source: &'static str,
}

impl Attacked {
    async fn new(source: &'static str) -> Attacked {
        lines();
        let authority = Authority::new();
        let (a, b) = pair(&authority).await;
        Attacked { authority, a, b, source }
    }

    fn to(&self) -> SocketAddr {
        self.a.transport.address()
    }

    fn own(&self, node: &str) -> Identity {
        forge(self.authority.path(), &names(node, CLUSTER))
    }

    fn client(&self, own: Option<Identity>) -> Raw {
        Raw::new(self.source, self.authority.path(), own, DATA)
    }

    /// A client with a good certificate, connected.
    async fn connected(&self, node: &str) -> Connection {
        self.client(Some(self.own(node))).connect(self.to()).await.unwrap()
    }

    /// Does it three times, expects three refusals, one warning with this text, and an unharmed
    /// link.
    async fn check(&self, code: u64, text: &str, attempt: impl AsyncFn() -> Connection) {
        for count in 1..=3 {
            let connection = attempt().await;
            assert_eq!(refused(&connection).await.0, code, "{text}");
            until("it is counted", || self.a.transport.refused() >= count).await;
        }
        self.unharmed(text).await;
    }

    async fn unharmed(&self, text: &str) {
        let warnings = warnings(self.source);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains(text), "{warnings:?}");
        check_link(&self.a, &self.b).await;
        self.a.stays_quiet().await;
        self.b.stays_quiet().await;
    }
}

/// QUIC's code for TLS's alert.
fn alert(code: u64) -> u64 {
    0x100 + code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_authority() {
    let attacked = Attacked::new("127.0.1.1").await;
    let (other, stranger) = (Authority::of("other"), Authority::new());
    let own = || Some(forge(other.path(), &names("c", CLUSTER)));
    let attempt = async || attacked.client(own()).connect(attacked.to()).await.unwrap();
    attacked.check(alert(48), "UnknownIssuer", attempt).await;
    // A whole node of an authority of the same name refuses this one's certificate in its turn.
    let c = stranger.node("c", 1, &[&attacked.a]).await;
    until("a hears of it", || attacked.a.transport.refused() > 3).await;
    c.stays_quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_certificate() {
    let attacked = Attacked::new("127.0.1.2").await;
    let attempt = async || attacked.client(None).connect(attacked.to()).await.unwrap();
    attacked.check(alert(116), "certificate", attempt).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_another_cluster() {
    let attacked = Attacked::new("127.0.1.3").await;
    let own = || Some(forge(attacked.authority.path(), &names("c", "other")));
    let attempt = async || attacked.client(own()).connect(attacked.to()).await.unwrap();
    attacked.check(2, "another cluster", attempt).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_with_two_names() {
    let attacked = Attacked::new("127.0.1.4").await;
    let mut two = names("c", CLUSTER);
    two.push(hex("d", "node"));
    let own = || Some(forge(attacked.authority.path(), &two));
    let attempt = async || attacked.client(own()).connect(attacked.to()).await.unwrap();
    attacked.check(4, "one node", attempt).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_protocol() {
    let attacked = Attacked::new("127.0.1.5").await;
    let path = attacked.authority.path();
    for count in 1..=3 {
        let client = Raw::new(attacked.source, path, Some(attacked.own("c")), "h3");
        assert!(client.connect(attacked.to()).await.is_err());
        until("it is counted", || attacked.a.transport.refused() >= count).await;
    }
    attacked.unharmed("protocol").await;
}

/// Each is said on the handshake's stream by a client with a good certificate.
async fn check_hello(source: &'static str, bytes: Vec<u8>, code: u64, text: &str) {
    let attacked = Attacked::new(source).await;
    let attempt = async || {
        let connection = attacked.connected("c").await;
        let (mut send, _receive) = say(&connection, &bytes).await;
        send.finish().unwrap();
        within(connection.closed()).await;
        connection
    };
    attacked.check(code, text, attempt).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_of_another_cluster() {
    check_hello("127.0.1.6", hello("other", "c", 4), 2, "another cluster").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_under_another_name() {
    check_hello("127.0.1.7", hello(CLUSTER, "b", 4), 3, "certificate").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_hello() {
    let mut bytes = hello(CLUSTER, "c", 4);
    bytes.truncate(bytes.len() - 3);
    check_hello("127.0.1.8", bytes, 9, "ends too early").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oversized_hello() {
    check_hello("127.0.1.9", frame(&[1; 2_000]), 9, "2000 bytes").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_frame_at_all() {
    check_hello("127.0.1.10", b"GET / HTTP/1.1\r\n\r\n".to_vec(), 9, "no frame").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_frame_than_hello() {
    check_hello("127.0.1.11", frame(&[2, 0, 0, 0, 0, 0, 0, 0, 1]), 9, "wrong kind").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_out_of_range() {
    check_hello("127.0.1.12", hello(CLUSTER, "c", 0), 9, "lanes").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_client() {
    let attacked = Attacked::new("127.0.1.13").await;
    let connections = [attacked.connected("c").await, attacked.connected("d").await];
    // Kept alive by this end's own QUIC, so that only the handshake's limit can end it.
    let mut kept = Vec::new();
    for connection in &connections {
        kept.push(say(connection, b"h").await);
    }
    for connection in &connections {
        assert_eq!(refused(connection).await.0, 10);
    }
    attacked.unharmed("took too long").await;
}

/// Connects as a node named `c`, whose link `a` decides, and says these bytes on a lane.
async fn check_envelope(source: &'static str, bytes: Vec<u8>, text: &str) {
    let attacked = Attacked::new(source).await;
    for count in 1..=3 {
        let connection = attacked.connected("c").await;
        let _hello = say(&connection, &hello(CLUSTER, "c", 1)).await;
        attacked.a.up("c", 1).await;
        let mut lane = connection.open_uni().await.unwrap();
        lane.write_all(&bytes).await.unwrap();
        lane.finish().unwrap();
        let (code, reason) = refused(&connection).await;
        assert!(code == 9 && reason.contains(text), "{code} {reason}");
        assert!(attacked.a.down("c", 1).await.contains(text));
        until("it is counted", || attacked.a.transport.refused() >= count).await;
    }
    attacked.unharmed(text).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oversized_envelope() {
    let bytes = [&(2_000_000_u32).to_be_bytes()[..], &[0; 10]].concat();
    check_envelope("127.0.1.14", bytes, "2000000 bytes").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_envelope() {
    let bytes = [&(100_u32).to_be_bytes()[..], &[0; 50]].concat();
    check_envelope("127.0.1.15", bytes, "ends too early").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_ends() {
    check_envelope("127.0.1.16", Vec::new(), "a lane that ended").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_port() {
    let attacked = Attacked::new("127.0.1.17").await;
    let socket = UdpSocket::bind("127.0.1.17:0").unwrap();
    let mut bytes: Vec<u8> = (0..1_200).map(|index: u32| (index * 167 % 251) as u8).collect();
    for first in 0..=255 {
        // Every kind of packet, long and short headers, and QUIC's version in some of them.
        bytes[0] = first;
        if first % 2 == 0 {
            bytes[1..5].copy_from_slice(&[0, 0, 0, 1]);
        }
        for length in [1, 5, 20, 100, 1_200] {
            socket.send_to(&bytes[..length], attacked.to()).unwrap();
        }
    }
    check_link(&attacked.a, &attacked.b).await;
    attacked.a.stays_quiet().await;
    let c = attacked.authority.node("c", 1, &[&attacked.a]).await;
    attacked.a.up("c", 1).await;
    check_link(&attacked.a, &c).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_handshakes() {
    let attacked = Attacked::new("127.0.1.18").await;
    let client = attacked.client(Some(attacked.own("c")));
    let attempts = (0..100).map(|_| client.connect(attacked.to()));
    let mut held = Vec::new();
    let mut refusals = 0;
    for attempt in attempts.map(Box::pin).collect::<Vec<_>>() {
        match attempt.await {
            Ok(connection) => held.push(connection),
            Err(_) => refusals += 1,
        }
        if refusals == 3 {
            break;
        }
    }
    assert!(held.len() <= 64, "{} handshakes at once", held.len());
    assert_eq!(refusals, 3);
    attacked.unharmed("too many").await;
    drop(held);
    drop(client);
    // The places come free again.
    let c = attacked.authority.node("c", 1, &[&attacked.a]).await;
    attacked.a.up("c", 1).await;
    check_link(&attacked.a, &c).await;
    assert!(within(c.transport.open(&id("a"))).await.is_ok());
}
