//! Checksums and ranges that tell a number from other digits.

use iban::Iban;

/// The digits of a text, without what stands between them.
pub(super) fn digits(text: &str) -> Vec<u8> {
    text.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0').collect()
}

/// ISO/IEC 7812-1: every second digit from the right is doubled.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, u32::from(*digit)) {
            (0, digit) => digit,
            (_, digit) if digit > 4 => digit * 2 - 9,
            (_, digit) => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether a card network issues numbers of this beginning and length.
pub(super) fn is_issued(digits: &[u8]) -> bool {
    let lead = |count: usize| {
        digits.iter().take(count).fold(0u32, |number, digit| number * 10 + u32::from(*digit))
    };
    match (lead(1), lead(2), lead(3), lead(4), digits.len()) {
        // Visa.
        (4, _, _, _, 13 | 16 | 19) => true,
        // Mastercard.
        (_, 51..=55, _, _, 16) => true,
        (_, _, _, 2221..=2720, 16) => true,
        // American Express.
        (_, 34 | 37, _, _, 15) => true,
        // Discover and UnionPay.
        (_, 65, _, _, 16..=19) => true,
        (_, _, 644..=649, _, 16..=19) => true,
        (_, _, _, 6011, 16..=19) => true,
        (_, 62 | 81, _, _, 16..=19) => true,
        // Diners Club.
        (_, 36 | 38 | 39, _, _, 14..=19) => true,
        (_, _, 300..=305, _, 14..=19) => true,
        // JCB, and its older numbers of 15 digits.
        (_, _, _, 3528..=3589, 16..=19) => true,
        (_, _, _, 1800 | 2131, 15) => true,
        // Maestro, Elo, RuPay and Mir.
        (_, 50 | 56 | 57 | 58 | 60 | 63 | 67, _, _, 12..=19) => true,
        (_, _, _, 2200..=2204, 16..=19) => true,
        _ => false,
    }
}

/// Digits in a row that nobody's number has: all the same.
pub(super) fn is_monotone(digits: &[u8]) -> bool {
    digits.windows(2).all(|pair| pair[0] == pair[1])
}

/// Numbers that the Social Security Administration never gave out.
pub(super) fn is_ssn(digits: &[u8]) -> bool {
    let number = |digits: &[u8]| digits.iter().fold(0u32, |all, one| all * 10 + u32::from(*one));
    let [area @ .., _, _, _, _, _, _] = digits else { return false };
    let (group, serial) = (&digits[3..5], &digits[5..]);
    digits.len() == 9
        && !matches!(number(area), 0 | 666 | 900..)
        && number(group) != 0
        && number(serial) != 0
}

/// ISO 13616: a country's length and layout, and the remainder of 97.
pub(super) fn is_iban(text: &str) -> bool {
    let electronic: String = text.chars().filter(|own| own.is_ascii_alphanumeric()).collect();
    electronic.to_ascii_uppercase().parse::<Iban>().is_ok()
}
