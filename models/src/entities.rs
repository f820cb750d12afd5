//! Names and addresses in a text: what no pattern finds, because nothing but the words around
//! them and the words themselves tell them.

use std::ops::Range;

/// What a span of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaggedKind {
    /// A person's name.
    Person,
    /// A postal address.
    Address,
}

/// A span that a tagger found.
#[derive(Debug, Clone, PartialEq)]
pub struct TaggedSpan {
    pub kind: TaggedKind,
    /// In bytes, at borders of characters.
    pub range: Range<usize>,
    /// How sure it is, 0 to 1.
    pub score: f32,
}

/// Why a text could not be looked through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the text could not be searched for names: {reason}")]
pub struct TagError {
    /// Repeats nothing of the text.
    pub reason: String,
}

/// Finds names and addresses. The same text gives the same spans.
pub trait EntityTagger: Send + Sync {
    /// Spans in the order of the text; no two overlap.
    ///
    /// # Errors
    /// When the text could not be looked through; nothing is known about it then.
    fn tag(&self, text: &str) -> Result<Vec<TaggedSpan>, TagError>;
}

/// A tagger in memory: it knows some names, and finds each wherever it stands.
#[derive(Debug, Clone, Default)]
pub struct KnownNames {
    names: Vec<(TaggedKind, String)>,
}

impl KnownNames {
    pub fn new(names: &[(TaggedKind, &str)]) -> KnownNames {
        KnownNames { names: names.iter().map(|(kind, name)| (*kind, (*name).to_owned())).collect() }
    }
}

impl EntityTagger for KnownNames {
    fn tag(&self, text: &str) -> Result<Vec<TaggedSpan>, TagError> {
        let mut spans: Vec<TaggedSpan> = Vec::new();
        for (kind, name) in &self.names {
            spans.extend(text.match_indices(name.as_str()).map(|(start, own)| TaggedSpan {
                kind: *kind,
                range: start..start + own.len(),
                score: 1.0,
            }));
        }
        spans.sort_by_key(|span| (span.range.start, usize::MAX - span.range.end));
        let mut end = 0;
        spans.retain(|span| {
            let clear = span.range.start >= end;
            end = if clear { span.range.end } else { end };
            clear
        });
        Ok(spans)
    }
}
