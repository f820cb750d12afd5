//! Certificates, settings and waiting for the tests.

use std::future::Future;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::Duration;

use headwater_cluster::{Envelope, Incarnation, Lane, LinkChange, NodeId, Transport};
use headwater_cluster_quic::{
    ControlStream, IdentityFiles, QuicError, QuicSettings, QuicTransport, authority,
};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

pub(crate) const CLUSTER: &str = "Test_1.eu";

pub(crate) fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

/// An authority in a folder of its own, with the certificates it issued.
pub(crate) struct Authority {
    folder: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        Authority::of(CLUSTER)
    }

    pub(crate) fn of(cluster: &str) -> Authority {
        let folder = tempfile::tempdir().unwrap();
        authority::create(cluster, folder.path()).unwrap();
        Authority { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The node's files, issued at the first call.
    pub(crate) fn identity(&self, node: &str) -> IdentityFiles {
        let out = self.path().join(node);
        if !out.exists() {
            std::fs::create_dir(&out).unwrap();
            authority::issue(self.path(), &id(node), &out, 1).unwrap();
        }
        files(self.path().join("ca.pem"), &out)
    }

    pub(crate) fn settings(&self, node: &str, incarnation: u64) -> QuicSettings {
        let identity = self.identity(node);
        let incarnation = Incarnation(incarnation);
        let settings = QuicSettings::new(id(node), incarnation, CLUSTER, identity);
        QuicSettings { redial_first_ms: 20, redial_longest_ms: 200, ..settings }
    }

    /// A node with these seeds.
    pub(crate) async fn node(&self, node: &str, incarnation: u64, seeds: &[&Node]) -> Node {
        let seeds = seeds.iter().map(|seed| seed.address()).collect();
        Node::start(QuicSettings { seeds, ..self.settings(node, incarnation) }).await
    }
}

pub(crate) fn files(authority: PathBuf, folder: &Path) -> IdentityFiles {
    IdentityFiles { authority, certificate: folder.join("node.pem"), key: folder.join("node.key") }
}

pub(crate) struct Node {
    pub(crate) transport: QuicTransport,
    pub(crate) controls: mpsc::Receiver<ControlStream>,
    pub(crate) id: NodeId,
}

impl Node {
    pub(crate) async fn start(settings: QuicSettings) -> Node {
        let id = settings.node.clone();
        let (transport, controls) = QuicTransport::start(settings).await.unwrap();
        Node { transport, controls, id }
    }

    /// Starts on an address that a node in this process has just left: its socket may take a
    /// moment to go.
    pub(crate) async fn start_once_free(settings: QuicSettings) -> Node {
        let id = settings.node.clone();
        let starting = async {
            loop {
                match QuicTransport::start(settings.clone()).await {
                    Err(QuicError::Listen { .. }) => sleep(Duration::from_millis(20)).await,
                    started => return started.unwrap(),
                }
            }
        };
        let (transport, controls) = within(starting).await;
        Node { transport, controls, id }
    }

    pub(crate) fn address(&self) -> String {
        self.transport.address().to_string()
    }

    pub(crate) async fn change(&self) -> LinkChange {
        within(self.transport.next_change()).await.expect("the transport is open")
    }

    /// Expects that the next change is this node's `Up`, and returns its version.
    pub(crate) async fn up(&self, node: &str, incarnation: u64) -> u16 {
        match self.change().await {
            LinkChange::Up { node: up, incarnation: of, version }
                if up == id(node) && of == Incarnation(incarnation) =>
            {
                version
            }
            other => panic!("{} waits for the link to {node}: {other:?}", self.id),
        }
    }

    /// Expects that the next change is this node's `Down`, and returns why.
    pub(crate) async fn down(&self, node: &str, incarnation: u64) -> String {
        match self.change().await {
            LinkChange::Down { node: down, incarnation: of, why }
                if down == id(node) && of == Incarnation(incarnation) =>
            {
                why
            }
            other => panic!("{} waits for the end of the link to {node}: {other:?}", self.id),
        }
    }

    pub(crate) fn envelope(&self, to: &Node, lane: u16, sequence: u64) -> Envelope {
        let (from, to) = (self.id.clone(), to.id.clone());
        Envelope { from, to, lane: Lane(lane), sequence, payload: sequence.to_be_bytes().to_vec() }
    }

    pub(crate) async fn receive(&self) -> Envelope {
        within(self.transport.receive()).await.expect("the transport is open")
    }

    /// Nothing has changed, also after what was under way had time to happen.
    pub(crate) async fn stays_quiet(&self) {
        let change = timeout(Duration::from_millis(400), self.transport.next_change()).await;
        assert!(change.is_err(), "{} saw {change:?}", self.id);
    }
}

/// A link between the two passes envelopes both ways.
pub(crate) async fn check_link(a: &Node, b: &Node) {
    for (from, to) in [(a, b), (b, a)] {
        let sent = from.envelope(to, 3, 77);
        from.transport.send(sent.clone()).await.unwrap();
        assert_eq!(to.receive().await, sent);
    }
}

/// Two linked nodes.
pub(crate) async fn pair(authority: &Authority) -> (Node, Node) {
    let a = authority.node("a", 1, &[]).await;
    let b = authority.node("b", 1, &[&a]).await;
    a.up("b", 1).await;
    b.up("a", 1).await;
    (a, b)
}

/// The output, or a failure where the test would hang.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(30), future).await.expect("the test hangs")
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// A UDP port that was free a moment ago.
pub(crate) fn free_address() -> std::net::SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
