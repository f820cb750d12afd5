//! The cluster's shells: the view of its members, the node's leases, and the control links.

mod control;
mod leases;
mod members;
mod records;
mod status;

pub use control::{Control, ControlError, ControlLink};
pub use leases::{Claim, Leases};
pub use members::{MemberView, Members, MembersSettings};
pub use records::{LeaseProof, LeaseRow, all_leases, lease_stands};
pub use status::{ClusterHandle, RunningLease};

/// The port's nouns that the node and the edge meet.
pub use headwater_cluster::{
    Claimant, Incarnation, KeeperSettings, Member, MemberState, NodeId, ProtocolRange,
};

#[cfg(test)]
pub(crate) mod tests;
