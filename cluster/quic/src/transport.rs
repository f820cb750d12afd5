//! The transport itself: starts the tasks, and answers the port's calls.

use std::future::ready;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use headwater_cluster::{ByteStream, Envelope, LinkChange, NodeId, Transport, TransportError};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::timeout;

use crate::accept::accept;
use crate::control::ControlStream;
use crate::dial::{Introductions, dial_seed};
use crate::error::QuicError;
use crate::identity::Identity;
use crate::inbox::{Inbox, next};
use crate::lane::NotTaken;
use crate::link::Link;
use crate::refusal::{Refusal, Refusals};
use crate::settings::QuicSettings;
use crate::shared::Shared;
use crate::stream::QuicStream;
use crate::table::{LinkStatus, Table};

/// Control streams that may wait to be taken.
const CONTROL_QUEUE: usize = 64;

/// A node's links over QUIC. Clones are the same node; when the last one is dropped, the node
/// is closed.
#[derive(Clone)]
pub struct QuicTransport {
    node: Arc<Node>,
}

struct Node {
    shared: Arc<Shared>,
    accepted: Mutex<mpsc::Receiver<(NodeId, QuicStream)>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl QuicTransport {
    /// Reads the identity, binds the address, and starts to accept and to dial the seeds. Each
    /// link's control stream comes out of the receiver; when that is dropped, none are made.
    ///
    /// # Errors
    /// [`QuicError`] when a setting is wrong, a file of the identity is, or the address is taken.
    pub async fn start(
        settings: QuicSettings,
    ) -> Result<(QuicTransport, mpsc::Receiver<ControlStream>), QuicError> {
        settings.check()?;
        let identity = Identity::load(&settings)?;
        let listen = settings.listen;
        let bound = quinn::Endpoint::server(identity.server.clone(), listen)
            .and_then(|endpoint| endpoint.local_addr().map(|address| (endpoint, address)));
        let (endpoint, address) =
            bound.map_err(|source| QuicError::Listen { address: listen, source })?;
        let (accepted, accepts) = mpsc::channel(settings.streams as usize);
        let (control, controls) = mpsc::channel(CONTROL_QUEUE);
        let seeds = settings.seeds.clone();
        let shared = Arc::new(Shared {
            inbox: Inbox::new(settings.queue_envelopes),
            settings,
            endpoint,
            address,
            identity: RwLock::new(Arc::new(identity)),
            table: Table::default(),
            introductions: Introductions::default(),
            accepted,
            control,
            refusals: Refusals::default(),
            closed: watch::Sender::new(false),
            generations: AtomicU64::new(1),
            runtime: Handle::current(),
        });
        shared.spawn(accept(Arc::clone(&shared)));
        for seed in seeds {
            shared.spawn(dial_seed(Arc::clone(&shared), seed));
        }
        let node = Node { shared, accepted: Mutex::new(accepts) };
        Ok((QuicTransport { node: Arc::new(node) }, controls))
    }

    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.shared().address
    }

    /// Host and port that this node tells to others.
    pub fn advertised(&self) -> String {
        self.shared().advertise()
    }

    /// Reads the identity's files again: new connections use them, live ones stay.
    ///
    /// # Errors
    /// [`QuicError::Identity`]; the old identity then stays in use.
    pub fn reload_identity(&self) -> Result<(), QuicError> {
        let shared = self.shared();
        let identity = Identity::load(&shared.settings)?;
        shared.endpoint.set_server_config(Some(identity.server.clone()));
        *shared.identity.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(identity);
        Ok(())
    }

    /// Tells the peers, ends everything, and waits until the peers know or cannot be reached.
    pub async fn close(&self) {
        let shared = self.shared();
        shared.close();
        let longest = Duration::from_millis(shared.settings.idle_timeout_ms);
        if timeout(longest, shared.endpoint.wait_idle()).await.is_err() {
            tracing::debug!("cluster peers did not confirm the closing in time");
        }
    }

    /// The live links in order of name.
    pub fn links(&self) -> Vec<LinkStatus> {
        self.shared().table.statuses()
    }

    /// How many connections were refused since the start, dials to this node itself and second
    /// connections of a linked pair not counted.
    pub fn refused(&self) -> u64 {
        self.shared().refusals.count()
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.node.shared
    }

    fn link(&self, node: &NodeId) -> Result<Arc<Link>, TransportError> {
        let shared = self.shared();
        if shared.is_closed() {
            return Err(TransportError::Closed);
        }
        shared.table.get(node).ok_or_else(|| TransportError::Unreachable(node.clone()))
    }
}

#[async_trait]
impl Transport for QuicTransport {
    async fn send(&self, envelope: Envelope) -> Result<(), TransportError> {
        let shared = self.shared();
        let to = envelope.to.clone();
        let is_own = to == shared.settings.node;
        let link = if is_own && !shared.is_closed() { None } else { Some(self.link(&to)?) };
        let given_bytes = envelope.payload.len();
        let allowed_bytes =
            link.as_ref().map_or(shared.settings.payload_bytes, |link| link.payload_bytes);
        if given_bytes > allowed_bytes {
            return Err(TransportError::TooLarge { given_bytes, allowed_bytes });
        }
        match link {
            None => shared.inbox.try_push(envelope).map_err(|_| TransportError::Overloaded(to)),
            Some(link) => link.offer(envelope).map_err(|not_taken| match not_taken {
                NotTaken::Full => TransportError::Overloaded(to),
                NotTaken::Ended => TransportError::Unreachable(to),
            }),
        }
    }

    async fn receive(&self) -> Option<Envelope> {
        self.shared().inbox.pop(&self.shared().closed).await
    }

    async fn open(&self, to: &NodeId) -> Result<Box<dyn ByteStream>, TransportError> {
        let link = self.link(to)?;
        let opened = tokio::select! {
            biased;
            opened = link.connection.open_bi() => opened,
            // Not at once means that the peer allows no further stream now.
            () = ready(()) => return Err(TransportError::Overloaded(to.clone())),
        };
        let unreachable = || TransportError::Unreachable(to.clone());
        let (send, receive) = opened.map_err(|_| unreachable())?;
        let stream = QuicStream::open(send, receive).await.map_err(|_| unreachable())?;
        Ok(Box::new(stream))
    }

    async fn accept(&self) -> Option<(NodeId, Box<dyn ByteStream>)> {
        let (node, stream) = next(&self.node.accepted, &self.shared().closed).await?;
        Some((node, Box::new(stream)))
    }

    async fn next_change(&self) -> Option<LinkChange> {
        self.shared().table.changes.next().await
    }

    fn introduce(&self, node: &NodeId, address: &str) {
        let shared = self.shared();
        shared.introductions.introduce(shared, node, address);
    }

    fn forget(&self, node: &NodeId) {
        let shared = self.shared();
        shared.introductions.forget(node);
        if let Some(link) = shared.table.get(node) {
            link.close(Refusal::Forgotten);
        }
        shared.table.touch();
    }
}
