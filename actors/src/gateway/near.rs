//! Questions whose answers are kept, by what they mean: one that is put in other words may get
//! the answer of another.

use std::cmp::Reverse;
use std::sync::Arc;

use headwater_gateway::{
    Alias, AnswerKey, GatewayConfig, GatewayProblem, Likeness, Semantic, Target,
};
use headwater_models::chat::ChatRequest;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::cache::Kept;
use super::nouns::Ask;
use crate::embedding::{Embedder, Pool, Purpose, unit};
use crate::mutants::{Mutant, planted};
use crate::runtime::Runtime;

/// Longest wait for a question's vector, in ms; past it the model is asked.
const EMBED_MS: u64 = 200;
/// Most questions that are compared; the oldest is forgotten.
const COMPARED_MAX: usize = 256;
/// What a question takes beside its vector, in bytes.
const QUESTION_BYTES: usize = 96;

/// Compares questions of one frame by the vectors of their words.
#[derive(Clone)]
pub struct NearQuestions {
    embedder: Arc<dyn Embedder>,
    /// By frame, the oldest first.
    asked: moka::sync::Cache<AnswerKey, Arc<Vec<Asked>>>,
    looks: Family<ByOutcome, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

#[derive(Clone)]
struct Asked {
    /// Of length 1.
    vector: Arc<[f32]>,
    answer: AnswerKey,
}

/// A question that may be noted once its answer is whole.
pub(super) struct Question {
    frame: AnswerKey,
    vector: Arc<[f32]>,
}

/// An answer to a question that is near enough.
pub(super) struct Near {
    pub(super) kept: Arc<Kept>,
    /// Cosine, in thousandths.
    pub(super) per_mille: u32,
}

impl NearQuestions {
    /// Remembers questions in at most so many bytes, and counts as `headwater_gateway_semantic_*`.
    pub fn new(embedder: Arc<dyn Embedder>, bytes: u64, registry: &mut Registry) -> NearQuestions {
        let weigh = |_: &AnswerKey, asked: &Arc<Vec<Asked>>| {
            let bytes: usize = asked.iter().map(Asked::bytes).sum();
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let asked = moka::sync::Cache::builder().max_capacity(bytes).weigher(weigh).build();
        let looks: Family<ByOutcome, Counter> = Family::default();
        registry.sub_registry_with_prefix("headwater_gateway").register(
            "semantic_looks",
            "Looks for an answer to a question in other words; unknown: no vector came in time",
            looks.clone(),
        );
        NearQuestions { embedder, asked, looks }
    }

    /// Checks that there are the encoders that the configuration compares by.
    pub(super) fn check(&self, config: &GatewayConfig) -> Result<(), GatewayProblem> {
        for (place, alias) in config.aliases.iter().enumerate() {
            let Some(Semantic { encoder, .. }) = &alias.semantic else { continue };
            if self.embedder.card(encoder).is_none() {
                let field = format!("models[{place}].semantic_cache.encoder");
                let problem = format!("'{encoder}' is no encoder that is served; see /v1/models");
                return Err(GatewayProblem { field, problem });
            }
        }
        Ok(())
    }

    /// The question as it can be compared; none when it is no such question, or its vector does
    /// not come.
    pub(super) async fn question(
        &self,
        runtime: &Runtime,
        alias: &Alias,
        semantic: &Semantic,
        first: &Target,
        ask: &Ask,
    ) -> Option<Question> {
        let unknown = || self.count("unknown");
        let Some(card) = self.embedder.card(&semantic.encoder) else {
            unknown();
            return None;
        };
        let version = &card.fingerprint;
        let team = &ask.caller.tenant;
        let Likeness { frame, words } =
            Likeness::of(team, &alias.name, first, &ask.request, version)?;
        let vectors = self.embedder.embed(version, vec![words], Purpose::Query, Pool::Query);
        let vector = match runtime.within(EMBED_MS, vectors).await {
            Some(Ok(vectors)) => vectors.into_iter().next().and_then(unit),
            Some(Err(error)) => {
                tracing::debug!(%error, "a question could not be compared");
                None
            }
            None => None,
        };
        if vector.is_none() {
            unknown();
        }
        let frame = match planted(Mutant::FrameIsNotCompared) {
            true => AnswerKey::of("", "", first, &ChatRequest::new("", Vec::new())),
            false => frame,
        };
        vector.map(|vector| Question { frame, vector: vector.into() })
    }

    /// The nearest question that is near enough and whose answer `get` still has.
    pub(super) fn nearest(
        &self,
        question: &Question,
        least_per_mille: u32,
        get: impl Fn(&AnswerKey) -> Option<Arc<Kept>>,
    ) -> Option<Near> {
        let asked = self.asked.get(&question.frame).unwrap_or_default();
        let mut near: Vec<(u32, AnswerKey)> = asked
            .iter()
            .map(|one| (per_mille(&one.vector, &question.vector), one.answer))
            .filter(|(per_mille, _)| {
                *per_mille >= least_per_mille || planted(Mutant::FarQuestionIsNear)
            })
            .collect();
        near.sort_by_key(|(per_mille, _)| Reverse(*per_mille));
        let found = near
            .into_iter()
            .find_map(|(per_mille, answer)| Some(Near { kept: get(&answer)?, per_mille }));
        self.count(if found.is_some() { "hit" } else { "miss" });
        found
    }

    /// The question has this answer from now on.
    pub(super) fn note(&self, question: Question, answer: AnswerKey) {
        let Question { frame, vector } = question;
        self.asked.entry(frame).and_upsert_with(|before| {
            let before = before.map(|entry| entry.into_value()).unwrap_or_default();
            let others = before.iter().filter(|one| one.answer != answer);
            let mut asked: Vec<Asked> = others.cloned().collect();
            asked.push(Asked { vector, answer });
            let over = asked.len().saturating_sub(COMPARED_MAX);
            Arc::new(asked.split_off(over))
        });
    }

    fn count(&self, outcome: &'static str) {
        self.looks.get_or_create(&ByOutcome { outcome }).inc();
    }
}

impl Asked {
    fn bytes(&self) -> usize {
        QUESTION_BYTES + size_of_val(&*self.vector)
    }
}

/// The cosine of two vectors of length 1, in thousandths; rounded down, so that only what is the
/// same has 1000.
fn per_mille(one: &[f32], other: &[f32]) -> u32 {
    let cosine: f32 = one.iter().zip(other).map(|(one, other)| one * other).sum();
    // The vectors' own rounding is not taken for a difference.
    ((cosine + 1e-6) * 1_000.0).clamp(0.0, 1_000.0) as u32
}
