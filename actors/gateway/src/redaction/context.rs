//! Words near a candidate that say what it is.

use std::ops::Range;

/// How far before a candidate a word may stand, in bytes.
const BEFORE: usize = 56;
/// How far after it.
const AFTER: usize = 24;
/// The score of what looks right and is said to be it. Nothing is certain.
pub(super) const SUREST: f32 = 0.99;

pub(super) const CARD: &[&str] = &[
    "card",
    "cards",
    "credit",
    "debit",
    "visa",
    "mastercard",
    "amex",
    "discover",
    "cc",
    "pan",
    "karte",
    "kreditkarte",
    "carte",
    "tarjeta",
    "carta",
    "cartão",
    "cvv",
    "cvc",
    "expires",
    "expiry",
    "expiration",
];
pub(super) const SSN: &[&str] = &["ssn", "ssns", "social", "security", "taxpayer", "itin", "ss"];
pub(super) const PHONE: &[&str] = &[
    "phone",
    "phones",
    "telephone",
    "tel",
    "call",
    "called",
    "calling",
    "mobile",
    "cell",
    "cellphone",
    "fax",
    "whatsapp",
    "text",
    "sms",
    "dial",
    "ring",
    "reach",
    "contact",
    "number",
    "numbers",
    "no",
    "nr",
    "landline",
    "hotline",
    "handy",
    "telefon",
    "telefono",
    "teléfono",
    "móvil",
    "celular",
    "téléphone",
    "portable",
    "telefone",
    "telefonnummer",
    "rufnummer",
    "telefoon",
    "puhelin",
    "puh",
    "tlf",
    "mobil",
    "cellulare",
    "voicemail",
    "extension",
    "ext",
    "appelez",
    "anrufen",
    "llama",
    "chiama",
    "電話",
    "电话",
    "전화",
    "телефон",
    "тел",
];
pub(super) const BIRTH: &[&str] = &[
    "born",
    "birth",
    "birthday",
    "birthdate",
    "dob",
    "geboren",
    "geb",
    "geburtsdatum",
    "né",
    "née",
    "naissance",
    "nacido",
    "nacida",
    "nacimiento",
    "nato",
    "nata",
    "nascita",
    "nascido",
    "nascimento",
    "geboortedatum",
    "född",
    "født",
    "urodzony",
    "urodzona",
    "生年月日",
];
pub(super) const VERSION: &[&str] = &["version", "ver", "v", "release", "section", "build", "oid"];

/// Whether one of these words stands near the range.
pub(super) fn has(text: &str, range: &Range<usize>, words: &[&str]) -> bool {
    is_in(before(text, range.start), words) || is_in(after(text, range.end), words)
}

/// Whether one of these words stands before the range.
pub(super) fn leads(text: &str, range: &Range<usize>, words: &[&str]) -> bool {
    is_in(before(text, range.start), words)
}

/// Adds this to a score where one of the words stands near.
pub(super) fn raised(text: &str, range: &Range<usize>, words: &[&str], score: f32, by: f32) -> f32 {
    if has(text, range, words) { (score + by).min(SUREST) } else { score }
}

fn before(text: &str, start: usize) -> &str {
    let from = floor(text, start.saturating_sub(BEFORE));
    text.get(from..start).unwrap_or_default()
}

fn after(text: &str, end: usize) -> &str {
    let to = floor(text, (end + AFTER).min(text.len()));
    text.get(end..to).unwrap_or_default()
}

/// The last border of characters at or before this place.
pub(super) fn floor(text: &str, mut place: usize) -> usize {
    while place > 0 && !text.is_char_boundary(place) {
        place -= 1;
    }
    place
}

fn is_in(window: &str, words: &[&str]) -> bool {
    let window = window.to_lowercase();
    let mut each = window.split(|own: char| !own.is_alphanumeric());
    each.any(|word| words.contains(&word))
        // Scripts that put no space between words.
        || words.iter().any(|word| !word.is_ascii() && window.contains(word))
}

/// Whether neither end of the range cuts a word or a number.
pub(super) fn stands_alone(text: &str, range: &Range<usize>) -> bool {
    let is_word = |own: char| own.is_alphanumeric() || own == '_';
    let left = text.get(..range.start).and_then(|left| left.chars().next_back());
    let right = text.get(range.end..).and_then(|right| right.chars().next());
    !left.is_some_and(is_word) && !right.is_some_and(is_word)
}

/// Whether a number goes on beyond the range: `1.2` of `1.2.3`.
pub(super) fn goes_on(text: &str, range: &Range<usize>, joints: &[char]) -> bool {
    let mut right = text.get(range.end..).unwrap_or_default().chars();
    let mut left = text.get(..range.start).unwrap_or_default().chars();
    let is_digit = |own: Option<char>| own.is_some_and(|own| own.is_ascii_digit());
    let joins = |own: Option<char>| own.is_some_and(|own| joints.contains(&own));
    (joins(right.next()) && is_digit(right.next()))
        || (joins(left.next_back()) && is_digit(left.next_back()))
}
