//! Judging answers: by rules, by an encoder, by a model.

use std::sync::Arc;

use headwater_prompts::{Judge, Score};
use serde_json::{Map, Value};

use super::handle::PromptsHandle;
use super::keys::PromptKey;
use super::nouns::Ready;
use super::usage::{EVAL_ROUTE, apply_settings, messages_of};
use crate::embedding::{Embedder, Pool, Purpose};
use crate::gateway::{Caller, ChatRequest, GatewayHandle, Observed, PromptUse};

/// Wait for a vector, in ms.
const EMBED_MS: u64 = 10_000;

/// What a judge said, and what its own model cost.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Judged {
    pub(super) score: Score,
    pub(super) micro_usd: u64,
}

impl Judged {
    fn free(score: Score) -> Judged {
        Judged { score, micro_usd: 0 }
    }
}

/// A model that judges, and the version of a prompt that asks it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judging<'a> {
    model: &'a str,
    prompt: &'a str,
    version: u64,
}

impl<'a> Judging<'a> {
    /// None for judges that ask no model.
    pub(super) fn of(judge: &'a Judge) -> Option<Judging<'a>> {
        match judge {
            Judge::Llm { model, prompt, version } | Judge::Pairwise { model, prompt, version } => {
                Some(Judging { model, prompt, version: *version })
            }
            _ => None,
        }
    }
}

impl PromptsHandle {
    /// From now on evals and shadows ask here. Set once, as the others are.
    pub fn ask_through(&self, gateway: GatewayHandle, embedder: Arc<dyn Embedder>) {
        self.ask_gateway(gateway);
        let _ = self.shared.embedder.set(embedder);
    }

    /// The same where no encoder judges.
    pub fn ask_gateway(&self, gateway: GatewayHandle) {
        let _ = self.shared.gateway.set(gateway);
    }

    /// What an answer is worth.
    ///
    /// # Errors
    /// In words, when the judge could not be asked.
    pub(super) async fn judge(
        &self,
        caller: &Caller,
        judge: &Judge,
        question: &str,
        answer: &str,
        expected: &str,
        rubric: &str,
    ) -> Result<Judged, String> {
        if let Some(score) = judge.decide(expected, answer) {
            return Ok(Judged::free(score));
        }
        match judge {
            Judge::Similarity { encoder, at_least } => {
                let cosine = self.similarity(encoder, expected, answer).await?;
                Ok(Judged::free(Score::of_similarity(cosine, *at_least)))
            }
            Judge::Llm { .. } => {
                let judging = Judging::of(judge).ok_or("this judge asks no model")?;
                let words = [
                    ("question", question),
                    ("answer", answer),
                    ("expected", expected),
                    ("rubric", rubric),
                ];
                let said = self.ask_judge(caller, judging, &words).await?;
                let score = Score::read(&said.said).map_err(|problem| problem.to_string())?;
                Ok(Judged { score, micro_usd: said.micro_usd })
            }
            Judge::Pairwise { .. } => Err("this judge compares two answers".to_owned()),
            _ => Err("this judge decides by itself".to_owned()),
        }
    }

    /// Asks a judging model, with those of the words that its prompt has variables for.
    ///
    /// # Errors
    /// In words, when it gave no answer.
    pub(super) async fn ask_judge(
        &self,
        caller: &Caller,
        judging: Judging<'_>,
        words: &[(&str, &str)],
    ) -> Result<Observed, String> {
        let (ready, request) = self.judge_request(&caller.tenant, judging, words).await?;
        let gateway = self.shared.gateway.get().ok_or("there is no gateway here")?;
        let Judging { prompt, version, .. } = judging;
        let mut used = PromptUse { label: format!("{prompt}@{version}"), ..PromptUse::default() };
        let key = PromptKey::new(&caller.tenant, prompt);
        let put = self.put_secrets(&key, &ready, &mut used).await;
        put.map_err(|error| error.to_string())?;
        let asked = self.ask_model(gateway, caller.clone(), EVAL_ROUTE, used, request).await;
        asked.map_err(|error| error.to_string())
    }

    /// What a judging model is asked, and by which version.
    ///
    /// # Errors
    /// In words, when there is no such version, or it does not take the words.
    pub(super) async fn judge_request(
        &self,
        team: &str,
        Judging { model, prompt, version }: Judging<'_>,
        words: &[(&str, &str)],
    ) -> Result<(Arc<Ready>, ChatRequest), String> {
        let key = PromptKey::new(team, prompt);
        let ready = self.old_version(&key, version).await.map_err(|error| error.to_string())?;
        let known = ready.compiled.variables();
        let words = words.iter().filter(|(name, _)| known.contains_key(*name));
        let variables: Map<String, Value> =
            words.map(|(name, word)| ((*name).to_owned(), Value::from(*word))).collect();
        let rendered = ready.compiled.render(&variables).map_err(|error| error.to_string())?;
        let mut request = ChatRequest::new(model.to_owned(), messages_of(rendered));
        apply_settings(&ready, &mut request);
        model.clone_into(&mut request.model);
        Ok((ready, request))
    }

    /// Cosine of two texts' vectors.
    async fn similarity(&self, encoder: &str, one: &str, other: &str) -> Result<f64, String> {
        let embedder = self.shared.embedder.get().ok_or("there is no encoder here")?;
        let card = embedder
            .card(encoder)
            .ok_or_else(|| format!("the encoder '{encoder}' is not served here"))?;
        let texts = vec![one.to_owned(), other.to_owned()];
        let vectors = embedder.embed(&card.fingerprint, texts, Purpose::Plain, Pool::Query);
        let vectors = self.shared.runtime.within(EMBED_MS, vectors).await;
        let vectors = vectors.ok_or("the encoder did not answer in time")?;
        let vectors = vectors.map_err(|error| error.to_string())?;
        match vectors.as_slice() {
            [one, other] => Ok(cosine(one, other)),
            _ => Err("the encoder gave no two vectors".to_owned()),
        }
    }
}

fn cosine(one: &[f32], other: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let lengths = (dot(one, one) * dot(other, other)).sqrt();
    if lengths > 0.0 { dot(one, other) / lengths } else { 0.0 }
}
