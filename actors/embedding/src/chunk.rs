//! Cuts a document into chunks that a model can read: windows of tokens that overlap.
//!
//! The cut works on the byte offsets of tokens that were read once, so a document is tokenised
//! once and not for each candidate. Where a window ends is chosen by the document's structure.

mod cuts;
mod identity;
mod outline;
mod tokens;
mod windows;

#[cfg(test)]
mod tests;

use std::ops::Range;

use headwater_models::Piece;

pub use identity::{chunk_id, normalised};

use outline::Outline;
use tokens::Tokens;
use windows::Windows;

/// What decides where a window ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Split {
    /// Words.
    Plain,
    /// Paragraphs, then sentences (Unicode UAX #29, which knows 。！？ and takes a line's end for
    /// a sentence's), then words.
    #[default]
    Sentence,
    /// A heading starts a chunk; then paragraphs, lists and fenced code, which stay whole where
    /// they fit; then items and lines, sentences, words.
    Markdown,
    /// Top-level definitions by their indentation, which stay whole where they fit; then blank
    /// lines, lines, words.
    Code,
}

impl Split {
    pub const ALL: [Split; 4] = [Split::Plain, Split::Sentence, Split::Markdown, Split::Code];

    /// The name in settings and requests.
    pub fn name(self) -> &'static str {
        match self {
            Split::Plain => "plain",
            Split::Sentence => "sentence",
            Split::Markdown => "markdown",
            Split::Code => "code",
        }
    }

    /// The split of this name, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        Split::ALL.into_iter().find(|split| split.name() == name)
    }
}

/// How documents are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkSettings {
    /// Most tokens of a chunk, special tokens left out: a model's `max_tokens` less those that
    /// it adds, and less those of its prefix. At least 1.
    pub window_tokens: usize,
    /// How much of a window its neighbour repeats at most, in percent of `window_tokens`, 0 to
    /// [`ChunkSettings::OVERLAP_PERCENT_MAX`].
    pub overlap_percent: usize,
    pub split: Split,
}

/// Settings outside their limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChunkProblem {
    /// `window_tokens` is 0.
    NoWindow,
    OverlapTooLarge {
        given_percent: usize,
        allowed_percent: usize,
    },
}

impl ChunkSettings {
    /// Beyond it most of the work would be repetition.
    pub const OVERLAP_PERCENT_MAX: usize = 50;

    /// Windows of so many tokens, each repeating at most a tenth of the one before.
    pub fn of(window_tokens: usize, split: Split) -> Self {
        ChunkSettings { window_tokens, overlap_percent: 10, split }
    }

    /// # Errors
    /// [`ChunkProblem`] names the setting that is outside its limits.
    pub fn check(&self) -> Result<(), ChunkProblem> {
        let (given_percent, allowed_percent) = (self.overlap_percent, Self::OVERLAP_PERCENT_MAX);
        if self.window_tokens == 0 {
            return Err(ChunkProblem::NoWindow);
        }
        if given_percent > allowed_percent {
            return Err(ChunkProblem::OverlapTooLarge { given_percent, allowed_percent });
        }
        Ok(())
    }
}

/// One part of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Bytes of the document, without white space at the ends.
    pub range: Range<usize>,
    /// Tokens that lie in the range, wholly or in part.
    pub tokens: usize,
}

/// Cuts a text along the tokens that `pieces` names; pieces marked special are left out.
///
/// The chunks are in the order of the text and each begins and ends behind the one before.
/// Together they hold every character that is not white space. None is cut within a character
/// or a grapheme cluster (UAX #29), unless one cluster alone has more tokens than a window: it is
/// cut between characters, and only a character with more tokens than a window makes a chunk of
/// more than `window_tokens`. A word is cut only when it is longer than half a window.
///
/// Neighbours share whole sentences or lines where these fit into the overlap, else words. There
/// is no overlap over a Markdown heading, and none where it would tear what should stay whole.
///
/// A chunk that is read alone has the tokens it had in its document, but where a word was cut it
/// may have a few more: let the model truncate.
///
/// A text whose tokens were all dropped by the tokenizer is one chunk of 0 tokens; a text of
/// white space has no chunks. Settings outside their limits count as the nearest allowed ones.
///
/// Cost: one pass for the structure, then each window is looked at a fixed number of times.
pub fn plan(text: &str, pieces: &[Piece], settings: &ChunkSettings) -> Vec<Chunk> {
    let window_tokens = settings.window_tokens.max(1);
    let percent = settings.overlap_percent.min(ChunkSettings::OVERLAP_PERCENT_MAX);
    let tokens = Tokens::of(text, pieces);
    let mut outline = Outline::of(text, settings.split);
    outline.blocks.retain(|block| tokens.between(block.start, block.end) <= window_tokens);
    // Dividing first keeps a huge window from overflowing.
    let overlap_tokens = window_tokens / 100 * percent + window_tokens % 100 * percent / 100;
    Windows { text, tokens: &tokens, outline: &outline, window_tokens, overlap_tokens }.plan()
}
