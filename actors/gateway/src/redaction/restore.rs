//! Tokens become values again, in texts that come piece by piece.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Values by the token that stands for each; cheap to clone.
#[derive(Clone, Default)]
pub struct Tokens {
    /// As they stand in a text.
    plain: Arc<BTreeMap<String, String>>,
    /// As they stand inside a string of JSON, where models write `<` in two ways.
    json: Arc<BTreeMap<String, String>>,
}

impl std::fmt::Debug for Tokens {
    /// Values stay out.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Tokens({})", self.plain.len())
    }
}

impl Tokens {
    pub(super) fn new(plain: BTreeMap<String, String>) -> Tokens {
        let mut json = BTreeMap::new();
        for (token, value) in &plain {
            let quoted = serde_json::Value::from(value.as_str()).to_string();
            let inner = quoted.get(1..quoted.len() - 1).unwrap_or_default();
            for (open, close) in [("<", ">"), ("\\u003c", "\\u003e"), ("\\u003C", "\\u003E")] {
                let name = token.trim_start_matches('<').trim_end_matches('>');
                json.insert(format!("{open}{name}{close}"), inner.to_owned());
            }
        }
        Tokens { plain: Arc::new(plain), json: Arc::new(json) }
    }

    pub fn is_empty(&self) -> bool {
        self.plain.is_empty()
    }

    /// Whether this is a token of the session.
    pub(super) fn has(&self, text: &str) -> bool {
        self.plain.contains_key(text)
    }

    /// For texts.
    pub fn restorer(&self) -> Restorer {
        Restorer { values: Arc::clone(&self.plain), held: String::new() }
    }

    /// For texts that are JSON: values are put in as parts of strings.
    pub fn json_restorer(&self) -> Restorer {
        Restorer { values: Arc::clone(&self.json), held: String::new() }
    }
}

/// Restores one text. It holds back only what may be the beginning of a token, so at most a
/// token's length.
#[derive(Clone)]
pub struct Restorer {
    values: Arc<BTreeMap<String, String>>,
    held: String,
}

impl Restorer {
    /// What is certain after this piece.
    pub fn push(&mut self, piece: &str) -> String {
        if self.values.is_empty() {
            return piece.to_owned();
        }
        let mut text = std::mem::take(&mut self.held);
        text.push_str(piece);
        let mut out = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(start) = rest.find(['<', '\\']) {
            let (before, from) = rest.split_at(start);
            out.push_str(before);
            match self.known(from) {
                Known::Token { length, value } => {
                    out.push_str(value);
                    rest = from.get(length..).unwrap_or_default();
                }
                Known::Beginning => {
                    self.held = from.to_owned();
                    return out;
                }
                Known::Nothing => {
                    // Both are one byte.
                    let (sign, after) = from.split_at(1);
                    out.push_str(sign);
                    rest = after;
                }
            }
        }
        out.push_str(rest);
        out
    }

    /// What was held back: the text ends here.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    fn known<'a>(&'a self, text: &str) -> Known<'a> {
        // No token is the beginning of another one, so at most one stands here: the last that
        // does not come after the text in order.
        let below = self.values.range::<str, _>((Bound::Unbounded, Bound::Included(text)));
        if let Some((token, value)) = below.last()
            && text.starts_with(token.as_str())
        {
            return Known::Token { length: token.len(), value };
        }
        let above = self.values.range::<str, _>((Bound::Excluded(text), Bound::Unbounded)).next();
        match above {
            Some((token, _)) if token.starts_with(text) => Known::Beginning,
            _ => Known::Nothing,
        }
    }
}

enum Known<'a> {
    Token { length: usize, value: &'a str },
    Beginning,
    Nothing,
}
