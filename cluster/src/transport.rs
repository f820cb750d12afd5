//! How one node's bytes reach another: the trait that each transport implements.

use async_trait::async_trait;

use crate::member::{Incarnation, NodeId};

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

/// A change of the link to one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkChange {
    /// From now on envelopes and streams pass. `version` is the protocol that both speak.
    Up { node: NodeId, incarnation: Incarnation, version: u16 },
    /// Nothing passes any more; what was on its way may or may not have arrived. It comes once
    /// for each `Up`, and says nothing about whether the node itself still runs.
    Down { node: NodeId, incarnation: Incarnation, why: String },
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

    /// Opens a stream of its own for one long request.
    ///
    /// # Errors
    /// [`TransportError::Unreachable`], [`TransportError::Overloaded`] when the peer allows no
    /// further stream now, and [`TransportError::Closed`].
    async fn open(&self, to: &NodeId) -> Result<Box<dyn ByteStream>, TransportError>;

    /// The next stream that another node opened; `None` once the transport is closed. Dropping
    /// the future before it is ready loses no stream.
    async fn accept(&self) -> Option<(NodeId, Box<dyn ByteStream>)>;

    /// The next change of a link; `None` once the transport is closed. Dropping the future
    /// before it is ready loses no change.
    async fn next_change(&self) -> Option<LinkChange>;

    /// Keep a link with this node: dial this address, and dial it again when the link is lost.
    fn introduce(&self, node: &NodeId, address: &str);

    /// Dial this start of the node no more, and close the link to it if there is one.
    fn forget(&self, node: &NodeId);
}

/// Both directions of one long request. Dropping it before its end cancels the request: the
/// other side's next read or write fails with [`StreamBroken::Cancelled`].
#[async_trait]
pub trait ByteStream: Send {
    /// Sends all of these bytes. Waits while the reader is behind.
    ///
    /// # Errors
    /// [`StreamBroken`]; how much arrived is not known.
    async fn write(&mut self, bytes: &[u8]) -> Result<(), StreamBroken>;

    /// Says that nothing more will be written. The other side reads the rest, then `None`.
    ///
    /// # Errors
    /// [`StreamBroken`].
    async fn finish(&mut self) -> Result<(), StreamBroken>;

    /// The next bytes, at least one; `None` at the end. Waits while there are none.
    ///
    /// # Errors
    /// [`StreamBroken`]: what was read so far is not the whole.
    async fn read(&mut self) -> Result<Option<Vec<u8>>, StreamBroken>;
}

/// Why a stream ended before its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamBroken {
    /// The other side gave the request up.
    #[error("the other side cancelled the stream; its request is given up")]
    Cancelled,
    /// The link went down.
    #[error("the link was lost under the stream: {0}; try again on another node")]
    LinkLost(String),
}
