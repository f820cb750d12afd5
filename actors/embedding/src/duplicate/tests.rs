//! Edits move a fingerprint little, other texts move it far, and bands find what is near.

use std::collections::BTreeSet;

use super::{BANDS, Fingerprint, NEAR_BITS, SIMILAR_BITS, bands, distance, fingerprint};

/// SplitMix64: the texts are the same in every run.
struct Seed(u64);

impl Seed {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.draw() % bound as u64) as usize
    }

    /// Low numbers are drawn far more often, as common words are.
    fn word(&mut self) -> String {
        let bound = 1 + self.below(3000);
        format!("word{}", self.below(bound))
    }

    fn text(&mut self, words: usize) -> Vec<String> {
        (0..words).map(|_| self.word()).collect()
    }

    fn japanese(&mut self, letters: usize) -> String {
        let letter = |seed: &mut Seed| char::from_u32(0x3042 + seed.below(60) as u32);
        (0..letters).filter_map(|_| letter(self)).collect()
    }
}

/// Of 1000 texts of 300 words, those that are found again after so many words were replaced:
/// within [`NEAR_BITS`], and within [`SIMILAR_BITS`] by a shared band.
fn found(replaced: usize) -> [usize; 2] {
    let mut seed = Seed(replaced as u64);
    let mut found = [0; 2];
    for _ in 0..1000 {
        let mut words = seed.text(300);
        let before = fingerprint(&words.join(" "));
        for _ in 0..replaced {
            let place = seed.below(words.len());
            words[place] = format!("other{}", seed.below(3000));
        }
        let after = fingerprint(&words.join(" "));
        let bits = distance(before, after);
        let shared = bands(before).iter().zip(bands(after)).any(|(a, b)| *a == b);
        found[0] += usize::from(bits <= NEAR_BITS);
        found[1] += usize::from(bits <= SIMILAR_BITS && shared);
    }
    found
}

#[test]
fn recall_falls_with_the_number_of_edits() {
    // The figures in the docs of the two limits; the texts are the same in every run.
    let table = [
        (0, [1000, 1000]),
        (1, [700, 930]),
        (2, [400, 816]),
        (4, [183, 600]),
        (8, [41, 316]),
        (64, [0, 0]),
    ];
    assert_eq!(table.map(|(replaced, _)| (replaced, found(replaced))), table);
}

#[test]
fn texts_that_share_only_their_vocabulary_are_never_near() {
    let mut seed = Seed(9);
    let fingerprints: Vec<Fingerprint> =
        (0..600).map(|_| fingerprint(&seed.text(300).join(" "))).collect();
    let mut nearest = 64;
    for (index, first) in fingerprints.iter().enumerate() {
        for second in &fingerprints[..index] {
            nearest = nearest.min(distance(*first, *second));
        }
    }
    assert!(nearest > SIMILAR_BITS, "two of 179,700 pairs are {nearest} bits apart");
}

#[test]
fn case_punctuation_space_and_width_do_not_count() {
    let table = [
        ("The quick brown fox jumps", "the QUICK,  brown\nfox -- jumps!"),
        ("東京都に住む人です。", "東京都に\n住む、人です"),
        ("カタカナとＡＢＣ", "ｶﾀｶﾅとabc"),
        ("cafe\u{301} au lait", "Caf\u{e9} au lait"),
        ("", " \n"),
    ];
    for (first, second) in table {
        assert_eq!(fingerprint(first), fingerprint(second), "{first:?}");
    }
    assert_ne!(fingerprint("a b c d"), fingerprint("d c b a"), "order counts");
    assert_ne!(fingerprint("one two"), fingerprint("one"), "short texts differ");
    assert_eq!(fingerprint(""), Fingerprint(0));
}

#[test]
fn scripts_without_spaces_are_read_by_characters() {
    let mut seed = Seed(3);
    let mut near = 0;
    for _ in 0..200 {
        let text = seed.japanese(600);
        let mut edited: Vec<char> = text.chars().collect();
        edited[300] = '京';
        let edited: String = edited.into_iter().collect();
        near += usize::from(distance(fingerprint(&text), fingerprint(&edited)) <= NEAR_BITS);
        let other = fingerprint(&seed.japanese(600));
        assert!(distance(fingerprint(&text), other) > SIMILAR_BITS);
    }
    assert!(near >= 160, "one of 600 characters changed, and only {near} of 200 are near");
}

#[test]
fn near_fingerprints_share_a_band_and_bands_make_up_the_fingerprint() {
    let mut seed = Seed(1);
    for _ in 0..20_000 {
        let first = Fingerprint(seed.draw());
        let flips: BTreeSet<usize> = (0..NEAR_BITS).map(|_| seed.below(64)).collect();
        let second = Fingerprint(flips.iter().fold(first.0, |bits, flip| bits ^ 1 << flip));
        assert_eq!(distance(first, second) as usize, flips.len());
        let shared = bands(first).iter().zip(bands(second)).filter(|(a, b)| **a == *b).count();
        assert!(shared >= BANDS - flips.len());
        let whole = bands(first).iter().rev().fold(0, |all, part| all << 16 | u64::from(*part));
        assert_eq!(whole, first.0);
    }
}
