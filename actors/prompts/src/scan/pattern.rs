//! One regular expression of a rule file, compiled when a text first needs it.

use std::sync::OnceLock;

use regex::bytes::{Regex, RegexBuilder};

/// Room for one compiled pattern, in bytes. The crate's own 10 MiB is too little for patterns with
/// counted repetitions of hundreds of characters, as package rules have them.
const SIZE_LIMIT: usize = 128 << 20;

/// Room for the lazily built automaton of one pattern, in bytes. With the crate's 2 MiB the longest
/// generic patterns throw their states away all the time and fall back to the slow engine.
const CACHE_LIMIT: usize = 8 << 20;

/// A pattern that is checked when it is read and compiled when it is first used: a whole package of
/// rules takes seconds to compile, and a text needs only a few of them.
pub(super) struct Pattern {
    source: String,
    compiled: OnceLock<Result<Regex, String>>,
}

impl Pattern {
    /// Reads `source`, written for RE2 as rule files are.
    ///
    /// # Errors
    /// The syntax error, in words.
    pub(super) fn new(source: &str) -> Result<Self, String> {
        let source = escape_braces(source);
        check(&source)?;
        Ok(Self { source, compiled: OnceLock::new() })
    }

    /// The compiled pattern; none when it is too large to compile, which [`Pattern::failure`] tells.
    pub(super) fn get(&self) -> Option<&Regex> {
        self.compiled.get_or_init(|| compile(&self.source)).as_ref().ok()
    }

    /// Why the pattern could not be compiled when it was needed.
    pub(super) fn failure(&self) -> Option<&str> {
        self.compiled.get().and_then(|it| it.as_ref().err()).map(String::as_str)
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.get().is_some_and(|it| it.is_match(text.as_bytes()))
    }
}

fn builder(source: &str, unicode: bool) -> RegexBuilder {
    let mut builder = RegexBuilder::new(source);
    // RE2's \w, \d, \s and \b are about ASCII alone; so are the secrets.
    builder.unicode(unicode).dfa_size_limit(CACHE_LIMIT).size_limit(SIZE_LIMIT);
    builder
}

fn compile(source: &str) -> Result<Regex, String> {
    // A class of Unicode such as \p{L} exists only in the Unicode mode.
    builder(source, false)
        .build()
        .or_else(|_| builder(source, true).build())
        .map_err(|error| error.to_string())
}

/// Only the syntax: with no room at all, a pattern that parses fails for its size and nothing else.
fn check(source: &str) -> Result<(), String> {
    let failure = |unicode| match builder(source, unicode).size_limit(0).build() {
        Ok(_) | Err(regex::Error::CompiledTooBig(_)) => None,
        Err(error) => Some(error.to_string()),
    };
    match failure(false) {
        None => Ok(()),
        Some(_) => failure(true).map_or(Ok(()), Err),
    }
}

/// RE2 reads a brace that begins no repetition as itself, the regex crate refuses it.
fn escape_braces(source: &str) -> String {
    let mut escaped = String::with_capacity(source.len() + 8);
    let mut rest = source;
    let mut in_class = false;
    let mut follows_atom = false;
    while let Some(next) = rest.chars().next() {
        let taken = match next {
            '\\' => escape_length(rest),
            '{' if !in_class => match repetition_length(rest).filter(|_| follows_atom) {
                Some(length) => length,
                None => {
                    escaped.push('\\');
                    1
                }
            },
            '}' if !in_class => {
                escaped.push('\\');
                1
            }
            '[' if in_class && rest.starts_with("[:") => rest.find(":]").map_or(1, |at| at + 2),
            '[' if !in_class => {
                in_class = true;
                class_opening(rest)
            }
            ']' if in_class => {
                in_class = false;
                1
            }
            other => other.len_utf8(),
        };
        follows_atom = in_class || !matches!(next, '(' | '|' | '^');
        let (head, tail) = rest.split_at_checked(taken).unwrap_or((rest, ""));
        escaped.push_str(head);
        rest = tail;
    }
    escaped
}

/// `\x`, or `\p{Name}` and `\x{41}` whose braces belong to the escape.
fn escape_length(rest: &str) -> usize {
    let mut chars = rest.chars();
    chars.next();
    let Some(kind) = chars.next() else { return rest.len() };
    let plain = 1 + kind.len_utf8();
    if matches!(kind, 'p' | 'P' | 'x') && chars.next() == Some('{') {
        return rest.find('}').map_or(plain, |at| at + 1);
    }
    plain
}

/// `[`, `[^`, `[]` and `[^]`: a bracket right at the start of a class is a member of it.
fn class_opening(rest: &str) -> usize {
    ["[^]", "[]", "[^"].iter().find(|it| rest.starts_with(**it)).map_or(1, |it| it.len())
}

/// `{3}`, `{3,}` and `{3,5}`.
fn repetition_length(rest: &str) -> Option<usize> {
    let close = rest.find('}')?;
    let (low, high) = {
        let body = rest.get(1..close)?;
        body.split_once(',').unwrap_or((body, ""))
    };
    let digits = |it: &str| it.bytes().all(|byte| byte.is_ascii_digit());
    (!low.is_empty() && digits(low) && digits(high)).then_some(close + 1)
}
