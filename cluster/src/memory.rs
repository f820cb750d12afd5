//! The transport's in-memory double: named nodes in one process, with loss and partitions.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use async_trait::async_trait;

use crate::member::NodeId;
use crate::transport::{Envelope, Transport, TransportError};

/// What the double refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Envelopes that may wait for one node.
    pub queue_envelopes: usize,
    pub payload_bytes: usize,
}

/// Decides which envelope is lost; a test draws from its own seed.
type Loss = Box<dyn FnMut(&Envelope) -> bool + Send>;

/// The links between all nodes; clones share them.
#[derive(Clone)]
pub struct MemoryNetwork {
    limits: MemoryLimits,
    links: Arc<Mutex<Links>>,
}

#[derive(Default)]
struct Links {
    inboxes: BTreeMap<NodeId, Inbox>,
    /// Directions in which nothing passes, as sender and receiver.
    cut: BTreeSet<(NodeId, NodeId)>,
    loss: Option<Loss>,
    joined: u64,
}

#[derive(Default)]
struct Inbox {
    /// Which joining made it: a node that joined anew has another one.
    joining: u64,
    waiting: VecDeque<Envelope>,
    wakers: Vec<Waker>,
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
    pub fn join(&self, node: NodeId) -> MemoryTransport {
        let mut links = self.lock();
        links.joined += 1;
        let joining = links.joined;
        let replaced = links.inboxes.insert(node.clone(), Inbox { joining, ..Inbox::default() });
        drop(links);
        wake(replaced.into_iter().flat_map(|inbox| inbox.wakers));
        MemoryTransport { node, joining, network: self.clone() }
    }

    /// Cuts one direction: sending fails, and what waits in the inbox is still received.
    pub fn cut(&self, from: &NodeId, to: &NodeId) {
        self.lock().cut.insert((from.clone(), to.clone()));
    }

    /// Mends one direction.
    pub fn mend(&self, from: &NodeId, to: &NodeId) {
        self.lock().cut.remove(&(from.clone(), to.clone()));
    }

    /// From now on, envelopes for which `loss` is true vanish though sending succeeds.
    pub fn lose(&self, loss: impl FnMut(&Envelope) -> bool + Send + 'static) {
        self.lock().loss = Some(Box::new(loss));
    }

    /// A panic in a test's loss function must not hide behind a second one here.
    fn lock(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Links {
    /// The inbox of this joining of the node, if it has not been closed or replaced.
    fn inbox(&mut self, node: &NodeId, joining: u64) -> Option<&mut Inbox> {
        self.inboxes.get_mut(node).filter(|inbox| inbox.joining == joining)
    }
}

/// Called without the lock: an executor may poll the woken task at once.
fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

#[async_trait]
impl Transport for MemoryTransport {
    async fn send(&self, envelope: Envelope) -> Result<(), TransportError> {
        let limits = self.network.limits;
        let mut links = self.network.lock();
        if links.inbox(&self.node, self.joining).is_none() {
            return Err(TransportError::Closed);
        }
        let (given_bytes, allowed_bytes) = (envelope.payload.len(), limits.payload_bytes);
        if given_bytes > allowed_bytes {
            return Err(TransportError::TooLarge { given_bytes, allowed_bytes });
        }
        let Links { inboxes, cut, loss, .. } = &mut *links;
        let is_cut = cut.contains(&(self.node.clone(), envelope.to.clone()));
        let inbox = inboxes.get_mut(&envelope.to).filter(|_| !is_cut);
        let Some(inbox) = inbox else { return Err(TransportError::Unreachable(envelope.to)) };
        if inbox.waiting.len() >= limits.queue_envelopes {
            return Err(TransportError::Overloaded(envelope.to));
        }
        if loss.as_mut().is_some_and(|loss| loss(&envelope)) {
            return Ok(());
        }
        inbox.waiting.push_back(envelope);
        let wakers = std::mem::take(&mut inbox.wakers);
        drop(links);
        wake(wakers);
        Ok(())
    }

    async fn receive(&self) -> Option<Envelope> {
        poll_fn(|context| {
            let mut links = self.network.lock();
            let Some(inbox) = links.inbox(&self.node, self.joining) else {
                return Poll::Ready(None);
            };
            if let Some(envelope) = inbox.waiting.pop_front() {
                return Poll::Ready(Some(envelope));
            }
            if !inbox.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                inbox.wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

impl Drop for MemoryTransport {
    fn drop(&mut self) {
        let mut links = self.network.lock();
        // Nobody waits on this inbox any more: a waiting receiver borrows the transport.
        if links.inbox(&self.node, self.joining).is_some() {
            links.inboxes.remove(&self.node);
        }
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<NodeId> = self.lock().inboxes.keys().cloned().collect();
        out.debug_struct("MemoryNetwork").field("nodes", &nodes).finish()
    }
}
