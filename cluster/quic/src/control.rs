//! The control connection: one stream per link, handed out for the actor system's own traffic.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use headwater_cluster::NodeId;
use quinn::{Connection, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{sleep, timeout};

use crate::dial::{Backoff, connect};
use crate::frame::{Frame, FrameError};
use crate::handshake::{peer, read_frame, write_frame};
use crate::link::Link;
use crate::refusal::Refusal;
use crate::settings::HANDSHAKE_LONGEST;
use crate::shared::Shared;

/// Both directions of a link's control connection. Dropping both halves ends the connection;
/// while the link is up, the side that dialled then makes another one.
pub struct ControlStream {
    /// The peer, by its certificate.
    pub node: NodeId,
    /// Whether this side dialled; the actor system must know who begins.
    pub dialled: bool,
    pub read: Box<dyn AsyncRead + Send + Unpin>,
    pub write: Box<dyn AsyncWrite + Send + Unpin>,
}

impl ControlStream {
    fn new(
        node: NodeId,
        dialled: bool,
        connection: Connection,
        (send, receive): (SendStream, RecvStream),
    ) -> ControlStream {
        let guard = Arc::new(Guard(connection));
        let read = Box::new(ReadHalf { receive, _guard: Arc::clone(&guard) });
        let write = Box::new(WriteHalf { send, _guard: guard });
        ControlStream { node, dialled, read, write }
    }
}

/// Dials the link's control connection, and again whenever it ends while the link is up.
pub(crate) async fn keep(shared: Arc<Shared>, link: Arc<Link>) {
    let mut backoff = Backoff::new(&shared.settings);
    while !shared.control.is_closed() {
        let dialled_at = Instant::now();
        let ended = match dial(&shared, &link).await {
            Ok(connection) => Refusal::from(connection.closed().await),
            Err(refusal) => refusal,
        };
        if let Refusal::ByPeer { code: Refusal::CONTROL_UNUSED, .. } = ended {
            return;
        }
        shared.refusals.undialled(link.address().ip(), &ended);
        backoff.lasted(dialled_at.elapsed());
        sleep(backoff.pause()).await;
    }
}

async fn dial(shared: &Arc<Shared>, link: &Link) -> Result<Connection, Refusal> {
    let control = shared.identity().control.clone();
    let connection = connect(shared, control, link.address()).await?;
    let opening = async {
        if peer(shared, &connection)? != link.node {
            return Err(Refusal::Name);
        }
        let (mut send, mut receive) = connection.open_bi().await?;
        let generation = link.generation;
        write_frame(&mut send, &Frame::Control { generation }).await?;
        match read_frame(&mut receive).await? {
            Frame::ControlKept => Ok((send, receive)),
            _ => Err(FrameError::Unexpected.into()),
        }
    };
    match timeout(HANDSHAKE_LONGEST, opening).await.unwrap_or(Err(Refusal::Slow)) {
        Ok(halves) => {
            hand_out(shared, link, &connection, halves).await?;
            Ok(connection)
        }
        Err(refusal) => {
            refusal.close(&connection);
            Err(refusal)
        }
    }
}

/// Takes a control connection that the peer dialled. The caller bounds the time.
pub(crate) async fn accept(
    shared: &Arc<Shared>,
    connection: &Connection,
    node: &NodeId,
) -> Result<(), Refusal> {
    if shared.control.is_closed() {
        return Err(Refusal::ControlUnused);
    }
    let (mut send, mut receive) = connection.accept_bi().await?;
    let Frame::Control { generation } = read_frame(&mut receive).await? else {
        return Err(FrameError::Unexpected.into());
    };
    // The peer may know of the link a moment before this side does.
    let mut changed = shared.table.watch();
    let link = loop {
        changed.borrow_and_update();
        let link = shared.table.get(node);
        match link.filter(|link| link.generation >= generation) {
            Some(link) if link.generation == generation && !link.dialled => break link,
            Some(_) => return Err(Refusal::NoLink),
            None => changed.changed().await.map_err(|_| Refusal::Closing)?,
        }
    };
    write_frame(&mut send, &Frame::ControlKept).await?;
    hand_out(shared, &link, connection, (send, receive)).await
}

async fn hand_out(
    shared: &Shared,
    link: &Link,
    connection: &Connection,
    halves: (SendStream, RecvStream),
) -> Result<(), Refusal> {
    link.set_control(connection.clone());
    let stream = ControlStream::new(link.node.clone(), link.dialled, connection.clone(), halves);
    shared.control.send(stream).await.map_err(|_| Refusal::ControlUnused)
}

/// Ends the connection when both halves are gone.
struct Guard(Connection);

impl Drop for Guard {
    fn drop(&mut self) {
        Refusal::ControlDropped.close(&self.0);
    }
}

struct ReadHalf {
    receive: RecvStream,
    _guard: Arc<Guard>,
}

struct WriteHalf {
    send: SendStream,
    _guard: Arc<Guard>,
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.receive), context, buffer)
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send), context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.send), context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(&mut self.send), context)
    }
}
