//! From the bytes of tokens to pieces of text: whole characters only, and nothing that may turn
//! out to be a stop text.

/// Bytes that came, and what of them may be shown.
pub(super) struct Pieces {
    stops: Vec<String>,
    /// The first bytes of a character whose last ones have not come.
    broken: Vec<u8>,
    /// Text that may be the start of a stop text.
    held: String,
}

/// What one more token gives.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// May be empty.
    pub(super) text: String,
    /// The stop text that was met right after it.
    pub(super) stop: Option<String>,
}

impl Pieces {
    /// The stop texts must not be empty.
    pub(super) fn new(stops: Vec<String>) -> Self {
        Pieces { stops, broken: Vec::new(), held: String::new() }
    }

    /// Takes the bytes of a token.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Piece {
        self.broken.extend_from_slice(bytes);
        let whole = std::mem::take(&mut self.broken);
        let mut rest = whole.as_slice();
        // Bytes that no character has become the sign for these, as everywhere else.
        while let Err(error) = std::str::from_utf8(rest) {
            let (sound, after) = rest.split_at(error.valid_up_to());
            self.held.push_str(&String::from_utf8_lossy(sound));
            let Some(wrong) = error.error_len() else {
                self.broken = after.to_vec();
                rest = &[];
                break;
            };
            self.held.push(char::REPLACEMENT_CHARACTER);
            rest = &after[wrong..];
        }
        self.held.push_str(&String::from_utf8_lossy(rest));
        self.release()
    }

    /// All that was held back, when no more comes; nothing where a stop text was `met`.
    pub(super) fn finish(mut self, met: bool) -> String {
        if met {
            return String::new();
        }
        if !self.broken.is_empty() {
            self.held.push(char::REPLACEMENT_CHARACTER);
        }
        self.held
    }

    fn release(&mut self) -> Piece {
        // Of those that begin at the same place the longest, so that the order does not matter.
        let met = self
            .stops
            .iter()
            .filter_map(|stop| self.held.find(stop.as_str()).map(|at| (at, stop)))
            .min_by_key(|(at, stop)| (*at, std::cmp::Reverse(stop.len())));
        if let Some((at, stop)) = met {
            let stop = Some(stop.clone());
            self.held.truncate(at);
            return Piece { text: std::mem::take(&mut self.held), stop };
        }
        let mut starts = self.held.char_indices().map(|(at, _)| at);
        let begins = |at: &usize| self.stops.iter().any(|stop| stop.starts_with(&self.held[*at..]));
        let at = starts.find(begins).unwrap_or(self.held.len());
        let held = self.held.split_off(at);
        Piece { text: std::mem::replace(&mut self.held, held), stop: None }
    }
}

#[cfg(test)]
mod tests;
