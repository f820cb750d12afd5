//! The model's tokenizer, with limits set by the caller and not by its file.

use headwater_models::{Piece, TokenIds, TokenizeError};
use tokenizers::Tokenizer;

use crate::LoadError;
use crate::folder::TOKENIZER;

pub(crate) struct ModelTokenizer {
    tokenizer: Tokenizer,
    vocabulary: usize,
    /// Special tokens that the model puts before and after one text.
    before: Vec<u32>,
    after: Vec<u32>,
    /// Or why there is none, which only a cross-encoder minds.
    pair: Result<PairFrame, LoadError>,
}

/// Special tokens of a pair of texts.
struct PairFrame {
    before: Vec<u32>,
    between: Vec<u32>,
    after: Vec<u32>,
    /// Whether the second text and what follows it are of token type 1.
    typed: bool,
}

impl ModelTokenizer {
    /// `vocabulary` is the number of word embeddings.
    pub(crate) fn parse(bytes: &[u8], vocabulary: usize) -> Result<Self, LoadError> {
        let broken = |error: tokenizers::Error| {
            LoadError::malformed(TOKENIZER, "tokenizer", error.to_string())
        };
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(broken)?;
        // The file may cut or pad every text to a length of its own.
        tokenizer.with_truncation(None).map_err(broken)?;
        tokenizer.with_padding(None);
        let largest = tokenizer.get_vocab(true).into_values().max().unwrap_or(0);
        if largest as usize >= vocabulary {
            let reason = format!("holds id {largest}, but config.json has vocab_size {vocabulary}");
            return Err(LoadError::malformed(TOKENIZER, "vocab", reason));
        }
        let framed = tokenizer.encode_fast("a", true).map_err(broken)?;
        let mask = framed.get_special_tokens_mask();
        let Some(word) = mask.iter().position(|special| *special == 0) else {
            let reason = "reads the text \"a\" as no token at all".to_owned();
            return Err(LoadError::malformed(TOKENIZER, "model", reason));
        };
        let end = mask.iter().rposition(|special| *special == 0).map_or(word, |last| last + 1);
        if mask[word..end].contains(&1) {
            let reason = "puts special tokens inside a text".to_owned();
            return Err(LoadError::malformed(TOKENIZER, "post_processor", reason));
        }
        let (before, after) = (&framed.get_ids()[..word], &framed.get_ids()[end..]);
        let (before, after) = (before.to_vec(), after.to_vec());
        let pair = PairFrame::read(&tokenizer);
        Ok(ModelTokenizer { before, after, pair, tokenizer, vocabulary })
    }

    /// Whether the second text of a pair is told by its token type.
    pub(crate) fn pair_types(&self) -> bool {
        self.pair.as_ref().is_ok_and(|pair| pair.typed)
    }

    /// # Errors
    /// [`LoadError::Malformed`] when pairs of texts cannot be read.
    pub(crate) fn check_pairs(&self) -> Result<(), LoadError> {
        self.pair.as_ref().map(|_| ()).map_err(LoadError::clone)
    }

    /// Both texts in one frame. The longer text loses its tail first, as the strategy
    /// `longest_first` of the library does.
    pub(crate) fn tokenize_pair(
        &self,
        first: &str,
        second: &str,
        limit: Option<usize>,
    ) -> Result<TokenIds, TokenizeError> {
        let first = self.tokenizer.encode_fast(first, false).map_err(refused)?;
        let second = self.tokenizer.encode_fast(second, false).map_err(refused)?;
        let (first, second) = (first.get_ids(), second.get_ids());
        let pair = self.pair.as_ref();
        let PairFrame { before, between, after, typed: _ } =
            pair.map_err(|error| TokenizeError::Refused(error.to_string()))?;
        let special = before.len() + between.len() + after.len();
        let whole_length = first.len() + second.len() + special;
        let room = room(limit, special, first.len() + second.len())?;
        let (kept_first, kept_second) = longest_first(first.len(), second.len(), room);
        let start = before.len() + kept_first + between.len();
        let ids = [before, &first[..kept_first], between, &second[..kept_second], after].concat();
        Ok(TokenIds { ids, second: Some(start), whole_length })
    }

