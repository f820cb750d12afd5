//! What stands beside a vector.

use std::collections::BTreeMap;

use crate::Value;

/// Names a record within its space: the SHA-256 of the chunk's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub [u8; 32]);

/// One vector with all that tells what it is of. Writing a record with an id that is there
/// already replaces it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub id: RecordId,
    /// `dimensions` components.
    pub vector: Vec<f32>,
    /// The model that made the vector.
    pub model: String,
    /// Its fingerprint; must be the space's.
    pub version: String,
    /// The document that the chunk was first found in.
    pub source: String,
    /// The document's own fields, for filters.
    pub fields: BTreeMap<String, Value>,
}
