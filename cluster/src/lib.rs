//! The cluster port: who is a member, where a key lives, who owns it, and envelopes between nodes.
//!
//! Nouns and pure rules, one trait ([`Transport`]) and its in-memory double. No clock, no
//! randomness and no I/O: `now_ms` comes in, and what to store or send goes out as a value.

mod keeper;
mod lease;
mod member;
mod memory;
pub mod mutants;
mod placement;
mod transport;

pub use keeper::{Keeper, KeeperEffect, KeeperSettings, Renewal};
pub use lease::{
    Acquired, Claimant, Fence, Lease, LeaseLost, LeaseStamp, StaleEpoch, acquire, hand_over,
    holder_must_stop, release, renew,
};
pub use member::{
    Incarnation, Member, MemberState, Membership, NodeId, NodeIdProblem, ProtocolRange,
};
pub use memory::{MemoryLimits, MemoryNetwork, MemoryTransport};
pub use placement::candidates;
pub use transport::{
    ByteStream, Envelope, Lane, LinkChange, StreamBroken, Transport, TransportError,
};
