//! Virtual keys as text, and what is kept of them.

use std::fmt::{self, Write};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// How every virtual key begins.
pub const KEY_PREFIX: &str = "hwk_";
const ID_DIGITS: usize = 16;
pub(super) const SECRET_BYTES: usize = 32;

/// Draws the bits of secrets from a source that nobody can predict; none when it fails.
pub type SecretBits = Arc<dyn Fn() -> Option<[u8; SECRET_BYTES]> + Send + Sync>;

/// Whether this is meant as a virtual key, good or not.
pub fn is_virtual_key(text: &str) -> bool {
    text.starts_with(KEY_PREFIX)
}

/// A key in full, which is shown once. It appears in no log and no error.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

impl Secret {
    pub(super) fn new(id: &str, bits: &[u8; SECRET_BYTES]) -> Secret {
        Secret(format!("{KEY_PREFIX}{id}_{}", hex(bits)))
    }

    /// The text that a client sends.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A key's id out of drawn bits.
pub(super) fn id_of(draw: u128) -> String {
    hex(&draw.to_be_bytes()[..ID_DIGITS / 2])
}

/// Whether this may be the id of a key.
pub(super) fn is_id(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == ID_DIGITS && text.bytes().all(digit)
}

/// Id and secret of a key as it was sent; none when it is of another form.
pub(super) fn parse(text: &str) -> Option<(&str, &str)> {
    let (id, secret) = text.strip_prefix(KEY_PREFIX)?.split_once('_')?;
    let is_secret =
        secret.len() == 2 * SECRET_BYTES && secret.bytes().all(|b| b.is_ascii_hexdigit());
    (is_id(id) && is_secret).then_some((id, secret))
}

/// What is kept of a secret: its SHA-256. The secret has 256 random bits, so nobody finds it by
/// trying, and a slow hash would add nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint(pub(super) [u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Fingerprint(..)")
    }
}

impl Fingerprint {
    pub(super) fn of(secret: &str) -> Fingerprint {
        Fingerprint(Sha256::digest(secret.as_bytes()).into())
    }

    pub(super) fn of_bits(bits: &[u8; SECRET_BYTES]) -> Fingerprint {
        Fingerprint::of(&hex(bits))
    }

    /// Takes as long whether they are equal or not.
    pub(super) fn matches(&self, other: &Fingerprint) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}
