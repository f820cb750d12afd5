//! A keyed hash that stands for a value: the same value gives the same text, and nobody without
//! the key can try values out.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::entity::Entity;

/// The key of the hashes; it tells itself to nobody.
#[derive(Clone)]
pub struct HashKey(Vec<u8>);

impl HashKey {
    pub fn new(secret: impl Into<Vec<u8>>) -> HashKey {
        HashKey(secret.into())
    }

    /// 64 bits of HMAC-SHA-256 in hexadecimal.
    pub(super) fn hash(&self, entity: Entity, value: &str) -> Option<String> {
        let mut hash = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        hash.update(entity.label().as_bytes());
        hash.update(&[0]);
        hash.update(value.as_bytes());
        let digest = hash.finalize().into_bytes();
        Some(digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
    }
}

impl std::fmt::Debug for HashKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("HashKey(..)")
    }
}
