//! An in-memory model for tests and simulation: words are tokens, vectors are digests,
//! and failures are ordered in advance.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::{
    EncodeError, Encoder, Model, ModelCard, OpenOptions, Pace, Piece, Pooling, Task, TokenBatch,
    TokenIds, TokenizeError, Vectors,
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

    /// The same model with another card, for example one with prefixes.
    pub fn with_card(mut self, change: impl FnOnce(&mut ModelCard)) -> Self {
        change(&mut self.card);
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
        if batch.sequences.iter().any(|text| text.tokens() == 0 || text.tokens() > limit) {
            return Err(EncodeError::Input(format!("sequences hold 1 to {limit} tokens")));
        }
        let dimensions = self.card.dimensions;
        let values =
            batch.sequences.iter().flat_map(|text| digest(text.ids(), dimensions)).collect();
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

fn digest(ids: &[u32], dimensions: usize) -> Vec<f32> {
    let seed = fnv(ids.iter().flat_map(|id| id.to_le_bytes()));
    let raw: Vec<f32> = (0..dimensions)
        .map(|index| {
            let bits = fnv(seed.to_le_bytes().into_iter().chain((index as u64).to_le_bytes()));
            (bits >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect();
    let length = raw.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    raw.into_iter().map(|value| value / length).collect()
}
