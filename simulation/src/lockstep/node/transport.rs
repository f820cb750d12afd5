//! The transport port over the coordinator's network.

use std::sync::Arc;

use async_trait::async_trait;
use headwater_cluster::{ByteStream, Envelope, LinkChange, NodeId, Transport, TransportError};

use super::links::Links;
use super::stream::LockstepStream;
use crate::lockstep::wire::FromNode;

/// A simulated node's end of its links.
pub struct LockstepTransport {
    links: Arc<Links>,
}

impl LockstepTransport {
    pub(super) fn new(links: Arc<Links>) -> LockstepTransport {
        LockstepTransport { links }
    }
}

#[async_trait]
impl Transport for LockstepTransport {
    async fn send(&self, envelope: Envelope) -> Result<(), TransportError> {
        self.links.send(envelope)
    }

    async fn receive(&self) -> Option<Envelope> {
        loop {
            if let Some(envelope) = self.links.take_envelope() {
                return Some(envelope);
            }
            self.links.received.notified().await;
        }
    }

    async fn open(&self, to: &NodeId) -> Result<Box<dyn ByteStream>, TransportError> {
        let key = self.links.open(to)?;
        Ok(Box::new(LockstepStream::new(Arc::clone(&self.links), key)))
    }

    async fn accept(&self) -> Option<(NodeId, Box<dyn ByteStream>)> {
        loop {
            if let Some(key) = self.links.take_opened() {
                let stream = LockstepStream::new(Arc::clone(&self.links), key);
                return Some((self.links.name(key.peer), Box::new(stream)));
            }
            self.links.opened.notified().await;
        }
    }

    async fn next_change(&self) -> Option<LinkChange> {
        loop {
            if let Some(change) = self.links.take_change() {
                return Some(change);
            }
            self.links.changed.notified().await;
        }
    }

    /// The address is not looked at: the coordinator knows every node by its name.
    fn introduce(&self, node: &NodeId, _address: &str) {
        if let Some(peer) = self.links.number(node) {
            self.links.tell(FromNode::Introduce { peer });
        }
    }

    fn forget(&self, node: &NodeId) {
        if let Some(peer) = self.links.number(node) {
            self.links.tell(FromNode::Forget { peer });
        }
    }
}
