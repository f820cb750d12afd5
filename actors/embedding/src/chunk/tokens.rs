//! How many tokens lie between two places of a text.

use headwater_models::Piece;

/// The tokens of a text by their places, in bytes.
pub(super) struct Tokens {
    /// Where each begins, ascending.
    starts: Vec<usize>,
    /// Where each ends, ascending; not in the order of `starts` when tokens overlap.
    stops: Vec<usize>,
}

impl Tokens {
    /// Byte-level vocabularies cut within characters, some report such tokens as empty: each
    /// counts for the whole character that it touches.
    pub(super) fn of(text: &str, pieces: &[Piece]) -> Self {
        let ordinary = pieces.iter().filter(|piece| !piece.special && !text.is_empty());
        let (mut starts, mut stops): (Vec<usize>, Vec<usize>) =
            ordinary.map(|piece| widen(text, piece.start, piece.stop)).unzip();
        starts.sort_unstable();
        stops.sort_unstable();
        Tokens { starts, stops }
    }

    /// Tokens that lie in `from..to`, wholly or in part; 0 for an empty range.
    pub(super) fn between(&self, from: usize, to: usize) -> usize {
        // A token that ended by `from` also began before `to`, so the difference is exact.
        self.begun(to).saturating_sub(self.ended(from))
    }

    /// The last place up to which `from..` holds at most this many tokens, at most `end`.
    pub(super) fn furthest(&self, from: usize, tokens: usize, end: usize) -> usize {
        let first_outside = self.ended(from).saturating_add(tokens);
        self.starts.get(first_outside).map_or(end, |start| (*start).min(end))
    }

    /// The first place from which `..to` holds at most this many tokens.
    pub(super) fn nearest(&self, to: usize, tokens: usize) -> usize {
        match self.begun(to).saturating_sub(tokens) {
            0 => 0,
            outside => self.stops[outside - 1],
        }
    }

    fn begun(&self, before: usize) -> usize {
        self.starts.partition_point(|start| *start < before)
    }

    fn ended(&self, by: usize) -> usize {
        self.stops.partition_point(|stop| *stop <= by)
    }
}

/// The smallest range of whole characters, at least one, around a token.
fn widen(text: &str, start: usize, stop: usize) -> (usize, usize) {
    let last = text.floor_char_boundary(text.len() - 1);
    let start = text.floor_char_boundary(start).min(last);
    (start, text.ceil_char_boundary(stop.max(start + 1)))
}
