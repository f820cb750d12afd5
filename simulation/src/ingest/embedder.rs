//! An embedding service whose vectors tell the version and the text, and which is slow, full or
//! gone by lot. Words are tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use headwater_actors::embedding::{EmbedError, Embedder, Piece, Pool, Purpose};
use headwater_models::Model;
use headwater_models::ModelCard;
use headwater_models::double::DoubleModel;

use crate::world::World;

pub(super) const DIMENSIONS: usize = 4;
/// Longest text of the models, in tokens.
pub(super) const MAX_TOKENS: usize = 12;
/// A text with this word is refused for ever.
pub(super) const POISON: &str = "poison";
/// Longest slow call, in ms: longer than a hold may be used.
const SLOW_MS: u64 = 12_000;

/// See the module; cheap to clone.
#[derive(Clone)]
pub(super) struct WordEmbedder {
    world: World,
    cards: Arc<Vec<ModelCard>>,
    /// Thousandths of the calls that fail, are slow, and find it full.
    shares: (u64, u64, u64),
    healed: Arc<AtomicBool>,
}

/// The model of this number.
pub(super) fn model(number: u64) -> String {
    format!("model-{number}")
}

/// The vector that this version makes of a text.
pub(super) fn vector(fingerprint: &str, text: &str) -> Vec<f32> {
    let number = |text: &str| {
        let sum = text.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31) ^ u32::from(byte));
        (sum % 10_000) as f32 / 10_000.0 + 0.5
    };
    vec![number(fingerprint), number(text), 0.25, 0.0]
}

/// The words of a text with their places.
pub(super) fn words(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for word in text.split(' ') {
        let stop = start + word.len();
        if !word.is_empty() {
            let id = word.len() as u32;
            pieces.push(Piece { id, text: word.to_owned(), special: false, start, stop });
        }
        start = stop + 1;
    }
    pieces
}

impl WordEmbedder {
    pub(super) fn new(world: &World, models: u64, shares: (u64, u64, u64)) -> WordEmbedder {
        let card = |number| DoubleModel::new(&model(number), DIMENSIONS, MAX_TOKENS).card().clone();
        let cards = (1..=models).map(card).collect();
        WordEmbedder {
            world: world.clone(),
            cards: Arc::new(cards),
            shares,
            healed: Arc::default(),
        }
    }

    pub(super) fn heal(&self) {
        self.healed.store(true, Ordering::Relaxed);
    }

    fn strikes(&self, share: u64, what: &'static str) -> bool {
        let strikes =
            share > 0 && self.world.draw() % 1000 < share && !self.healed.load(Ordering::Relaxed);
        if strikes {
            self.world.count(what);
        }
        strikes
    }

    async fn pass(&self) -> Result<(), EmbedError> {
        let (failing, slow, full) = self.shares;
        let slow = self.strikes(slow, "embedder slow");
        let way_ms = self.world.between(0, if slow { SLOW_MS } else { 20 });
        self.world.sleep(way_ms).await;
        if self.strikes(failing, "embedder failed") {
            return Err(EmbedError::Unavailable);
        }
        if self.strikes(full, "embedder full") {
            let retry_after_ms = self.world.between(1, 2_000);
            return Err(EmbedError::Overloaded { retry_after_ms });
        }
        Ok(())
    }
}

#[async_trait]
impl Embedder for WordEmbedder {
    fn card(&self, model: &str) -> Option<ModelCard> {
        self.cards.iter().find(|card| card.name == model).cloned()
    }

    fn version(&self, fingerprint: &str) -> Option<ModelCard> {
        self.cards.iter().find(|card| card.fingerprint == fingerprint).cloned()
    }

    async fn pieces(&self, _: &str, text: String) -> Result<Vec<Piece>, EmbedError> {
        self.pass().await?;
        Ok(words(&text))
    }

    async fn embed(
        &self,
        fingerprint: &str,
        texts: Vec<String>,
        _: Purpose,
        _: Pool,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        self.pass().await?;
        if texts.iter().any(|text| text.contains(POISON)) {
            return Err(EmbedError::Refused("the text cannot be embedded".to_owned()));
        }
        Ok(texts.iter().map(|text| vector(fingerprint, text)).collect())
    }
}
