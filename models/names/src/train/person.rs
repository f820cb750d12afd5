//! Names of persons, of many languages and of none.

use super::chance::Chance;
use super::lists::Lists;

pub(super) fn capital(word: &str) -> String {
    let mut letters = word.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    first + letters.as_str()
}

/// A word that nobody is called, which reads like a name: what is learnt of it is its place.
pub(super) fn made_up(lists: &Lists, chance: &mut Chance) -> String {
    let count = chance.between(1, 2);
    let mut word: String = (0..count).map(|_| chance.one(&lists.syllables)).collect();
    if count == 1 || chance.percent(60) {
        word.push_str(chance.one(&lists.endings));
    }
    capital(&word)
}

pub(super) fn given(lists: &Lists, chance: &mut Chance) -> String {
    match chance.below(100) {
        0..75 => chance.one(&lists.given).to_owned(),
        _ => made_up(lists, chance),
    }
}

pub(super) fn family(lists: &Lists, chance: &mut Chance) -> String {
    match chance.below(100) {
        0..55 => chance.one(&lists.family).to_owned(),
        55..60 => {
            format!("{}-{}", chance.one(&lists.family), chance.one(&lists.family))
        }
        60..64 => format!(
            "{}{}",
            chance.one(&["Mc", "Mac", "O'", "D'", "Al-", "St. "]),
            made_up(lists, chance)
        ),
        _ => made_up(lists, chance),
    }
}

pub(super) fn full(lists: &Lists, chance: &mut Chance) -> String {
    let initial = |chance: &mut Chance| char::from(b'A' + chance.below(26) as u8);
    let (first, last) = (given(lists, chance), family(lists, chance));
    match chance.below(100) {
        0..62 => format!("{first} {last}"),
        62..72 => format!("{first} {}. {last}", initial(chance)),
        72..77 => format!("{first} {} {last}", initial(chance)),
        77..82 => format!("{first} {} {last}", given(lists, chance)),
        82..86 => format!("{first} {last} {}", family(lists, chance)),
        86..89 => format!("{}. {last}", initial(chance)),
        89..91 => format!("{}. {}. {last}", initial(chance), initial(chance)),
        91..93 => format!("{first} {last} {}", chance.one(&["Jr.", "Sr.", "II", "III"])),
        93..95 => format!("{last} {first}"),
        _ => first,
    }
}

pub(super) fn title(chance: &mut Chance) -> &'static str {
    chance.one(&[
        "Mr.",
        "Mrs.",
        "Ms.",
        "Dr.",
        "Prof.",
        "Mr",
        "Mrs",
        "Ms",
        "Miss",
        "Dr",
        "Sir",
        "Herr",
        "Frau",
        "Monsieur",
        "Madame",
        "Señor",
        "Señora",
        "Sr.",
        "Sra.",
        "Signor",
        "Signora",
        "Captain",
        "Judge",
        "President",
        "Professor",
        "Father",
        "Sister",
        "Lord",
        "Lady",
        "Doctor",
    ])
}
