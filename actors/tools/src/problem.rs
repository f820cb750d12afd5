//! What is wrong with something that somebody wrote.

/// A field by its path, and what is wrong with it: what is allowed, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Problem {
    pub field: String,
    pub problem: String,
}

impl Problem {
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Problem {
        Problem { field: field.into(), problem: problem.into() }
    }
}

/// A text of somebody else, short enough for an error.
pub(crate) fn short(text: &str) -> String {
    cut(text, 64)
}

/// The first characters of a text, with a mark where it was longer.
pub(crate) fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
