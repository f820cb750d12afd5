//! An in-memory model for tests and simulation: words are tokens, vectors are digests,
//! and failures are ordered in advance.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::{
    EncodeError, Encoder, Model, ModelCard, OpenOptions, Pace, Piece, Pixels, Pooling, Sequence,
    Task, TokenBatch, TokenIds, TokenizeError, Vectors,
};

const VOCABULARY: u32 = 30_000;
const FIRST_SPECIAL: u32 = 1;
const LAST_SPECIAL: u32 = 2;
const FIRST_WORD: u32 = 10;

/// What the next batch shall meet instead of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The encoder panics.
    Panic,
    /// The encoder reports this error.
    Error(EncodeError),
    /// The encoder sleeps this long, then answers.
    Slow(Duration),
}

/// A model whose vectors are a digest of the ids: equal inputs give equal vectors,
/// whatever batch they travel in.
#[derive(Clone)]
pub struct DoubleModel {
    card: ModelCard,
    faults: Arc<Mutex<VecDeque<Fault>>>,
    opened: Arc<Mutex<usize>>,
    pace: Option<Pace>,
}

impl DoubleModel {
    pub fn new(name: &str, dimensions: usize, max_tokens: usize) -> Self {
        let card = ModelCard {
            name: name.to_owned(),
            fingerprint: format!("double-{name}-{dimensions}-{max_tokens}"),
            task: Task::Embed,
            images: false,
            arithmetic: "double".to_owned(),
            dimensions,
            max_tokens,
            vocabulary: VOCABULARY as usize,
            pooling: Pooling::Mean,
            normalise: true,
            query_prefix: String::new(),
            passage_prefix: String::new(),
            matryoshka_dimensions: Vec::new(),
        };
        DoubleModel { card, faults: Arc::default(), opened: Arc::default(), pace: None }
    }

    /// The same model with another card, for example one with prefixes. One that ranks answers
    /// with one number, in ±1; one that makes sparse vectors with the count of each word.
    pub fn with_card(mut self, change: impl FnOnce(&mut ModelCard)) -> Self {
        change(&mut self.card);
        match self.card.task {
            Task::Embed => {}
            Task::Rerank => (self.card.dimensions, self.card.normalise) = (1, false),
            Task::Sparse => {
                (self.card.dimensions, self.card.normalise) = (self.card.vocabulary, false);
            }
        }
        self
    }

    /// Orders a fault for one of the next batches, first in first out over all encoders.
    pub fn inject(&self, fault: Fault) {
        self.faults.lock().unwrap_or_else(|held| held.into_inner()).push_back(fault);
    }

    /// How many encoders were opened so far.
    pub fn opened(&self) -> usize {
        *self.opened.lock().unwrap_or_else(|held| held.into_inner())
    }

    fn frame(&self, words: Vec<u32>, limit: Option<usize>) -> TokenIds {
        let whole_length = words.len() + 2;
        let room = limit.unwrap_or(usize::MAX).saturating_sub(2);
        let mut ids = vec![FIRST_SPECIAL];
        ids.extend(words.into_iter().take(room));
        ids.push(LAST_SPECIAL);
        TokenIds { ids, second: None, whole_length }
    }
}

impl DoubleModel {
    fn vector(&self, input: &Sequence) -> Vec<f32> {
        let dimensions = self.card.dimensions;
        match (self.card.task, input) {
            (Task::Sparse, input) => {
                let mut counts = vec![0.0; dimensions];
                for id in input.ids().iter().filter(|id| **id >= FIRST_WORD) {
                    counts[*id as usize] += 1.0;
                }
                counts
            }
            (_, Sequence::Tokens { ids, .. }) => digest(ids, dimensions, self.card.normalise),
            (_, Sequence::Image(pixels)) => {
                let ids: Vec<u32> = pixels.values.iter().map(|value| value.to_bits()).collect();
                digest(&ids, dimensions, self.card.normalise)
            }
        }
    }
}

impl Model for DoubleModel {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn tokenize(&self, text: &str, limit: Option<usize>) -> Result<TokenIds, TokenizeError> {
        Ok(self.frame(text.split_whitespace().map(word_id).collect(), limit))
    }

    fn adopt(&self, ids: &[u32], limit: Option<usize>) -> Result<TokenIds, TokenizeError> {
        match ids.iter().find(|id| **id >= VOCABULARY) {
            Some(id) => Err(TokenizeError::UnknownId { id: *id, vocabulary: VOCABULARY as usize }),
            None => Ok(self.frame(ids.to_vec(), limit)),
        }
    }

