//! The tokens of a GGUF file: from texts, and back to bytes.
//!
//! Control tokens come from the template alone: the tokenizer does not know them, so that a text
//! that spells one is read as the letters it has.

use std::collections::BTreeSet;

use tokenizers::Tokenizer;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;

use crate::LoadError;
use crate::gguf::{Gguf, Value};

const MODEL: &str = "tokenizer.ggml.model";
const SPLIT: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const KINDS: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const FIRST: &str = "tokenizer.ggml.add_bos_token";

/// ggml's kinds of tokens that such a vocabulary has.
const NORMAL: i64 = 1;
const CONTROL: i64 = 3;

pub(super) struct Vocabulary {
    tokenizer: Tokenizer,
    /// The bytes of each token; none of a control token.
    bytes: Vec<Option<Vec<u8>>>,
    /// Control tokens by their names.
    control: Vec<(String, u32)>,
    /// Whether some token is this byte alone.
    single: [bool; 256],
    /// Bytes of the longest token.
    longest: usize,
}

impl Vocabulary {
    /// # Errors
    /// [`LoadError`] naming the key of the metadata.
    pub(super) fn read(file: &Gguf<'_>) -> Result<Self, LoadError> {
        for (key, allowed) in [(MODEL, "gpt2"), (SPLIT, "smollm")] {
            let found = file.text(key)?;
            if found != allowed {
                return Err(LoadError::unsupported(file.name(), key, found, allowed));
            }
        }
        if file.value(FIRST) == Some(&Value::Flag(true)) {
            return Err(LoadError::unsupported(file.name(), FIRST, "true", "false"));
        }
        let (tokens, kinds) = (file.texts(TOKENS)?, file.integers(KINDS)?);
        if tokens.len() != kinds.len() || u32::try_from(tokens.len()).is_err() {
            let reason = format!("has {} kinds for {} tokens", kinds.len(), tokens.len());
            return Err(LoadError::malformed(file.name(), KINDS, reason));
        }
        let mut vocabulary = Vocab::default();
        let (mut bytes, mut control, mut single) = (Vec::new(), Vec::new(), [false; 256]);
        for ((id, token), kind) in (0u32..).zip(tokens).zip(kinds) {
            if *kind == CONTROL {
                control.push((token.clone(), id));
                bytes.push(None);
                continue;
            }
            if *kind != NORMAL {
                let found = format!("{kind} for token {id}");
                let allowed = "1 (normal) or 3 (control)";
                return Err(LoadError::unsupported(file.name(), KINDS, found, allowed));
            }
            let spelt = token.chars().map(byte).collect::<Option<Vec<u8>>>();
            let spelt = spelt.filter(|spelt| !spelt.is_empty());
            let fresh = vocabulary.insert(token.clone(), id).is_none();
            let Some(spelt) = spelt.filter(|_| fresh) else {
                let reason = format!("token {id} is there twice or is not spelt in bytes");
                return Err(LoadError::malformed(file.name(), TOKENS, reason));
            };
            if let [byte] = spelt[..] {
                single[usize::from(byte)] = true;
            }
            bytes.push(Some(spelt));
        }
        let longest = bytes.iter().flatten().map(Vec::len).max().unwrap_or(0);
        let tokenizer = tokenizer(file, vocabulary)?;
        Ok(Vocabulary { tokenizer, bytes, control, single, longest })
    }

    /// How many tokens there are, control tokens too.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The control token of this name.
    pub(super) fn control(&self, name: &str) -> Option<u32> {
        self.control.iter().find(|(known, _)| known == name).map(|(_, id)| *id)
    }

    /// The bytes that a token stands for; none for a control token.
    pub(super) fn bytes(&self, id: u32) -> Option<&[u8]> {
        self.bytes.get(id as usize)?.as_deref()
    }

    /// Tokens that a text of so many bytes has at least.
    pub(super) fn least(&self, bytes: usize) -> usize {
        bytes / self.longest.max(1)
    }

    /// The tokens of a text, none of them a control token.
    ///
    /// # Errors
    /// What the text holds that no token stands for.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, String> {
        let unknown = |byte: u8| !self.single[usize::from(byte)];
        if text.bytes().any(unknown) {
            let mut buffer = [0; 4];
            let mut characters = text.chars();
            let found = characters.find(|c| c.encode_utf8(&mut buffer).bytes().any(unknown));
            let code = found.map_or(0, u32::from);
            return Err(format!("the character U+{code:04X}, which this model has no token for"));
        }
        let found = self.tokenizer.encode_fast(text, false).map_err(|error| error.to_string())?;
        Ok(found.get_ids().to_vec())
    }
}

fn tokenizer(file: &Gguf<'_>, vocabulary: Vocab) -> Result<Tokenizer, LoadError> {
    let broken = |reason: String| LoadError::malformed(file.name(), MERGES, reason);
    let known: BTreeSet<&str> = vocabulary.keys().map(String::as_str).collect();
    let mut merges = Vec::new();
    for merge in file.texts(MERGES)? {
        let pair = merge.split_once(' ').filter(|(left, right)| {
            [*left, *right, &format!("{left}{right}")].iter().all(|part| known.contains(part))
        });
        let (left, right) = pair
            .ok_or_else(|| broken("holds a merge that is not of two tokens to one".to_owned()))?;
        merges.push((left.to_owned(), right.to_owned()));
    }
    drop(known);
    let model = BPE::builder().vocab_and_merges(vocabulary, merges).build();
    let mut tokenizer = Tokenizer::new(model.map_err(|error| broken(error.to_string()))?);
    // What ggml calls smollm: every digit alone, then the words of GPT-2.
    tokenizer.with_pre_tokenizer(Some(Sequence::new(vec![
        PreTokenizerWrapper::Digits(Digits::new(true)),
        PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, true)),
    ])));
    Ok(tokenizer)
}

/// The byte that a letter of GPT-2's alphabet stands for: printable bytes stand for themselves,
/// and the others, in order, are the letters from U+0100 on.
fn byte(letter: char) -> Option<u8> {
    let printable = |byte: &u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    match u32::from(letter) {
        code @ 0..=255 => u8::try_from(code).ok().filter(printable),
        code => (0..=255u8).filter(|byte| !printable(byte)).nth((code - 256) as usize),
    }
}

#[cfg(test)]
mod tests;
