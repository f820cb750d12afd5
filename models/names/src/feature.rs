//! What the tagger sees of each word: hashes of its letters, its shape and its neighbours.

use crate::token::{Kind, Token};

/// Buckets of the hashed features; a power of two.
pub(crate) const BUCKETS: usize = 1 << 17;

/// Hashes of one word, made once and combined for its neighbours.
struct Word {
    /// None where it is hidden.
    lower: Option<u64>,
    shape: u64,
    suffix: u64,
    /// Of its letters alone.
    own: Vec<u64>,
    starts: bool,
    kind: Kind,
    is_number: bool,
}

/// Stands for what lies outside the text.
const OUTSIDE: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(one: u64, other: u64) -> u64 {
    let mixed = (one ^ other.rotate_left(23)).wrapping_mul(0x9fb2_1c65_1e98_df25);
    mixed ^ (mixed >> 32)
}

fn hash(text: &str) -> u64 {
    // FNV-1a.
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// `Xx`, `XX`, `xx`, `X.`, `d5`: repeated letters count once, digits by their number.
fn shape(text: &str, kind: Kind) -> String {
    match kind {
        Kind::Line => return "\n".to_owned(),
        Kind::Sign => return text.to_owned(),
        Kind::Number if text.bytes().all(|one| one.is_ascii_digit()) => {
            return format!("d{}", text.len().min(8));
        }
        Kind::Word | Kind::Number => {}
    }
    let mut shape = String::new();
    let mut letters = text.chars();
    let mut last = ' ';
    for own in letters.by_ref() {
        let class = match own {
            own if own.is_uppercase() => 'X',
            own if own.is_numeric() => 'd',
            own if own.is_lowercase() => 'x',
            own if own.is_alphabetic() => 'c',
            other => other,
        };
        if class != last {
            shape.push(class);
        }
        last = class;
    }
    if text.chars().count() == 1 {
        shape.push('1');
    }
    shape
}

fn word(text: &str, token: &Token, starts: bool, hidden: bool) -> Word {
    let own = text.get(token.range.clone()).unwrap_or_default();
    let lower = own.to_lowercase();
    let letters: Vec<(usize, char)> = lower.char_indices().collect();
    let count = letters.len();
    let mut hashes = Vec::with_capacity(12 + count);
    let part = |from: usize, to: usize| {
        let start = letters.get(from).map_or(lower.len(), |letter| letter.0);
        let end = letters.get(to).map_or(lower.len(), |letter| letter.0);
        hash(lower.get(start..end).unwrap_or_default())
    };
    let shape = hash(&shape(own, token.kind));
    hashes.push(mix(1, shape));
    hashes.push(mix(2, count.min(12) as u64));
    if !hidden {
        hashes.push(mix(3, hash(&lower)));
        hashes.push(mix(4, hash(own)));
    }
    if matches!(token.kind, Kind::Word | Kind::Number) {
        for length in 1..=4.min(count) {
            if hidden && length == count {
                continue;
            }
            hashes.push(mix(10 + length as u64, part(0, length)));
            hashes.push(mix(20 + length as u64, part(count - length, count)));
        }
        for start in 0..count.saturating_sub(2) {
            hashes.push(mix(30, part(start, start + 3)));
        }
    }
    let known = (!hidden).then(|| hash(&lower));
    let suffix = mix(40, part(count.saturating_sub(3), count));
    let is_number = token.kind == Kind::Number;
    Word { lower: known, shape, suffix, own: hashes, starts, kind: token.kind, is_number }
}

/// The buckets of each token's features. What is hidden is seen by its letters alone, so that
/// training does not learn its lists by heart.
pub(crate) fn features(
    text: &str,
    tokens: &[Token],
    hidden: &dyn Fn(usize) -> bool,
    mut each: impl FnMut(usize, &[u32]),
) {
    let mut words: Vec<Word> = Vec::with_capacity(tokens.len());
    for (place, token) in tokens.iter().enumerate() {
        let before = place.checked_sub(1).and_then(|place| tokens.get(place));
        let starts = before.is_none_or(|before| {
            let sign = text.get(before.range.clone()).unwrap_or_default();
            matches!(sign, "\n" | "." | "!" | "?" | ":" | ">" | "#" | "*" | "-" | "•" | "|")
        });
        words.push(word(text, token, starts, hidden(place)));
    }
    let mut buckets: Vec<u32> = Vec::with_capacity(80);
    let case = case(text, tokens);
    for place in 0..words.len() {
        buckets.clear();
        about(&words, place, case, &mut buckets);
        each(place, &buckets);
    }
}

/// How the text uses capitals: not at all, for all letters, or as writing does.
fn case(text: &str, tokens: &[Token]) -> u64 {
    let words = tokens.iter().filter(|token| token.kind == Kind::Word);
    let (mut upper, mut lower) = (0u32, 0u32);
    for word in words {
        let own = text.get(word.range.clone()).unwrap_or_default();
        let mut letters = own.chars();
        match (letters.next().is_some_and(char::is_uppercase), letters.next()) {
            (false, _) => lower += 1,
            (true, Some(second)) if second.is_uppercase() => upper += 100,
            (true, _) => upper += 1,
        }
    }
    match (upper, lower) {
        (0, _) => 0,
        (100.., 0) => 1,
        _ => 2,
    }
}

fn about(words: &[Word], place: usize, case: u64, buckets: &mut Vec<u32>) {
    let mut add = |kind: u64, value: Option<u64>| {
        if let Some(value) = value {
            let hash = mix(kind.wrapping_mul(0x0101_0101_0101), value);
            buckets.push((hash % BUCKETS as u64) as u32);
        }
    };
    let at = |offset: i64| {
        let place = place as i64 + offset;
        usize::try_from(place).ok().and_then(|place| words.get(place))
    };
    let lower = |offset| at(offset).map_or(Some(OUTSIDE), |word| word.lower);
    let shape = |offset| at(offset).map_or(OUTSIDE, |word| word.shape);
    let suffix = |offset| at(offset).map_or(OUTSIDE, |word| word.suffix);
    let with = |one: Option<u64>, other: u64| one.map(|one| mix(one, other));
    let both = |one: Option<u64>, other: Option<u64>| Some(mix(one?, other?));
    let Some(own) = words.get(place) else { return };
    add(1, Some(case));
    add(3, Some(mix(case, own.shape)));
    for hash in &own.own {
        add(2, Some(*hash));
    }
    for offset in [-3, -2, -1, 1, 2, 3] {
        let kind = (100 + offset) as u64;
        add(kind, lower(offset));
        add(kind + 20, Some(mix(shape(offset), own.shape)));
    }
    add(200, Some(suffix(-1)));
    add(201, Some(suffix(1)));
    add(202, with(lower(-1), own.shape));
    add(203, with(lower(1), own.shape));
    add(204, Some(mix(mix(shape(-1), own.shape), shape(1))));
    add(205, Some(mix(mix(shape(-2), shape(-1)), own.shape)));
    add(206, Some(mix(mix(own.shape, shape(1)), shape(2))));
    add(207, with(both(lower(-2), lower(-1)), own.shape));
    add(208, with(both(lower(1), lower(2)), own.shape));
    add(209, with(both(lower(-1), lower(1)), own.shape));
    add(210, Some(mix(u64::from(own.starts), own.shape)));
    add(211, Some(mix(mix(suffix(-1), own.suffix), own.shape)));
    add(212, both(lower(-1), own.lower));
    add(213, Some(mix(mix(own.suffix, own.shape), shape(1))));
    // An address goes on near its numbers.
    let distance = |step: i64| {
        (1..=6).find(|far| at(far * step).is_some_and(|word| word.is_number)).unwrap_or(7) as u64
    };
    let (left, right) = (distance(-1), distance(1));
    add(214, Some(mix(left, own.shape)));
    add(215, Some(mix(right, own.shape)));
    add(216, Some(mix(mix(left, right), own.shape)));
    add(217, with(own.lower, left));
    add(218, with(own.lower, mix(right, 1)));
    let is_line = |far: &i64| at(-far).is_none_or(|word| word.kind == Kind::Line);
    let line = (1..=8).find(is_line).unwrap_or(9);
    add(219, Some(mix(line as u64, own.shape)));
}
