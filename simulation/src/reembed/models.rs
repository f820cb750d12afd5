//! Models whose vectors tell which of them made them: the first component is the model's tag.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use headwater_actors::embedding::{EmbedError, Embedder, ModelCard, Piece, Pool, Purpose};
use headwater_models::Model;
use headwater_models::double::DoubleModel;

use crate::world::World;

pub(crate) const MODELS: [&str; 3] = ["alpha", "beta", "gamma"];
const DIMENSIONS: usize = 4;

/// The models that the nodes serve; cheap to clone.
#[derive(Clone)]
pub(crate) struct Models {
    world: World,
    cards: Arc<Vec<ModelCard>>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    unloaded: Option<usize>,
    /// How often embedding fails, in percent.
    fails: u64,
}

impl Models {
    pub(crate) fn new(world: &World) -> Models {
        let card = |name: &&str| DoubleModel::new(name, DIMENSIONS, 64).card().clone();
        let cards = Arc::new(MODELS.iter().map(card).collect());
        let fails = if world.percent(50) { world.between(1, 10) } else { 0 };
        let state = Arc::new(Mutex::new(State { unloaded: None, fails }));
        Models { world: world.clone(), cards, state }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn unload(&self, model: Option<usize>) {
        self.lock().unloaded = model;
    }

    pub(crate) fn heal(&self) {
        *self.lock() = State::default();
    }

    fn served(&self) -> impl Iterator<Item = &ModelCard> {
        let unloaded = self.lock().unloaded;
        let cards = self.cards.iter().enumerate();
        cards.filter(move |(place, _)| Some(*place) != unloaded).map(|(_, card)| card)
    }
}

/// The tag of a version, by its fingerprint.
pub(crate) fn tag(version: &str) -> f32 {
    let known = MODELS.iter().position(|name| version.starts_with(&format!("double-{name}-")));
    known.map_or(0.0, |place| place as f32 + 1.0)
}

/// What a version makes of a text.
pub(crate) fn vector(version: &str, text: &str) -> Vec<f32> {
    let number = text
        .bytes()
        .fold(17_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)) % 9_973);
    let angle = number as f32 / 9_973.0;
    vec![tag(version), angle, 1.0 - angle, 0.5]
}

#[async_trait]
impl Embedder for Models {
    fn card(&self, model: &str) -> Option<ModelCard> {
        self.served().find(|card| card.name == model).cloned()
    }

    fn version(&self, fingerprint: &str) -> Option<ModelCard> {
        let served = self.served().find(|card| card.fingerprint == fingerprint).cloned();
        if served.is_none() {
            self.world.count("model not served");
        }
        served
    }

    async fn pieces(&self, _: &str, _: String) -> Result<Vec<Piece>, EmbedError> {
        Err(EmbedError::Unavailable)
    }

    async fn embed(
        &self,
        fingerprint: &str,
        texts: Vec<String>,
        _: Purpose,
        pool: Pool,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        let longest_ms = if pool == Pool::Ingest { 60 } else { 5 };
        self.world.sleep(self.world.between(0, longest_ms)).await;
        if self.version(fingerprint).is_none() {
            return Err(EmbedError::Unavailable);
        }
        let fails = self.lock().fails;
        if self.world.percent(fails) {
            return Err(EmbedError::Overloaded { retry_after_ms: 100 });
        }
        Ok(texts.iter().map(|text| vector(fingerprint, text)).collect())
    }
}