    pub(crate) fn tokenize(
        &self,
        text: &str,
        limit: Option<usize>,
    ) -> Result<TokenIds, TokenizeError> {
        self.frame(self.tokenizer.encode_fast(text, false).map_err(refused)?.get_ids(), limit)
    }

    pub(crate) fn adopt(
        &self,
        ids: &[u32],
        limit: Option<usize>,
    ) -> Result<TokenIds, TokenizeError> {
        match ids.iter().find(|id| **id as usize >= self.vocabulary) {
            Some(id) => Err(TokenizeError::UnknownId { id: *id, vocabulary: self.vocabulary }),
            None => self.frame(ids, limit),
        }
    }

    pub(crate) fn pieces(&self, text: &str, special: bool) -> Result<Vec<Piece>, TokenizeError> {
        let found = self.tokenizer.encode(text, false).map_err(refused)?;
        let marks = |ids: &[u32]| -> Vec<Piece> {
            let ids = if special { ids } else { &[] };
            ids.iter().map(|id| self.mark(*id)).collect()
        };
        let mut pieces = marks(&self.before);
        for ((id, text), offsets) in
            found.get_ids().iter().zip(found.get_tokens()).zip(found.get_offsets())
        {
            let (start, stop) = *offsets;
            pieces.push(Piece { id: *id, text: text.clone(), special: false, start, stop });
        }
        pieces.extend(marks(&self.after));
        Ok(pieces)
    }

    fn mark(&self, id: u32) -> Piece {
        let text = self.tokenizer.id_to_token(id).unwrap_or_default();
        Piece { id, text, special: true, start: 0, stop: 0 }
    }

    fn frame(&self, words: &[u32], limit: Option<usize>) -> Result<TokenIds, TokenizeError> {
        let special = self.before.len() + self.after.len();
        let whole_length = words.len() + special;
        let room = room(limit, special, words.len())?;
        let kept = &words[..words.len().min(room)];
        Ok(TokenIds { ids: [&self.before, kept, &self.after].concat(), second: None, whole_length })
    }
}

impl PairFrame {
    /// # Errors
    /// [`LoadError::Malformed`] when special tokens stand inside a text.
    fn read(tokenizer: &Tokenizer) -> Result<Self, LoadError> {
        let broken = |reason: String| LoadError::malformed(TOKENIZER, "post_processor", reason);
        let framed =
            tokenizer.encode(("a", "a"), true).map_err(|error| broken(error.to_string()))?;
        let (ids, types) = (framed.get_ids(), framed.get_type_ids());
        let whose = framed.get_sequence_ids();
        let span = |text: usize| {
            let own = |found: &Option<usize>| *found == Some(text);
            let start = whose.iter().position(own)?;
            let end = whose.iter().rposition(own)? + 1;
            whose[start..end].iter().all(own).then_some(start..end)
        };
        match (span(0), span(1)) {
            (Some(first), Some(second)) if first.end <= second.start => Ok(PairFrame {
                before: ids[..first.start].to_vec(),
                between: ids[first.end..second.start].to_vec(),
                after: ids[second.end..].to_vec(),
                typed: types[second.start] == 1,
            }),
            _ => Err(broken("does not put the two texts of a pair one after the other".to_owned())),
        }
    }
}

/// Tokens of the texts themselves that fit beside `special` ones.
fn room(limit: Option<usize>, special: usize, wanted: usize) -> Result<usize, TokenizeError> {
    let Some(limit) = limit else { return Ok(wanted) };
    limit.checked_sub(special).ok_or_else(|| {
        TokenizeError::Refused(format!(
            "a limit of {limit} tokens has no room for the {special} special tokens"
        ))
    })
}

/// How many tokens of each of two texts are kept.
fn longest_first(first: usize, second: usize, room: usize) -> (usize, usize) {
    if first + second <= room {
        return (first, second);
    }
    let (short, long) = (first.min(second), first.max(second));
    // Once both are of one length they shrink together; the longer one keeps the odd token.
    let short = short.min(room / 2);
    let long = long.min(room - short);
    if first <= second { (short, long) } else { (long, short) }
}

fn refused(error: tokenizers::Error) -> TokenizeError {
    TokenizeError::Refused(error.to_string())
}

#[cfg(test)]
mod tests;
