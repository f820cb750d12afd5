//! The live connection to one node, and the tasks that carry its lanes and streams.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use headwater_cluster::{Envelope, Incarnation, NodeId};
use quinn::Connection;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::control;
use crate::frame::{FrameError, Hello, STREAM_REQUEST};
use crate::lane::{self, LaneQueue, LaneSender, NotTaken};
use crate::refusal::Refusal;
use crate::settings::{HANDSHAKE_LONGEST, QuicSettings};
use crate::shared::Shared;
use crate::stream::QuicStream;

pub(crate) struct Link {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) version: u16,
    /// The number that the smaller name gave it; both sides know it.
    pub(crate) generation: u64,
    /// Whether this side dialled.
    pub(crate) dialled: bool,
    /// Where the peer says that it can be reached.
    pub(crate) advertise: String,
    /// The largest payload that the peer takes and this side sends.
    pub(crate) payload_bytes: usize,
    pub(crate) connection: Connection,
    peer_lanes: u16,
    lanes: Vec<LaneSender>,
    control: Mutex<Option<Connection>>,
    /// Why this side ended it, if it did.
    ended: OnceLock<Refusal>,
}

/// What the two sides agreed on.
pub(crate) struct Agreed {
    pub(crate) hello: Hello,
    pub(crate) version: u16,
    pub(crate) generation: u64,
    pub(crate) dialled: bool,
}

impl Link {
    pub(crate) fn new(
        settings: &QuicSettings,
        connection: Connection,
        agreed: Agreed,
    ) -> (Arc<Link>, Vec<LaneQueue>) {
        let Agreed { hello, version, generation, dialled } = agreed;
        let pairs = (0..settings.lanes).map(|_| lane::lane(settings.queue_envelopes));
        let (lanes, queues) = pairs.unzip();
        let link = Link {
            node: hello.node,
            incarnation: hello.incarnation,
            version,
            generation,
            dialled,
            advertise: hello.advertise,
            payload_bytes: settings.payload_bytes.min(hello.payload_bytes as usize),
            connection,
            peer_lanes: hello.lanes,
            lanes,
            control: Mutex::default(),
            ended: OnceLock::new(),
        };
        (Arc::new(link), queues)
    }

    /// Queues the envelope on its lane.
    pub(crate) fn offer(&self, envelope: Envelope) -> Result<(), NotTaken> {
        let index = usize::from(envelope.lane.0) % self.lanes.len().max(1);
        match self.lanes.get(index) {
            Some(lane) => lane.offer(envelope),
            None => Err(NotTaken::Ended),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.connection.close_reason().is_some()
    }

    /// Ends the link; the first cause stays.
    pub(crate) fn close(&self, cause: Refusal) {
        // Before the connection ends, for then the link's task reads it. It is set already when
        // two causes meet.
        let _ = self.ended.set(cause.clone());
        cause.close(&self.connection);
        self.drop_control();
    }

    /// Makes this the link's control connection and ends the one before.
    pub(crate) fn set_control(&self, connection: Connection) {
        let before = self.control().replace(connection);
        if let Some(before) = before {
            Refusal::Replaced.close(&before);
        }
        if self.is_closed() {
            self.drop_control();
        }
    }

    pub(crate) fn has_control(&self) -> bool {
        self.control().as_ref().is_some_and(|control| control.close_reason().is_none())
    }

    fn drop_control(&self) {
        if let Some(control) = self.control().take() {
            Refusal::NoLink.close(&control);
        }
    }

    fn control(&self) -> MutexGuard<'_, Option<Connection>> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries the link until its connection ends, then takes it out of the table.
pub(crate) async fn run(shared: Arc<Shared>, link: Arc<Link>, queues: Vec<LaneQueue>) {
    let mut tasks = JoinSet::new();
    for queue in queues {
        let (shared, link) = (Arc::clone(&shared), Arc::clone(&link));
        tasks.spawn(async move {
            let written = lane::write(link.connection.clone(), queue).await;
            end_if_broken(&shared, &link, written);
        });
    }
    tasks.spawn(read_lanes(Arc::clone(&shared), Arc::clone(&link)));
    tasks.spawn(accept_streams(Arc::clone(&shared), Arc::clone(&link)));
    if link.dialled {
        tasks.spawn(control::keep(Arc::clone(&shared), Arc::clone(&link)));
    }
    let ended = link.connection.closed().await;
    tasks.abort_all();
    link.drop_control();
    let why = link.ended.get().cloned().unwrap_or_else(|| Refusal::from(ended));
    shared.table.remove(&link, why.to_string());
}

async fn read_lanes(shared: Arc<Shared>, link: Arc<Link>) {
    let mut lanes = JoinSet::new();
    for _ in 0..link.peer_lanes {
        let Ok(stream) = link.connection.accept_uni().await else { return };
        let (shared, link) = (Arc::clone(&shared), Arc::clone(&link));
        lanes.spawn(async move {
            let ends = (link.node.clone(), shared.settings.node.clone());
            let allowed = shared.settings.payload_bytes;
            let read = lane::read(stream, ends, allowed, &shared.inbox).await;
            end_if_broken(&shared, &link, read);
        });
    }
    // More streams than were said stay unread; the connection's limits bound them.
    while lanes.join_next().await.is_some() {}
}

fn end_if_broken(shared: &Shared, link: &Link, carried: Result<(), FrameError>) {
    if let Err(error) = carried {
        let refusal = Refusal::Frame(error);
        shared.refusals.refused(link.address().ip(), &refusal);
        link.close(refusal);
    }
}

async fn accept_streams(shared: Arc<Shared>, link: Arc<Link>) {
    while let Ok((send, receive)) = link.connection.accept_bi().await {
        let mut stream = QuicStream::new(send, receive);
        // An unknown kind is a later version's: dropping the stream refuses it alone.
        if let Ok(Some(STREAM_REQUEST)) = timeout(HANDSHAKE_LONGEST, stream.kind()).await {
            let accepted = (link.node.clone(), stream);
            if shared.accepted.send(accepted).await.is_err() {
                return;
            }
        }
    }
}
