//! What a node is told about its place in the cluster, and the limits of its links.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use headwater_cluster::{Incarnation, NodeId, ProtocolRange};

use crate::error::QuicError;
use crate::frame::{ADDRESS_BYTES_MAX, LANES_MAX};

/// The largest `payload_bytes` that may be set.
const PAYLOAD_BYTES_MAX: usize = 64 << 20;
/// A handshake with its Hello frames takes no longer.
pub(crate) const HANDSHAKE_LONGEST: Duration = Duration::from_secs(5);

/// Where a node finds its certificate; each file is PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The authority's certificate, or several: while an authority is replaced, the old and the
    /// new one.
    pub authority: PathBuf,
    /// This node's certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The settings of one node's transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuicSettings {
    /// This node; its certificate must say the same.
    pub node: NodeId,
    /// Higher at every start of the process.
    pub incarnation: Incarnation,
    /// The cluster's id, in the letters of a node's name; the certificate must say the same.
    pub cluster: String,
    /// The UDP address to bind; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Host and port that others should dial; without it, the bound address.
    pub advertise: Option<String>,
    /// Host and port of nodes to dial until they are linked. Each is resolved again at every
    /// dial, and all its addresses are dialled. A load balancer is no seed.
    pub seeds: Vec<String>,
    pub identity: IdentityFiles,
    /// The versions of the protocol that this node speaks.
    pub versions: ProtocolRange,
    /// A peer that is silent for so long is gone. Keep-alives go four times as often.
    pub idle_timeout_ms: u64,
    /// The first pause before dialling again; each next one doubles.
    pub redial_first_ms: u64,
    /// The longest pause before dialling again.
    pub redial_longest_ms: u64,
    /// Long-lived streams towards each node, 1 to 64; an envelope takes its lane's number
    /// modulo this.
    pub lanes: u16,
    /// Envelopes that may wait for one lane, and those that may wait to be received.
    pub queue_envelopes: usize,
    /// The largest payload of an envelope.
    pub payload_bytes: usize,
    /// Streams that one peer may have open at once.
    pub streams: u32,
}

impl QuicSettings {
    /// Settings with the usual limits, on a free port of the loopback address, without seeds.
    pub fn new(
        node: NodeId,
        incarnation: Incarnation,
        cluster: impl Into<String>,
        identity: IdentityFiles,
    ) -> QuicSettings {
        QuicSettings {
            node,
            incarnation,
            cluster: cluster.into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            seeds: Vec::new(),
            identity,
            versions: ProtocolRange { oldest: 1, newest: 1 },
            idle_timeout_ms: 2_000,
            redial_first_ms: 100,
            redial_longest_ms: 5_000,
            lanes: 4,
            queue_envelopes: 1_024,
            payload_bytes: 1 << 20,
            streams: 1_024,
        }
    }

    pub(crate) fn check(&self) -> Result<(), QuicError> {
        let advertised = self.advertise.as_deref().unwrap_or("host:1");
        let problems = [
            (NodeId::new(self.cluster.clone()).is_err(), "`cluster` must be a name like a node's"),
            (
                advertised.len() > ADDRESS_BYTES_MAX
                    || !advertised.bytes().all(|byte| byte.is_ascii_graphic()),
                "`advertise` must be a host and a port",
            ),
            (self.versions.oldest > self.versions.newest, "`versions` is an empty range"),
            (self.idle_timeout_ms < 100, "`idle_timeout_ms` must be 100 or more"),
            (self.redial_first_ms == 0, "`redial_first_ms` must be 1 or more"),
            (
                self.redial_longest_ms < self.redial_first_ms,
                "`redial_longest_ms` must not be below `redial_first_ms`",
            ),
            (self.lanes == 0 || self.lanes > LANES_MAX, "`lanes` must be 1 to 64"),
            (
                self.queue_envelopes == 0 || self.queue_envelopes > 1 << 20,
                "`queue_envelopes` must be 1 to 1048576",
            ),
            (
                self.payload_bytes == 0 || self.payload_bytes > PAYLOAD_BYTES_MAX,
                "`payload_bytes` must be 1 to 67108864",
            ),
            (self.streams == 0 || self.streams > 1 << 20, "`streams` must be 1 to 1048576"),
        ];
        match problems.iter().find(|(is_wrong, _)| *is_wrong) {
            Some((_, problem)) => Err(QuicError::Settings((*problem).to_owned())),
            None => Ok(()),
        }
    }
}
