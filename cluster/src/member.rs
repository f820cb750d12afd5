//! Members of the cluster, and the rule by which two views of them merge.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// The most bytes of a node's name.
const NAME_BYTES_MAX: usize = 64;

/// A node's name, unique in the cluster and kept over restarts; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Arc<str>);

/// Why a name is no node's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeIdProblem {
    #[error("a node's name has {given_bytes} bytes, 1 to {NAME_BYTES_MAX} are allowed")]
    Length { given_bytes: usize },
    #[error("a node's name holds `{0}`; letters, digits, `-`, `_` and `.` are allowed")]
    Letter(char),
}

impl NodeId {
    /// Checks a name: 1 to 64 ASCII letters, digits, `-`, `_` or `.`.
    ///
    /// # Errors
    /// What is wrong with the name.
    pub fn new(name: impl Into<String>) -> Result<NodeId, NodeIdProblem> {
        let name = name.into();
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(NodeIdProblem::Length { given_bytes: name.len() });
        }
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        match name.chars().find(|letter| !allowed(*letter)) {
            Some(letter) => Err(NodeIdProblem::Letter(letter)),
            None => Ok(NodeId(name.into())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Which start of a node's process this is; each start takes a higher one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// How far a member is on its way out; a later state wins over an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberState {
    Alive,
    /// Finishes what it has and takes nothing new.
    Draining,
    Left,
}

/// The versions of the protocol between nodes that a member speaks, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProtocolRange {
    pub oldest: u16,
    pub newest: u16,
}

impl ProtocolRange {
    /// The newest version that both sides speak.
    pub fn shared(self, other: ProtocolRange) -> Option<u16> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest.max(other.oldest)).then_some(newest)
    }
}

/// What one node tells the others about itself.
///
/// The derived order, field by field from the top, is the merge rule between two rows of one
/// node: the greater one wins. So the fields' order here matters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub state: MemberState,
    /// Counts what the node told within an incarnation, so that a newer load wins.
    pub revision: u64,
    /// Host and port, for the transport's adapter to dial.
    pub address: String,
    /// Its weight in placement, in units of one small node; 0 takes no keys.
    pub capacity: u32,
    /// Work in progress, in the units of `capacity`, times 100.
    pub load: u32,
    /// What it serves to others, for example `embedding/<model>`.
    pub offers: BTreeSet<String>,
    pub versions: ProtocolRange,
}

/// One node's view of the cluster.
///
/// Merging is commutative, associative and idempotent, so views meet in any order of messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    members: BTreeMap<NodeId, Member>,
}

impl Membership {
    /// Takes in one row: a higher incarnation wins; within one, Left over Draining over Alive,
    /// then the higher revision. True when the view changed.
    pub fn merge(&mut self, heard: Member) -> bool {
        match self.members.get_mut(&heard.node) {
            Some(known) if *known >= heard => false,
            Some(known) => {
                *known = heard;
                true
            }
            None => {
                self.members.insert(heard.node.clone(), heard);
                true
            }
        }
    }

    /// Takes in every row of another view. True when this one changed.
    pub fn merge_all(&mut self, other: &Membership) -> bool {
        let mut changed = false;
        for heard in other.iter() {
            changed |= self.merge(heard.clone());
        }
        changed
    }

    pub fn get(&self, node: &NodeId) -> Option<&Member> {
        self.members.get(node)
    }

    /// Every member in order of name, those that left included.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }
}
