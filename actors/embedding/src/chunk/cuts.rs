//! The places between graphemes and words, found near where they are needed.
//!
//! All searches begin at a place that is known to be a boundary, so that their cost is a
//! window's and not the text's.

use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

/// Whether a grapheme ends at `at`, seen from the boundary `from`.
pub(super) fn is_boundary(text: &str, from: usize, at: usize) -> bool {
    let (Some(rest), true) = (text.get(from..), text.is_char_boundary(at)) else { return false };
    at >= from && GraphemeCursor::new(at - from, rest.len(), true).is_boundary(rest, 0) == Ok(true)
}

/// The last boundary in `from..=at`.
pub(super) fn floor(text: &str, from: usize, at: usize) -> usize {
    let at = text.floor_char_boundary(at);
    if at <= from || is_boundary(text, from, at) {
        return at.max(from);
    }
    let rest = &text[from..];
    match GraphemeCursor::new(at - from, rest.len(), true).prev_boundary(rest, 0) {
        Ok(Some(before)) => from + before,
        _ => from,
    }
}

/// The first boundary from `at` on.
pub(super) fn ceil(text: &str, from: usize, at: usize) -> usize {
    let at = text.ceil_char_boundary(at);
    if at <= from || is_boundary(text, from, at) {
        return at.max(from);
    }
    let rest = &text[from..];
    match GraphemeCursor::new(at - from, rest.len(), true).next_boundary(rest, 0) {
        Ok(Some(after)) => from + after,
        _ => text.len(),
    }
}

/// The first place from the boundary `from` on that is not white space, at most `end`. White
/// space that carries a mark is none.
pub(super) fn skip_space(text: &str, from: usize, end: usize) -> usize {
    let blank = text[from..end].len() - text[from..end].trim_start().len();
    floor(text, from, from + blank)
}

/// The end of what is not white space in `from..end`.
pub(super) fn trim_end(text: &str, from: usize, end: usize) -> usize {
    ceil(text, from, from + text[from..end].trim_end().len()).min(end)
}

/// The last place in `lowest..=highest` beside white space; `from` is a boundary before it.
pub(super) fn last_space(text: &str, from: usize, lowest: usize, highest: usize) -> Option<usize> {
    let places = text[lowest..highest].char_indices().rev().map(|(place, _)| lowest + place);
    let places = std::iter::once(highest).chain(places);
    let beside = |at: &usize| {
        let before = text[..*at].chars().next_back();
        let after = text[*at..].chars().next();
        before.is_some_and(char::is_whitespace) || after.is_some_and(char::is_whitespace)
    };
    places.filter(beside).find(|at| is_boundary(text, from, *at))
}

/// The first place in `lowest..=highest` behind white space; `from` is a boundary before it.
pub(super) fn first_space(text: &str, from: usize, lowest: usize, highest: usize) -> Option<usize> {
    let places = text[lowest..highest].char_indices().map(|(place, _)| lowest + place);
    let behind = |at: &usize| text[..*at].chars().next_back().is_some_and(char::is_whitespace);
    places.filter(behind).find(|at| is_boundary(text, from, *at))
}

/// The places in `lowest..=highest` where a word begins (UAX #29); `from` is a boundary before.
pub(super) fn words(
    text: &str,
    from: usize,
    lowest: usize,
    highest: usize,
) -> impl Iterator<Item = usize> {
    // One grapheme more, or the end of the slice would look like the end of a word.
    let end = match highest < text.len() {
        true => ceil(text, from, highest + 1),
        false => highest,
    };
    let bounds = text[from..end].split_word_bound_indices();
    let begins = |word: &str| word.chars().next().is_some_and(char::is_alphanumeric);
    bounds
        .filter(move |(_, word)| begins(word))
        .map(move |(place, _)| from + place)
        .filter(move |at| (lowest..=highest).contains(at) && is_boundary(text, from, *at))
}
