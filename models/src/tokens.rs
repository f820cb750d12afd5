//! Texts as token ids, and images as numbers.

use std::sync::Arc;

/// One input as an encoder reads it.
#[derive(Debug, Clone, PartialEq)]
pub enum Sequence {
    /// A text, or a pair of texts.
    Tokens {
        /// Ids with special tokens in place.
        ids: Vec<u32>,
        /// Where the second text of a pair begins.
        second: Option<usize>,
    },
    Image(Arc<Pixels>),
}

impl Sequence {
    /// What it costs an encoder, in tokens: the ids of a text, the patches of an image.
    pub fn tokens(&self) -> usize {
        match self {
            Sequence::Tokens { ids, .. } => ids.len(),
            Sequence::Image(pixels) => pixels.tokens,
        }
    }

    /// The ids of a text; none of an image.
    pub fn ids(&self) -> &[u32] {
        match self {
            Sequence::Tokens { ids, .. } => ids,
            Sequence::Image(_) => &[],
        }
    }
}

impl From<Vec<u32>> for Sequence {
    fn from(ids: Vec<u32>) -> Self {
        Sequence::Tokens { ids, second: None }
    }
}

/// An image at the size and scale that a model reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Pixels {
    /// What it costs an encoder, in tokens.
    pub tokens: usize,
    /// Height and width in pixels.
    pub height: usize,
    pub width: usize,
    /// Red, green and blue planes one after the other, each row-major, scaled as the model was
    /// trained: shape `[3, height, width]`.
    pub values: Vec<f32>,
}

/// One text as a model reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenIds {
    /// Ids with the model's special tokens in place; at most the limit asked for.
    pub ids: Vec<u32>,
    /// Where the second text of a pair begins in `ids`.
    pub second: Option<usize>,
    /// Length before truncation, special tokens counted; equals `ids.len()` when nothing was cut.
    pub whole_length: usize,
}

impl TokenIds {
    /// Whether the text was longer than the limit and lost its tail.
    pub fn truncated(&self) -> bool {
        self.whole_length > self.ids.len()
    }
}

/// One token beside the text it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub id: u32,
    /// The token as the vocabulary spells it, for example `##ing`.
    pub text: String,
    /// Added by the model (`[CLS]`, `[SEP]`), not found in the input.
    pub special: bool,
    /// Byte offsets into the input, `start..stop`; both 0 for special tokens.
    pub start: usize,
    pub stop: usize,
}

/// A text, a list of ids or an image that the model cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenizeError {
    #[error("token id {id} is outside the vocabulary of {vocabulary} ids")]
    UnknownId { id: u32, vocabulary: usize },
    #[error("it cannot be read: {0}")]
    Refused(String),
}