    fn pieces(&self, text: &str, special: bool) -> Result<Vec<Piece>, TokenizeError> {
        let mark =
            |id, text: &str| Piece { id, text: text.to_owned(), special: true, start: 0, stop: 0 };
        let mut pieces = Vec::new();
        if special {
            pieces.push(mark(FIRST_SPECIAL, "[CLS]"));
        }
        for word in text.split_whitespace() {
            let start = word.as_ptr() as usize - text.as_ptr() as usize;
            let stop = start + word.len();
            let text = word.to_owned();
            pieces.push(Piece { id: word_id(word), text, special: false, start, stop });
        }
        if special {
            pieces.push(mark(LAST_SPECIAL, "[SEP]"));
        }
        Ok(pieces)
    }

    fn tokenize_pair(
        &self,
        first: &str,
        second: &str,
        limit: Option<usize>,
    ) -> Result<TokenIds, TokenizeError> {
        if self.card.task != Task::Rerank {
            return Err(TokenizeError::Refused("this model reads no pairs of texts".to_owned()));
        }
        let words = |text: &str| text.split_whitespace().map(word_id).collect::<Vec<u32>>();
        let (mut first, mut second) = (words(first), words(second));
        let whole_length = first.len() + second.len() + 3;
        let room = limit.unwrap_or(usize::MAX).saturating_sub(3);
        while first.len() + second.len() > room {
            if first.len() > second.len() {
                first.pop()
            } else {
                second.pop()
            };
        }
        let mut ids = vec![FIRST_SPECIAL];
        ids.append(&mut first);
        ids.push(LAST_SPECIAL);
        let start = ids.len();
        ids.append(&mut second);
        ids.push(LAST_SPECIAL);
        Ok(TokenIds { ids, second: Some(start), whole_length })
    }

    /// Bytes that begin as a PNG file does are an image whose pixels are a digest of them.
    fn read_image(&self, bytes: &[u8]) -> Result<Pixels, TokenizeError> {
        if !self.card.images {
            return Err(TokenizeError::Refused("this model reads no images".to_owned()));
        }
        if !bytes.starts_with(b"\x89PNG") {
            return Err(TokenizeError::Refused("send PNG".to_owned()));
        }
        let ids: Vec<u32> = bytes.iter().map(|byte| u32::from(*byte)).collect();
        Ok(Pixels { tokens: 5, height: 2, width: 2, values: digest(&ids, 12, true) })
    }

    fn open(&self, options: &OpenOptions) -> Result<Box<dyn Encoder>, EncodeError> {
        *self.opened.lock().unwrap_or_else(|held| held.into_inner()) += 1;
        Ok(Box::new(DoubleModel { pace: options.pace.clone(), ..self.clone() }))
    }
}

impl Encoder for DoubleModel {
    fn encode(&mut self, batch: &TokenBatch) -> Result<Vectors, EncodeError> {
        let fault = self.faults.lock().unwrap_or_else(|held| held.into_inner()).pop_front();
        match fault {
            Some(Fault::Panic) => panic!("the double was told to panic"),
            Some(Fault::Error(error)) => return Err(error),
            Some(Fault::Slow(pause)) => std::thread::sleep(pause),
            None => {}
        }
        if let Some(pace) = &self.pace {
            pace();
        }
        let limit = self.card.max_tokens;
        let wrong = |input: &Sequence| match input {
            Sequence::Tokens { ids, .. } => ids.is_empty() || ids.len() > limit,
            Sequence::Image(_) => !self.card.images,
        };
        if batch.sequences.iter().any(wrong) {
            return Err(EncodeError::Input(format!("sequences hold 1 to {limit} tokens")));
        }
        let dimensions = self.card.dimensions;
        let values = batch.sequences.iter().flat_map(|input| self.vector(input)).collect();
        Ok(Vectors { dimensions, values })
    }
}

fn word_id(word: &str) -> u32 {
    FIRST_WORD + (fnv(word.bytes()) % u64::from(VOCABULARY - FIRST_WORD)) as u32
}

/// FNV-1a, 64 bit.
fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn digest(ids: &[u32], dimensions: usize, normalise: bool) -> Vec<f32> {
    let seed = fnv(ids.iter().flat_map(|id| id.to_le_bytes()));
    let raw: Vec<f32> = (0..dimensions)
        .map(|index| {
            let bits = fnv(seed.to_le_bytes().into_iter().chain((index as u64).to_le_bytes()));
            (bits >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect();
    if !normalise {
        return raw;
    }
    let length = raw.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    raw.into_iter().map(|value| value / length).collect()
}
