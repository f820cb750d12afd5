//! Which chunks count as the same text.

use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

/// The text that [`chunk_id`] hashes: in Unicode's normalisation form C, with `\r\n` made `\n`,
/// then without white space (Unicode's `White_Space`) at the ends.
pub fn normalised(text: &str) -> String {
    let composed: String = text.nfc().collect();
    composed.replace("\r\n", "\n").trim().to_owned()
}

/// Names a chunk by its text: SHA-256 over the UTF-8 bytes of [`normalised`].
///
/// The same in Python, whose `str.strip()` alone would also take U+001C to U+001F:
///
/// ```python
/// import hashlib, unicodedata
/// SPACE = "".join(map(chr, [*range(9, 14), 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B),
///                           0x2028, 0x2029, 0x202F, 0x205F, 0x3000]))
/// def chunk_id(text):
///     text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").strip(SPACE)
///     return hashlib.sha256(text.encode()).digest()
/// ```
pub fn chunk_id(text: &str) -> [u8; 32] {
    Sha256::digest(normalised(text)).into()
}
