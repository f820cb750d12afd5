//! How a node's name and a cluster's id stand in a certificate.
//!
//! Names know case, `_`, `.` and 64 letters; a DNS label does not. So the bytes are written in
//! hexadecimal, in labels of at most 60 digits, before a fixed ending.

#[cfg(test)]
mod tests;

use headwater_cluster::NodeId;

const NODE: &str = ".node.headwater";
const CLUSTER: &str = ".cluster.headwater";
/// Below DNS's 63, and even, so that no byte is split.
const LABEL_DIGITS: usize = 60;

pub(crate) fn of_node(node: &NodeId) -> String {
    encode(node.as_str(), NODE)
}

pub(crate) fn of_cluster(cluster: &str) -> String {
    encode(cluster, CLUSTER)
}

/// The node that this DNS name stands for, if it stands for one.
pub(crate) fn node(name: &str) -> Option<NodeId> {
    let node = NodeId::new(decode(name, NODE)?).ok()?;
    // One name has one encoding, else two certificates could look different and be the same.
    (of_node(&node) == name).then_some(node)
}

/// The cluster that this DNS name stands for, if it stands for one.
pub(crate) fn cluster(name: &str) -> Option<String> {
    let cluster = decode(name, CLUSTER)?;
    (of_cluster(&cluster) == name).then_some(cluster)
}

fn encode(text: &str, ending: &str) -> String {
    let mut name = String::new();
    for (index, byte) in text.bytes().enumerate() {
        if index > 0 && index % (LABEL_DIGITS / 2) == 0 {
            name.push('.');
        }
        name.push_str(&format!("{byte:02x}"));
    }
    name + ending
}

fn decode(name: &str, ending: &str) -> Option<String> {
    let digits: Vec<u32> = name
        .strip_suffix(ending)?
        .chars()
        .filter(|letter| *letter != '.')
        .map(|letter| letter.to_digit(16))
        .collect::<Option<_>>()?;
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    });
    String::from_utf8(pairs.collect::<Option<_>>()?).ok()
}
