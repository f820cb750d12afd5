//! The one trait pair of the port: a model, and the encoders that it opens.

use std::sync::Arc;

use crate::{ModelCard, Piece, Pixels, Sequence, TokenIds, TokenizeError};

/// Sequences that go through the encoder together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TokenBatch {
    /// None is empty or longer than the model's `max_tokens`.
    pub sequences: Vec<Sequence>,
}

impl TokenBatch {
    /// A batch of single texts, by their ids with special tokens in place.
    pub fn of(texts: impl IntoIterator<Item = Vec<u32>>) -> Self {
        TokenBatch { sequences: texts.into_iter().map(Sequence::from).collect() }
    }

    /// Length of the longest sequence, in tokens.
    pub fn longest(&self) -> usize {
        self.sequences.iter().map(Sequence::tokens).max().unwrap_or(0)
    }
}

/// Called by an encoder between the steps of a batch, many times a batch; returns when the
/// work may go on. Work of less urgency waits in it while more urgent work wants the device.
pub type Pace = Arc<dyn Fn() + Send + Sync>;

/// How an encoder is opened.
#[derive(Clone)]
pub struct OpenOptions {
    /// CPU threads that the encoder may use for one batch; devices with their own scheduling
    /// ignore it.
    pub threads: usize,
    /// Where the encoder lets more urgent work go first; an encoder that cannot stop within a
    /// batch calls it before each.
    pub pace: Option<Pace>,
}

impl OpenOptions {
    /// An encoder that never waits for others.
    pub fn threads(threads: usize) -> Self {
        OpenOptions { threads, pace: None }
    }
}

/// Vectors in the order of the batch, row-major, shape `[rows, dimensions]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    pub dimensions: usize,
    pub values: Vec<f32>,
}

impl Vectors {
    /// One slice of `dimensions` numbers for each sequence of the batch.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.dimensions)
    }
}

/// Why a batch came to nothing, by what the caller should do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The batch itself is wrong; no replica would take it.
    #[error("the batch cannot be encoded: {0}")]
    Input(String),
    /// The device had no room. A smaller batch or another replica may succeed.
    #[error("the device ran out of memory: {0}")]
    OutOfMemory(String),
    /// The device or its driver failed. The encoder must be opened anew.
    #[error("the device failed: {0}")]
    Device(String),
}

/// An encoder on its device. It belongs to one thread and computes one batch at a time.
pub trait Encoder: Send {
    /// Runs the model over the batch and returns one pooled vector per sequence.
    ///
    /// # Errors
    /// [`EncodeError::Input`] when a sequence is empty, too long or names an unknown id;
    /// the other kinds when the device failed, after which the encoder must be dropped.
    fn encode(&mut self, batch: &TokenBatch) -> Result<Vectors, EncodeError>;
}

/// A model that can be served: its card, its tokenizer, and a way to open encoders.
pub trait Model: Send + Sync {
    fn card(&self) -> &ModelCard;

    /// Reads a text as ids with special tokens, cut to `limit` tokens when one is given.
    /// Special tokens at the end survive the cut.
    ///
    /// # Errors
    /// [`TokenizeError::Refused`] when the tokenizer cannot read the text.
    fn tokenize(&self, text: &str, limit: Option<usize>) -> Result<TokenIds, TokenizeError>;

    /// Takes ids that a client made itself, without special tokens, and adds these.
    ///
    /// # Errors
    /// [`TokenizeError::UnknownId`] for an id outside the vocabulary.
    fn adopt(&self, ids: &[u32], limit: Option<usize>) -> Result<TokenIds, TokenizeError>;

    /// Reads a text as pieces beside their places in it, never cut.
    ///
    /// # Errors
    /// [`TokenizeError::Refused`] when the tokenizer cannot read the text.
    fn pieces(&self, text: &str, special: bool) -> Result<Vec<Piece>, TokenizeError>;

    /// Reads two texts as one sequence, as cross-encoders do, cut to `limit` tokens when one is
    /// given: the longer text loses its tail first.
    ///
    /// # Errors
    /// [`TokenizeError::Refused`] when the tokenizer cannot read the texts or the model reads
    /// no pairs.
    fn tokenize_pair(
        &self,
        first: &str,
        second: &str,
        limit: Option<usize>,
    ) -> Result<TokenIds, TokenizeError> {
        let _ = (first, second, limit);
        Err(TokenizeError::Refused("this model reads no pairs of texts".to_owned()))
    }

    /// Decodes an image file and brings it to the size and scale that the model reads.
    ///
    /// # Errors
    /// [`TokenizeError::Refused`] when the bytes are no image of a known kind or the model reads
    /// no images.
    fn read_image(&self, bytes: &[u8]) -> Result<Pixels, TokenizeError> {
        let _ = bytes;
        Err(TokenizeError::Refused("this model reads no images".to_owned()))
    }

    /// Loads the weights onto a device. Called on the thread that will own the encoder; may
    /// take seconds.
    ///
    /// # Errors
    /// [`EncodeError::Device`] or [`EncodeError::OutOfMemory`] when the weights do not load.
    fn open(&self, options: &OpenOptions) -> Result<Box<dyn Encoder>, EncodeError>;
}
