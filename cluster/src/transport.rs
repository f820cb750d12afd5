//! How one node's envelope reaches another: the trait that each transport implements.

use async_trait::async_trait;

use crate::member::NodeId;

/// One of the long-lived streams between two nodes; order holds within a lane only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub u16);

/// One message from node to node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The sending node's own name.
    pub from: NodeId,
    pub to: NodeId,
    pub lane: Lane,
    /// Chosen by the sender, growing within a lane: a reply names it, a gap shows a loss.
    pub sequence: u64,
    pub payload: Vec<u8>,
}

/// Why an envelope was not taken, by what the caller should do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// Choose another node, or try again after the next change of membership.
    #[error("{0} cannot be reached; choose another node or wait until it is back")]
    Unreachable(NodeId),
    /// Send less in one envelope.
    #[error("the payload has {given_bytes} bytes, {allowed_bytes} are allowed; split it")]
    TooLarge { given_bytes: usize, allowed_bytes: usize },
    /// Slow down: the queue towards this node is full.
    #[error("the queue towards {0} is full; send less or wait")]
    Overloaded(NodeId),
    /// This side has been closed; stop sending.
    #[error("this transport is closed; no further envelope can be sent")]
    Closed,
}

/// A node's end of the links to the others.
///
/// An envelope arrives once or never, and within one lane in the order of sending. `Ok` from
/// `send` says that it was taken, not that it arrived: only a reply says that.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Hands over one envelope. Waits for no reply, and never queues without bound.
    ///
    /// # Errors
    /// [`TransportError`]; the envelope was then not sent.
    async fn send(&self, envelope: Envelope) -> Result<(), TransportError>;

    /// The next envelope for this node; `None` once the transport is closed. Dropping the future
    /// before it is ready loses no envelope.
    async fn receive(&self) -> Option<Envelope>;
}
