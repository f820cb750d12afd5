//! The model's tokenizer, with limits set by the caller and not by its file.

use headwater_models::{Piece, TokenIds, TokenizeError};
use tokenizers::Tokenizer;

use crate::LoadError;
use crate::folder::TOKENIZER;

pub(crate) struct BertTokenizer {
    tokenizer: Tokenizer,
    vocabulary: usize,
    /// Special tokens that the model puts before and after one text.
    before: Vec<u32>,
    after: Vec<u32>,
}

impl BertTokenizer {
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
        let word = mask.iter().position(|special| *special == 0).unwrap_or(mask.len());
        let end = mask.iter().rposition(|special| *special == 0).map_or(word, |last| last + 1);
        if mask[word..end].contains(&1) {
            let reason = "puts special tokens inside a text".to_owned();
            return Err(LoadError::malformed(TOKENIZER, "post_processor", reason));
        }
        let (before, after) = (&framed.get_ids()[..word], &framed.get_ids()[end..]);
        Ok(BertTokenizer { before: before.to_vec(), after: after.to_vec(), tokenizer, vocabulary })
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
        let room = match limit {
            Some(limit) => limit.checked_sub(special).ok_or_else(|| {
                TokenizeError::Refused(format!(
                    "a limit of {limit} tokens has no room for the {special} special tokens"
                ))
            })?,
            None => words.len(),
        };
        let kept = &words[..words.len().min(room)];
        Ok(TokenIds { ids: [&self.before, kept, &self.after].concat(), second: None, whole_length })
    }
}

fn refused(error: tokenizers::Error) -> TokenizeError {
    TokenizeError::Refused(error.to_string())
}

#[cfg(test)]
mod tests;
