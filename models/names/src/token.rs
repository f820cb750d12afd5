//! A text as words, numbers, signs and ends of lines.

use std::ops::Range;

/// What a token is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    Number,
    Sign,
    /// An end of a line.
    Line,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) range: Range<usize>,
    pub(crate) kind: Kind,
}

/// The tokens of a text in their order; blanks are none.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(text.len() / 4);
    let mut rest = text.char_indices().peekable();
    while let Some((start, own)) = rest.next() {
        let kind = match own {
            '\n' => Kind::Line,
            own if own.is_whitespace() => continue,
            own if own.is_alphabetic() => Kind::Word,
            own if own.is_numeric() => Kind::Number,
            _ => Kind::Sign,
        };
        let mut end = start + own.len_utf8();
        if matches!(kind, Kind::Word | Kind::Number) {
            while let Some((place, next)) = rest.peek().copied() {
                let inside = next.is_alphanumeric() || is_mark(next) || joins(text, place, next);
                if !inside {
                    break;
                }
                end = place + next.len_utf8();
                rest.next();
            }
        }
        tokens.push(Token { range: start..end, kind });
    }
    tokens
}

/// Marks that belong to the letter before: accents that are characters of their own.
fn is_mark(own: char) -> bool {
    matches!(own, '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5c7}' | '\u{64b}'..='\u{65f}' | '\u{93a}'..='\u{94f}')
}

/// `O'Brien` and `Jean-Pierre` are one word each, `it's` is two.
fn joins(text: &str, place: usize, own: char) -> bool {
    let after = text.get(place + own.len_utf8()..).and_then(|rest| rest.chars().next());
    match own {
        '-' => after.is_some_and(char::is_alphabetic),
        '\'' | '’' => {
            let mut rest = text.get(place + own.len_utf8()..).unwrap_or_default().chars();
            after.is_some_and(char::is_alphabetic)
                && (after != Some('s') || rest.nth(1).is_some_and(char::is_alphanumeric))
        }
        _ => false,
    }
}
