//! The words of a text, as they are compared.

/// Characters of a text that are read; no tool says as much.
const CHARACTERS: usize = 16_384;
/// Words that say nothing about what a tool does.
const EMPTY: [&str; 22] = [
    "a", "an", "and", "are", "as", "at", "by", "can", "do", "for", "from", "i", "in", "is", "it",
    "of", "on", "or", "that", "the", "to", "with",
];

/// In lower case, without plurals; `camelCase` and `snake_case` are two words each.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut was_small = false;
    for letter in text.chars().take(CHARACTERS).chain([' ']) {
        let begins = was_small && letter.is_uppercase();
        if (!letter.is_alphanumeric() || begins) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if letter.is_alphanumeric() {
            word.extend(letter.to_lowercase());
        }
        was_small = letter.is_lowercase() || letter.is_numeric();
    }
    words.into_iter().filter(|word| !EMPTY.contains(&word.as_str())).map(singular)
}

/// Plurals of English: rough, for both sides are treated alike.
fn singular(word: String) -> String {
    let rest = |end: &str| word.strip_suffix(end).filter(|rest| rest.len() >= 2);
    if let Some(rest) = rest("ies") {
        return format!("{rest}y");
    }
    let hissing = ["sses", "shes", "ches", "xes", "zes"];
    if let Some(end) = hissing.iter().find(|end| word.ends_with(**end)) {
        return word[..word.len() - end.len() + end.len() - 2].to_owned();
    }
    match rest("s") {
        Some(rest) if !rest.ends_with('s') && !rest.ends_with('u') && !rest.ends_with('i') => {
            rest.to_owned()
        }
        _ => word,
    }
}
