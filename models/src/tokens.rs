//! Texts as token ids.

/// One text as a model reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenIds {
    /// Ids with the model's special tokens in place; at most the limit asked for.
    pub ids: Vec<u32>,
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

/// A text or a list of ids that the model's vocabulary cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenizeError {
    #[error("token id {id} is outside the vocabulary of {vocabulary} ids")]
    UnknownId { id: u32, vocabulary: usize },
    #[error("the tokenizer refused the text: {0}")]
    Refused(String),
}
