//! Which inputs share a vector, and when a cache is full.

use headwater_models::{Pixels, Sequence};
use sha2::{Digest, Sha256};

/// What a vector depends on: the model's fingerprint and what the model reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheKey(pub [u8; 32]);

/// Makes the keys of one model version.
#[derive(Clone)]
pub struct KeySpace {
    /// The hash so far: what all keys of the version begin with.
    begun: Sha256,
}

/// Bytes that are hashed at once.
const BLOCK_BYTES: usize = 4096;

impl KeySpace {
    /// `fingerprint` stands for weights, tokenizer, pooling, normalisation, prefixes, token limit
    /// and number format, so vectors of two versions never meet under one key.
    pub fn of(fingerprint: &str) -> Self {
        let mut begun = Sha256::new_with_prefix(b"headwater vector 1");
        begun.update((fingerprint.len() as u64).to_le_bytes());
        begun.update(fingerprint);
        KeySpace { begun }
    }

    /// The key of one input. Of a text it covers the token ids after prefix, normalisation and
    /// truncation, so texts that the model cannot tell apart share a vector; of an image the
    /// scaled pixels.
    pub fn key(&self, input: &Sequence) -> CacheKey {
        let mut hash = self.begun.clone();
        match input {
            Sequence::Tokens { ids, second } => {
                hash.update(b"t");
                hash.update(second.map_or(u64::MAX, |place| place as u64).to_le_bytes());
                update(&mut hash, ids, |id| id.to_le_bytes());
            }
            Sequence::Image(pixels) => {
                let Pixels { tokens, height, width, values } = &**pixels;
                hash.update(b"i");
                for size in [tokens, height, width] {
                    hash.update((*size as u64).to_le_bytes());
                }
                update(&mut hash, values, |value| value.to_le_bytes());
            }
        }
        CacheKey(hash.finalize().into())
    }
}

fn update<T>(hash: &mut Sha256, values: &[T], bytes: impl Fn(&T) -> [u8; 4]) {
    let mut block = [0; BLOCK_BYTES];
    for values in values.chunks(BLOCK_BYTES / 4) {
        for (place, value) in block.chunks_exact_mut(4).zip(values) {
            place.copy_from_slice(&bytes(value));
        }
        hash.update(&block[..4 * values.len()]);
    }
}

/// What an entry takes beside its vector: key, map slot, two places in queues and the counts
/// around them: an estimate; `benches/cache.rs` in `actors` prints what it comes to.
const ENTRY_BYTES: usize = 320;

/// Bytes that a cached vector of this many components takes.
pub fn entry_bytes(dimensions: usize) -> usize {
    ENTRY_BYTES + 4 * dimensions
}

/// Above this share of its limit a cache counts as nearly full, in percent.
pub const FULL_PERCENT: u64 = 80;
/// A cache that was nearly full stops to be so below this share, so that one at the border is
/// reported once.
const RELIEVED_PERCENT: u64 = 70;

/// Whether a cache is nearly full, with a memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fullness {
    full: bool,
}

impl Fullness {
    /// Takes the bytes in use and tells when the state changed: `Some(true)` when the cache has
    /// become nearly full, `Some(false)` when there is room again.
    pub fn changed(&mut self, bytes: u64, limit_bytes: u64) -> Option<bool> {
        let share = u128::from(bytes) * 100;
        let border = if self.full { RELIEVED_PERCENT } else { FULL_PERCENT };
        let full = limit_bytes > 0 && share >= u128::from(border) * u128::from(limit_bytes);
        (full != std::mem::replace(&mut self.full, full)).then_some(full)
    }
}
