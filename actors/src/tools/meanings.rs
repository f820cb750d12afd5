//! Vectors of what tools are for, so that a search finds a tool that says it in other words.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use headwater_tools::{DefinitionHash, Tool, ToolName, Vectors};

use crate::embedding::{EmbedError, Embedder, Pool, Purpose, unit};
use crate::runtime::Runtime;

/// Longest wait for vectors, in ms; past it tools are found by their words alone.
const EMBED_MS: u64 = 2_000;
/// Tools that are read at once.
const READ: usize = 64;

/// The vectors of one encoder.
pub(super) struct Meanings {
    embedder: Arc<dyn Embedder>,
    encoder: String,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The version of the encoder that made them.
    fingerprint: String,
    vectors: BTreeMap<ToolName, (DefinitionHash, Vec<f32>)>,
}

/// A question and the tools that can be compared with it.
pub(super) struct Compared {
    tools: BTreeMap<ToolName, Vec<f32>>,
    question: Vec<f32>,
}

impl Compared {
    pub(super) fn vectors(&self) -> Vectors<'_> {
        Vectors { tools: &self.tools, query: &self.question }
    }
}

impl Meanings {
    pub(super) fn new(embedder: Arc<dyn Embedder>, encoder: String) -> Meanings {
        Meanings { embedder, encoder, known: Mutex::default() }
    }

    /// None where no encoder answers in time, or the question has no direction. Tools that were not
    /// read before are read now; two first questions at once read them twice.
    pub(super) async fn compare(
        &self,
        runtime: &Runtime,
        tools: Vec<&Tool>,
        question: &str,
    ) -> Option<Compared> {
        let comparing = self.compare_with(tools, question);
        match runtime.within(EMBED_MS, comparing).await? {
            Ok(compared) => compared,
            Err(error) => {
                tracing::debug!(%error, "tools are searched by their words alone");
                None
            }
        }
    }

    async fn compare_with(
        &self,
        tools: Vec<&Tool>,
        question: &str,
    ) -> Result<Option<Compared>, EmbedError> {
        let Some(card) = self.embedder.card(&self.encoder) else { return Ok(None) };
        let version = &card.fingerprint;
        let unread = self.unread(version, &tools);
        for some in unread.chunks(READ) {
            let texts = some.iter().map(|tool| text_of(tool)).collect();
            let vectors =
                self.embedder.embed(version, texts, Purpose::Passage, Pool::Query).await?;
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.fingerprint == *version {
                let of = |tool: &&Tool| (tool.name().clone(), tool.hash.clone());
                let read = some.iter().map(of).zip(vectors);
                let read =
                    read.filter_map(|((name, hash), vector)| Some((name, (hash, unit(vector)?))));
                known.vectors.extend(read);
            }
        }
        let texts = vec![question.to_owned()];
        let question = self.embedder.embed(version, texts, Purpose::Query, Pool::Query).await?;
        let Some(question) = question.into_iter().next().and_then(unit) else { return Ok(None) };
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.fingerprint != *version {
            return Ok(None);
        }
        let vector = |name: &ToolName| known.vectors.get(name).map(|(_, vector)| vector.clone());
        let tools =
            tools.iter().filter_map(|tool| Some((tool.name().clone(), vector(tool.name())?)));
        Ok(Some(Compared { tools: tools.collect(), question }))
    }

    /// Those that have no vector of this version, and room for them.
    fn unread<'t>(&self, version: &str, tools: &[&'t Tool]) -> Vec<&'t Tool> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.fingerprint != version {
            *known = Known { fingerprint: version.to_owned(), vectors: BTreeMap::new() };
        }
        let is_known = |tool: &Tool| {
            known.vectors.get(tool.name()).is_some_and(|(hash, _)| *hash == tool.hash)
        };
        tools.iter().copied().filter(|tool| !is_known(tool)).collect()
    }
}

/// What an encoder reads of a tool.
fn text_of(tool: &Tool) -> String {
    let definition = &tool.definition;
    let name = definition.name.as_str().replace(['-', '_'], " ");
    format!("{name}: {}", definition.description)
}
