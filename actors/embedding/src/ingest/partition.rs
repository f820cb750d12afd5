//! Where a document's work lies: by the SHA-256 of its id, so that all writes of one document
//! in a job stand in one line.

use sha2::{Digest, Sha256};

/// Partitions of a job; as many workers at most can work on one job.
pub const PARTITIONS: u16 = 64;

/// The SHA-256 of a document's id: a key of bounded length for an id of any length.
pub type DocumentKey = [u8; 32];

pub fn document_key(document: &str) -> DocumentKey {
    Sha256::digest(document.as_bytes()).into()
}

/// The partition of a document, below [`PARTITIONS`].
pub fn partition_of(key: &DocumentKey) -> u16 {
    u16::from_be_bytes([key[0], key[1]]) % PARTITIONS
}
