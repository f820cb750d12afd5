//! A double whose encoders stand still while its gate is shut, and remember their batches.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use headwater_models::double::DoubleModel;
use headwater_models::{
    EncodeError, Encoder, Model, ModelCard, OpenOptions, Piece, TokenBatch, TokenIds,
    TokenizeError, Vectors,
};

/// Batches that warm an encoder of `double()`: the empty text, and one of 16 tokens.
pub(super) const WARMING: usize = 2;

/// What tells the encoders of ingest apart: how many threads they are given.
pub(super) const INGEST_THREADS: usize = 7;

#[derive(Default)]
struct State {
    shut: bool,
    /// Only the encoders of ingest stand still.
    shut_ingest: bool,
    /// No encoder is opened.
    shut_starts: bool,
    /// Encoders answer with one row less than they should.
    short: bool,
    /// Batches that went in, the warming ones left out.
    batches: Vec<TokenBatch>,
}

#[derive(Clone)]
pub(super) struct GatedModel {
    inner: DoubleModel,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl GatedModel {
    pub(super) fn new(inner: DoubleModel) -> Self {
        GatedModel { inner, state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.0.lock().unwrap_or_else(|held| held.into_inner())
    }

    pub(super) fn shut(&self) {
        self.state().shut = true;
    }

    pub(super) fn shut_ingest(&self) {
        self.state().shut_ingest = true;
    }

    pub(super) fn shut_starts(&self) {
        self.state().shut_starts = true;
    }

    pub(super) fn open_gate(&self) {
        let mut state = self.state();
        (state.shut, state.shut_ingest, state.shut_starts) = (false, false, false);
        drop(state);
        self.state.1.notify_all();
    }

    pub(super) fn answer_short(&self, short: bool) {
        self.state().short = short;
    }

    pub(super) fn batches(&self) -> Vec<TokenBatch> {
        self.state().batches.clone()
    }
}

impl Model for GatedModel {
    fn card(&self) -> &ModelCard {
        self.inner.card()
    }

    fn tokenize(&self, text: &str, limit: Option<usize>) -> Result<TokenIds, TokenizeError> {
        self.inner.tokenize(text, limit)
    }

    fn adopt(&self, ids: &[u32], limit: Option<usize>) -> Result<TokenIds, TokenizeError> {
        self.inner.adopt(ids, limit)
    }

    fn pieces(&self, text: &str, special: bool) -> Result<Vec<Piece>, TokenizeError> {
        self.inner.pieces(text, special)
    }

    fn open(&self, options: &OpenOptions) -> Result<Box<dyn Encoder>, EncodeError> {
        let mut state = self.state();
        while state.shut_starts {
            state = self.state.1.wait(state).unwrap_or_else(|held| held.into_inner());
        }
        drop(state);
        let inner = self.inner.open(options)?;
        let of_ingest = options.threads == INGEST_THREADS;
        Ok(Box::new(GatedEncoder { inner, model: self.clone(), warming: WARMING, of_ingest }))
    }
}

struct GatedEncoder {
    inner: Box<dyn Encoder>,
    model: GatedModel,
    /// Batches that warm the encoder and are still to come.
    warming: usize,
    of_ingest: bool,
}

impl Encoder for GatedEncoder {
    fn encode(&mut self, batch: &TokenBatch) -> Result<Vectors, EncodeError> {
        if self.warming > 0 {
            self.warming -= 1;
            return self.inner.encode(batch);
        }
        let mut state = self.model.state();
        state.batches.push(batch.clone());
        while state.shut || (self.of_ingest && state.shut_ingest) {
            state = self.model.state.1.wait(state).unwrap_or_else(|held| held.into_inner());
        }
        let short = state.short;
        drop(state);
        let mut vectors = self.inner.encode(batch)?;
        if short {
            vectors.values.truncate((batch.sequences.len() - 1) * vectors.dimensions);
        }
        Ok(vectors)
    }
}
