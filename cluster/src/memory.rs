//! The transport's in-memory double: named nodes in one process, with loss and partitions.

mod links;
mod stream;

#[cfg(test)]
mod tests;

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use async_trait::async_trait;

use crate::member::{Incarnation, NodeId};
use crate::transport::{ByteStream, Envelope, LinkChange, Transport, TransportError};

use links::{Inbox, Links};
use stream::MemoryStream;

/// What the double refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Envelopes that may wait for one node.
    pub queue_envelopes: usize,
    pub payload_bytes: usize,
    /// Streams that one node may have open towards one other.
    pub streams: usize,
    /// Bytes that may wait in one direction of a stream; at least 1.
    pub stream_bytes: usize,
}

/// The links between all nodes; clones share them.
///
/// Each node sees its own links: `a` has a link to `b` while what `a` sends reaches `b`. So a cut
/// of one direction is a [`LinkChange::Down`] for the sender only. A stream needs both directions.
#[derive(Clone)]
pub struct MemoryNetwork {
    limits: MemoryLimits,
    links: Arc<Mutex<Links>>,
}

/// One node's end of a [`MemoryNetwork`]; dropping it closes the node.
#[derive(Debug)]
pub struct MemoryTransport {
    node: NodeId,
    joining: u64,
    network: MemoryNetwork,
}

impl MemoryNetwork {
    pub fn new(limits: MemoryLimits) -> MemoryNetwork {
        MemoryNetwork { limits, links: Arc::default() }
    }

    /// Connects a node with all others. A node of the same name that is still connected is
    /// closed, as a restart would.
    pub fn join(&self, node: NodeId, incarnation: Incarnation) -> MemoryTransport {
        let joining = self.change(|links| links.join(&node, incarnation));
        MemoryTransport { node, joining, network: self.clone() }
    }

    /// Cuts one direction: sending fails, and what waits in the inbox is still received.
    pub fn cut(&self, from: &NodeId, to: &NodeId) {
        self.change(|links| links.cut(from, to));
    }

    /// Mends one direction.
    pub fn mend(&self, from: &NodeId, to: &NodeId) {
        self.change(|links| links.mend(from, to));
    }

    /// From now on, envelopes for which `loss` is true vanish though sending succeeds.
    pub fn lose(&self, loss: impl FnMut(&Envelope) -> bool + Send + 'static) {
        self.lock().loss = Some(Box::new(loss));
    }

    /// Changes the links, then wakes whom it concerns. The wakers are called without the lock:
    /// an executor may poll the woken task at once.
    fn change<T>(&self, change: impl FnOnce(&mut Links) -> T) -> T {
        let mut links = self.lock();
        let output = change(&mut links);
        let woken = links.take_woken();
        drop(links);
        woken.into_iter().for_each(Waker::wake);
        output
    }

    /// A panic in a test's loss function must not hide behind a second one here.
    fn lock(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryTransport {
    /// Waits until `take` finds something in this node's inbox; `None` once the node is closed.
    async fn wait<T>(&self, take: impl Fn(&mut Inbox) -> Option<T> + Send) -> Option<T> {
        poll_fn(|context| {
            let mut links = self.network.lock();
            let Some(inbox) = links.inbox(&self.node, self.joining) else {
                return Poll::Ready(None);
            };
            if let Some(taken) = take(inbox) {
                return Poll::Ready(Some(taken));
            }
            inbox.wait(context.waker());
            Poll::Pending
        })
        .await
    }
}

#[async_trait]
impl Transport for MemoryTransport {
    async fn send(&self, envelope: Envelope) -> Result<(), TransportError> {
        let limits = self.network.limits;
        self.network.change(|links| links.send(&self.node, self.joining, envelope, limits))
    }

    async fn receive(&self) -> Option<Envelope> {
        self.wait(|inbox| inbox.envelopes.pop_front()).await
    }

    async fn open(&self, to: &NodeId) -> Result<Box<dyn ByteStream>, TransportError> {
        let limits = self.network.limits;
        let opened = self.network.change(|links| links.open(&self.node, self.joining, to, limits));
        opened.map(|id| MemoryStream::opener(self.network.clone(), id).boxed())
    }

    async fn accept(&self) -> Option<(NodeId, Box<dyn ByteStream>)> {
        let (from, id) = self.wait(|inbox| inbox.streams.pop_front()).await?;
        Some((from, MemoryStream::acceptor(self.network.clone(), id).boxed()))
    }

    async fn next_change(&self) -> Option<LinkChange> {
        self.wait(|inbox| inbox.changes.pop_front()).await
    }

    /// All nodes of the network are linked at once: this takes back a [`Transport::forget`].
    fn introduce(&self, node: &NodeId, _address: &str) {
        self.network.change(|links| links.introduce(&self.node, self.joining, node));
    }

    /// The link stays down until this node introduces the other again, or one of them restarts.
    fn forget(&self, node: &NodeId) {
        self.network.change(|links| links.forget(&self.node, self.joining, node));
    }
}

impl Drop for MemoryTransport {
    fn drop(&mut self) {
        self.network.change(|links| links.leave(&self.node, self.joining));
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.lock().nodes();
        out.debug_struct("MemoryNetwork").field("nodes", &nodes).finish()
    }
}
