//! The digest that tells whether two vectors may be compared.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::sentence::Usage;
use crate::settings::BurnSettings;

/// Changes when the meaning of a field below does.
const VERSION: &str = "headwater-encoder-2";

/// The files of the model as they were read.
pub(crate) struct Files<'a> {
    pub(crate) tensors: &'a [u8],
    pub(crate) tokenizer: &'a [u8],
    pub(crate) config: &'a [u8],
    /// How images are brought to size and scale; empty for a model that reads none.
    pub(crate) preprocessing: &'a [u8],
}

/// SHA-256 in hex over everything that changes a vector. Each field is preceded by its
/// length, so that no two lists of fields read alike.
pub(crate) fn fingerprint(files: &Files<'_>, usage: &Usage, settings: &BurnSettings) -> String {
    let mut digest = Sha256::new();
    let mut field = |bytes: &[u8]| {
        digest.update((bytes.len() as u64).to_le_bytes());
        digest.update(bytes);
    };
    field(VERSION.as_bytes());
    field(&Sha256::digest(files.tensors));
    field(&Sha256::digest(files.tokenizer));
    field(&Sha256::digest(files.config));
    field(&Sha256::digest(files.preprocessing));
    field(usage.task.name().as_bytes());
    field(usage.pooling.name().as_bytes());
    field(&[u8::from(usage.normalise)]);
    field(&(usage.max_tokens as u64).to_le_bytes());
    field(settings.query_prefix.as_bytes());
    field(settings.passage_prefix.as_bytes());
    field(settings.dtype.name().as_bytes());
    hex(&digest.finalize())
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
