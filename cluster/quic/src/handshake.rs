//! From a fresh QUIC connection to a link: who the peer is, both Hellos, and the Keep.

use std::sync::Arc;

use headwater_cluster::NodeId;
use quinn::{Connection, ReadError, ReadExactError, RecvStream, SendStream, WriteError};

use crate::frame::{Frame, FrameError, Hello, PREFIX_BYTES};
use crate::identity::Peer;
use crate::link::{self, Agreed, Link};
use crate::refusal::Refusal;
use crate::shared::Shared;

/// The peer by its certificate: of this cluster, and another node than this one.
pub(crate) fn peer(shared: &Shared, connection: &Connection) -> Result<NodeId, Refusal> {
    let peer = Peer::of_connection(connection).map_err(Refusal::Certificate)?;
    if peer.cluster != shared.settings.cluster {
        return Err(Refusal::Cluster);
    }
    if peer.node == shared.settings.node { Err(Refusal::Own) } else { Ok(peer.node) }
}

/// Makes a data connection to `node` the pair's link, or says why not. The caller closes the
/// connection then, and bounds the time.
pub(crate) async fn settle(
    shared: &Arc<Shared>,
    connection: &Connection,
    node: &NodeId,
    dialled: bool,
) -> Result<(), Refusal> {
    let own = Frame::Hello(own_hello(shared)).encode();
    let (mut send, mut receive);
    let hello;
    if dialled {
        (send, receive) = connection.open_bi().await?;
        send.write_all(&own).await.map_err(not_written)?;
        hello = read_hello(shared, &mut receive, node).await?;
    } else {
        (send, receive) = connection.accept_bi().await?;
        hello = read_hello(shared, &mut receive, node).await?;
        send.write_all(&own).await.map_err(not_written)?;
    }
    let (ours, theirs) = (shared.settings.versions, hello.versions);
    let version = ours.shared(theirs).ok_or(Refusal::Version { own: ours, peer: theirs })?;
    shared.table.check(node, hello.incarnation)?;
    if shared.table.is_new(node, hello.incarnation) {
        shared.introductions.recall(node);
    } else if dialled && shared.introductions.is_forgotten(node) {
        return Err(Refusal::Forgotten);
    }
    let decides = shared.settings.node < *node;
    let generation = if decides {
        shared.next_generation()
    } else {
        match read_frame(&mut receive).await? {
            Frame::Keep { generation } => generation,
            _ => return Err(FrameError::Unexpected.into()),
        }
    };
    let agreed = Agreed { hello, version, generation, dialled };
    let (link, queues) = Link::new(&shared.settings, connection.clone(), agreed);
    shared.table.admit(&link, decides)?;
    if decides && send.write_all(&Frame::Keep { generation }.encode()).await.is_err() {
        // The connection is gone, which the link's own task finds out and tells.
        tracing::debug!(%node, "cluster connection lost while it was kept");
    }
    shared.spawn(link::run(Arc::clone(shared), link, queues));
    Ok(())
}

fn own_hello(shared: &Shared) -> Hello {
    let settings = &shared.settings;
    Hello {
        versions: settings.versions,
        cluster: settings.cluster.clone(),
        node: settings.node.clone(),
        incarnation: settings.incarnation,
        lanes: settings.lanes,
        payload_bytes: u32::try_from(settings.payload_bytes).unwrap_or(u32::MAX),
        advertise: shared.advertise(),
    }
}

async fn read_hello(
    shared: &Shared,
    receive: &mut RecvStream,
    node: &NodeId,
) -> Result<Hello, Refusal> {
    let Frame::Hello(hello) = read_frame(receive).await? else {
        return Err(FrameError::Unexpected.into());
    };
    if hello.cluster != shared.settings.cluster {
        return Err(Refusal::Cluster);
    }
    if hello.node == *node { Ok(hello) } else { Err(Refusal::Name) }
}

pub(crate) async fn read_frame(receive: &mut RecvStream) -> Result<Frame, Refusal> {
    let mut prefix = [0; PREFIX_BYTES];
    receive.read_exact(&mut prefix).await.map_err(not_read)?;
    let mut body = vec![0; Frame::body_bytes(prefix)?];
    receive.read_exact(&mut body).await.map_err(not_read)?;
    Ok(Frame::decode(&body)?)
}

pub(crate) async fn write_frame(send: &mut SendStream, frame: &Frame) -> Result<(), Refusal> {
    send.write_all(&frame.encode()).await.map_err(not_written)
}

fn not_read(error: ReadExactError) -> Refusal {
    match error {
        ReadExactError::ReadError(ReadError::ConnectionLost(error)) => error.into(),
        _ => FrameError::Truncated.into(),
    }
}

fn not_written(error: WriteError) -> Refusal {
    match error {
        WriteError::ConnectionLost(error) => error.into(),
        _ => FrameError::Truncated.into(),
    }
}
