//! Which members should hold a key: rendezvous hashing weighted by capacity.

#[cfg(test)]
mod tests;

use sha2::{Digest, Sha256};

use crate::member::{Member, MemberState, NodeId};

/// The first `count` members for a key, best first.
///
/// Each member scores `-capacity / ln(h)`, with `h` in (0, 1) from a hash of its name and the key
/// (Schindelhauer and Schomaker, "Weighted distributed hash tables", 2005). A member's share of
/// the keys is its share of the capacity, and when a member comes or goes only the keys that it
/// gains or loses move. Members that drain, left or have no capacity are passed over.
///
/// This is advice: only a [`crate::Lease`] makes a member the owner of a key.
pub fn candidates<'member>(
    key: &[u8],
    members: impl IntoIterator<Item = &'member Member>,
    count: usize,
) -> Vec<&'member NodeId> {
    let takes_keys = |member: &&Member| member.state == MemberState::Alive && member.capacity > 0;
    let able = members.into_iter().filter(takes_keys);
    let mut scored: Vec<_> = able.map(|member| (score(member, key), &member.node)).collect();
    scored.sort_unstable_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(right.1)));
    scored.into_iter().take(count).map(|(_, node)| node).collect()
}

fn score(member: &Member, key: &[u8]) -> f64 {
    -f64::from(member.capacity) / fraction(stable_hash(&member.node, key)).ln()
}

/// The first 8 bytes of SHA-256 over the name, a zero byte (which no name holds) and the key: the
/// same on every machine and in every version.
fn stable_hash(node: &NodeId, key: &[u8]) -> u64 {
    let digest = Sha256::new().chain_update(node.as_str()).chain_update([0]).chain_update(key);
    digest.finalize().iter().take(8).fold(0, |hash, byte| (hash << 8) | u64::from(*byte))
}

/// The upper 52 bits as a number in (0, 1): with half a step added, each is exact in an f64 and
/// neither end is reached, where the logarithm would be infinite or zero.
fn fraction(hash: u64) -> f64 {
    ((hash >> 12) as f64 + 0.5) / (1u64 << 52) as f64
}
