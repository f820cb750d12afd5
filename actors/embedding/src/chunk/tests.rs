//! Chunks of seeded texts keep the promises of `plan`; structure decides where windows end.

mod identity;
mod properties;
mod structure;

use headwater_models::Piece;

use super::{Chunk, ChunkSettings, Split, plan};

fn piece(start: usize, stop: usize) -> Piece {
    Piece { id: 7, text: String::new(), special: false, start, stop }
}

/// A token for every word.
fn words(text: &str) -> Vec<Piece> {
    let place = |word: &str| word.as_ptr() as usize - text.as_ptr() as usize;
    text.split_whitespace().map(|word| piece(place(word), place(word) + word.len())).collect()
}

/// A token for every so many bytes, as byte-level vocabularies have them.
fn bytes(text: &str, size: usize) -> Vec<Piece> {
    let starts = (0..text.len()).step_by(size);
    starts.map(|start| piece(start, (start + size).min(text.len()))).collect()
}

/// A token for every character that is not white space.
fn letters(text: &str) -> Vec<Piece> {
    let visible = text.char_indices().filter(|(_, letter)| !letter.is_whitespace());
    visible.map(|(place, letter)| piece(place, place + letter.len_utf8())).collect()
}

fn texts<'a>(text: &'a str, chunks: &[Chunk]) -> Vec<&'a str> {
    chunks.iter().map(|chunk| &text[chunk.range.clone()]).collect()
}

/// The chunks of a text with a token for every word and no overlap.
fn apart(text: &str, window_tokens: usize, split: Split) -> Vec<&str> {
    let settings = ChunkSettings { window_tokens, overlap_percent: 0, split };
    texts(text, &plan(text, &words(text), &settings))
}
