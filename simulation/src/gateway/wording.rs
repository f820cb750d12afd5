//! Questions in several wordings, and the encoder that compares them: the first two mean the same,
//! the third does not.

use async_trait::async_trait;
use headwater_actors::embedding::{EmbedError, Embedder, ModelCard, Piece, Pool, Purpose};
use headwater_actors::gateway::{Chunk, Semantic};
use headwater_models::Model;
use headwater_models::double::DoubleModel;

use super::client::texts;
use crate::world::World;

/// How each wording begins, the word of its answers, and its vector.
const WORDINGS: [(&str, &str, [f32; 2]); 3] = [
    ("Say some words", "w", [1.0, 0.0]),
    ("Tell a few words", "v", [0.96, 0.28]),
    ("Spell no words", "u", [0.6, 0.8]),
];
const ENCODER: &str = "wording";
/// Between the first two, and no others.
pub(super) const SEMANTIC_PER_MILLE: u32 = 950;

pub(super) fn semantic() -> Semantic {
    Semantic { encoder: ENCODER.to_owned(), least_per_mille: SEMANTIC_PER_MILLE }
}

/// A wording's beginning.
pub(super) fn begin(wording: usize) -> &'static str {
    WORDINGS.get(wording).map_or("", |(begin, ..)| begin)
}

/// The word of the answers to a question.
pub(super) fn word_of(question: &str) -> &'static str {
    let found = WORDINGS.iter().find(|(begin, ..)| question.contains(begin));
    found.map_or("", |(_, word, _)| word)
}

/// Answers that are given again fit a question that means the same; others fit its very wording.
pub(super) fn check(world: &World, chunk: &Chunk, wording: usize, is_kept: bool) {
    let near: &[usize] = match wording {
        0 | 1 if is_kept => &[0, 1],
        0 => &[0],
        1 => &[1],
        _ => &[2],
    };
    let fits = |word: &str| near.iter().any(|one| WORDINGS.get(*one).is_some_and(|w| w.1 == word));
    for text in texts(chunk) {
        let word = text.trim();
        if WORDINGS.iter().any(|(_, other, _)| *other == word) && !fits(word) {
            let seen = format!("{word:?} to {:?}", begin(wording));
            world.violated("an_answer_fits_its_question", seen);
        }
    }
}

/// The encoder; it is late and fails now and then.
pub(super) struct WordingEncoder {
    pub(super) world: World,
    pub(super) fails: u64,
}

#[async_trait]
impl Embedder for WordingEncoder {
    fn card(&self, model: &str) -> Option<ModelCard> {
        (model == ENCODER).then(|| DoubleModel::new(ENCODER, 2, 64).card().clone())
    }

    fn version(&self, _: &str) -> Option<ModelCard> {
        self.card(ENCODER)
    }

    async fn pieces(&self, _: &str, _: String) -> Result<Vec<Piece>, EmbedError> {
        Err(EmbedError::Unavailable)
    }

    async fn embed(
        &self,
        _: &str,
        texts: Vec<String>,
        _: Purpose,
        _: Pool,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        // Past its time now and then.
        self.world.sleep(self.world.between(0, 220)).await;
        if self.world.percent(self.fails) {
            return Err(EmbedError::Overloaded { retry_after_ms: 100 });
        }
        let vector = |text: &String| {
            let found = WORDINGS.iter().find(|(begin, ..)| text.contains(begin));
            found.map_or_else(Vec::new, |(.., vector)| vector.to_vec())
        };
        Ok(texts.iter().map(vector).collect())
    }
}
