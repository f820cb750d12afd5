//! Near-duplicates: texts that differ in little have fingerprints that differ in few bits.
//!
//! SimHash over shingles: M. Charikar, "Similarity estimation techniques from rounding
//! algorithms", STOC 2002; 64 bits and a distance of 3 after G. Manku, A. Jain and A. Das Sarma,
//! "Detecting near-duplicates for web crawling", WWW 2007.

#[cfg(test)]
mod tests;

use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

/// Units that are hashed together, so that their order counts.
const SHINGLE_UNITS: usize = 3;

/// 64 bits that stand for a text's shingles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

/// Number of keys that a fingerprint is found by.
pub const BANDS: usize = 4;

/// Two texts count as near-duplicates up to this distance; [`bands`] finds all such pairs. Of
/// texts of 300 words in which 1, 2 or 4 words were replaced, 70, 40 and 18 % stay within it.
pub const NEAR_BITS: u32 = 3;

/// Up to here texts are still far more alike than two that share their vocabulary only, whose
/// distance is 32 on average; but [`bands`] finds only some of the pairs beyond [`NEAR_BITS`]:
/// of the same texts 93, 82 and 60 %.
pub const SIMILAR_BITS: u32 = 8;

/// The fingerprint of a text. A unit is a word (UAX #29), or one character in scripts that
/// write no spaces (Chinese, Japanese, Thai); a shingle is three units one after the other.
/// Case, punctuation, white space and Unicode's compatibility forms do not count.
///
/// A text of fewer than three units is one shingle; one without any has the fingerprint 0.
pub fn fingerprint(text: &str) -> Fingerprint {
    let folded = text.nfkc().collect::<String>().to_lowercase();
    let units = units(&folded);
    if units.is_empty() {
        return Fingerprint(0);
    }
    let mut balance = [0i64; 64];
    for shingle in units.windows(SHINGLE_UNITS.min(units.len())) {
        let hash = hash(shingle);
        for (bit, balance) in balance.iter_mut().enumerate() {
            *balance += if hash >> bit & 1 == 1 { 1 } else { -1 };
        }
    }
    let bits = balance.iter().enumerate().filter(|(_, balance)| **balance > 0);
    Fingerprint(bits.fold(0, |all, (bit, _)| all | 1 << bit))
}

/// Bits in which two fingerprints differ, 0 to 64: the Hamming distance.
pub fn distance(first: Fingerprint, second: Fingerprint) -> u32 {
    (first.0 ^ second.0).count_ones()
}

/// The fingerprint in four parts. Two fingerprints at a distance of at most [`NEAR_BITS`] are
/// equal in one part at least, since three bits change three parts at most. A store that keeps
/// each text under `(index, part)` for every part finds all near ones by four range reads.
pub fn bands(fingerprint: Fingerprint) -> [u16; BANDS] {
    [0, 16, 32, 48].map(|shift| (fingerprint.0 >> shift) as u16)
}

fn units(text: &str) -> Vec<&str> {
    let mut units = Vec::new();
    for word in text.unicode_words() {
        // The segmenter keeps a run of katakana together; its neighbours are single characters.
        match word.chars().all(is_katakana) {
            true => units.extend(word.graphemes(true)),
            false => units.push(word),
        }
    }
    units
}

fn is_katakana(letter: char) -> bool {
    matches!(letter, '\u{30A0}'..='\u{30FF}' | '\u{31F0}'..='\u{31FF}')
}

/// FNV-1a over the units with a byte between them that UTF-8 has not, then the finaliser of
/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), since SimHash needs every bit to be even.
fn hash(units: &[&str]) -> u64 {
    let bytes = units.iter().flat_map(|unit| unit.bytes().chain([0xFF]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}
