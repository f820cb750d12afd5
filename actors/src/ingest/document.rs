//! One document: read, cut, put into its collection, and a vector written for each of its chunks
//! and each live version. Every step may be repeated, so a crash anywhere costs only work.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use headwater_embedding::ingest::{Counts, Lane, NearDuplicates};
use headwater_embedding::{ChunkSettings, chunk_id, plan};
use headwater_models::{ModelCard, Piece};
use headwater_storage::StoreError;
use headwater_vectors::SinkError;

use super::fence::is_lost;
use super::handle::IngestSettings;
use super::holds::Held;
use super::metrics::IngestMetrics;
use super::near;
use super::pace;
use super::records::decode_text;
use super::rests::Rests;
use super::tasks::{self, Task};
use crate::collection::{ChunkId, ChunkText, CollectionError, Collections, Target};
use crate::embedding::{EmbedError, Embedder};
use crate::mutants::{Mutant, planted};
use crate::runtime::Runtime;

/// Tokens that a model adds to each text, at most: one at the beginning and one at the end.
const SPECIAL_TOKENS: usize = 2;
/// Shortest and longest pause when the embedding service is full, in ms.
const FULL_PAUSE_MS: (u64, u64) = (20, 60_000);

/// Why a document could not be written now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// Another attempt would fail the same way.
    Permanent(String),
    Later {
        reason: String,
        after_ms: u64,
    },
    /// The model is not served here now: no fault of the document, so it never ends it.
    NotServed(String),
    /// The tenant's quota or the job's own limit of tokens is used up for so long: no fault of the
    /// document either.
    OverLimit {
        reason: String,
        after_ms: u64,
    },
    /// The sink did not answer. What it was asked for may still happen.
    SinkDown(String),
    /// The partition belongs to another worker.
    Lost,
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        match error {
            error if is_lost(&error) => Problem::Lost,
            StoreError::Limit { .. } | StoreError::Usage(_) => {
                Problem::Permanent(error.to_string())
            }
            other => Problem::Later { reason: other.to_string(), after_ms: 0 },
        }
    }
}

impl From<EmbedError> for Problem {
    fn from(error: EmbedError) -> Problem {
        let reason = error.to_string();
        match error {
            EmbedError::Overloaded { retry_after_ms } => {
                Problem::Later { reason, after_ms: retry_after_ms }
            }
            EmbedError::Unloading => Problem::NotServed(reason),
            EmbedError::OverQuota { retry_after_ms, .. } => {
                Problem::OverLimit { reason, after_ms: retry_after_ms }
            }
            // Also a text under which replicas die, so this has an end.
            EmbedError::Unavailable | EmbedError::TimedOut { .. } => {
                Problem::Later { reason, after_ms: 0 }
            }
            EmbedError::Input(_) | EmbedError::Unreadable { .. } | EmbedError::Refused(_) => {
                Problem::Permanent(reason)
            }
        }
    }
}

impl From<CollectionError> for Problem {
    fn from(error: CollectionError) -> Problem {
        match error {
            CollectionError::Store(error) => error.into(),
            CollectionError::Embed { error, .. } => error.into(),
            CollectionError::Sink(SinkError::Unavailable(_)) => {
                Problem::SinkDown(error.to_string())
            }
            CollectionError::Sink(SinkError::Request(_))
            | CollectionError::NoCollection { .. }
            | CollectionError::Invalid { .. } => Problem::Permanent(error.to_string()),
            other => Problem::Later { reason: other.to_string(), after_ms: 0 },
        }
    }
}

/// What the worker works with; cheap to clone.
#[derive(Clone)]
pub(super) struct Tools {
    pub(super) runtime: Runtime,
    /// Writes only while the worker holds its partition.
    pub(super) collections: Collections,
    pub(super) embedder: Arc<dyn Embedder>,
    pub(super) settings: IngestSettings,
    pub(super) metrics: IngestMetrics,
    /// Chunks that went while this partition was worked on.
    pub(super) removed: Arc<AtomicUsize>,
    /// Jobs of which this node begins nothing for a while.
    pub(super) rests: Arc<Rests>,
}

/// A document's chunks and the tokens in them.
struct Cut {
    chunks: Vec<ChunkText>,
    tokens: u64,
    near_duplicates: u64,
}

/// Writes a document with all its vectors; what it counts.
pub(super) async fn write(tools: &Tools, held: &Held, task: &Task) -> Result<Counts, Problem> {
    let job = &held.job;
    let (tenant, collection) = (job.key.tenant.as_str(), job.spec.collection.as_str());
    let pieces = tasks::text(&held.retry, &job.key, task.line).await?;
    let (text, fields) = decode_text(pieces)?;
    let targets = tools.collections.targets(tenant, collection).await?;
    let cut = cut(tools, held, task, &text, &targets).await?;
    let placed = cut.chunks.len() as u64;
    let texts = cut.chunks.clone();
    // Its old chunks stay in searches until the new ones can be paid for.
    let after_ms = tools.rests.left_ms(&job.key, tools.runtime.now_ms());
    if after_ms > 0 {
        let reason = "the job waits for its tenant's quota or for its model".to_owned();
        return Err(Problem::OverLimit { reason, after_ms });
    }
    let put = tools
        .collections
        .put_document(tenant, collection, &task.row.document, fields, cut.chunks)
        .await?;
    if planted(Mutant::AttemptsCountDuplicates) {
        tasks::add_counts(held, &Counts::of(Lane::Duplicates, put.duplicates)).await?;
    }
    // Their vectors are removed by the one worker that mends the collection.
    tools.removed.fetch_add(put.removed.len(), Ordering::Relaxed);
    if !planted(Mutant::EndsBeforeVectors) {
        for target in &put.targets {
            match write_vectors(tools, held, target, &texts).await {
                // It was given up meanwhile: nothing has to be written into it.
                Err(Problem::Later { .. } | Problem::NotServed(_) | Problem::OverLimit { .. })
                    if !is_live(tools, held, target).await? => {}
                outcome => outcome?,
            }
        }
    }
    let own = placed.saturating_sub(put.duplicates);
    let duplicates = match planted(Mutant::AttemptsCountDuplicates) {
        true => 0,
        false => put.duplicates,
    };
    Ok(Counts::of(Lane::Chunks, placed)
        .with(Lane::Duplicates, duplicates)
        .with(Lane::NearDuplicates, cut.near_duplicates)
        .with(Lane::Tokens, cut.tokens)
        .with(Lane::Vectors, own * put.targets.len() as u64))
}

async fn is_live(tools: &Tools, held: &Held, target: &Target) -> Result<bool, Problem> {
    let job = &held.job;
    let targets = tools.collections.targets(&job.key.tenant, &job.spec.collection).await?;
    Ok(targets.iter().any(|live| live.generation == target.generation))
}

/// Cuts the text by the tokens of the job's model, or else of the version that the collection
/// serves with or will serve with.
async fn cut(
    tools: &Tools,
    held: &Held,
    task: &Task,
    text: &str,
    targets: &[Target],
) -> Result<Cut, Problem> {
    let spec = &held.job.spec;
    let card = match &spec.model {
        Some(model) => tools.embedder.card(model),
        None => targets.first().and_then(|target| tools.embedder.version(&target.version)),
    };
    let Some(card) = card else {
        let reason = "no node serves the model that the text is cut for; load it".to_owned();
        return Err(Problem::NotServed(reason));
    };
    let prefix = match card.passage_prefix.is_empty() {
        true => 0,
        false => {
            let prefix = card.passage_prefix.clone();
            pieces(tools, &card, prefix).await?.len()
        }
    };
    let room = card.max_tokens.saturating_sub(SPECIAL_TOKENS + prefix).max(1);
    let window_tokens = spec.chunks.window_tokens.min(room);
    let settings = ChunkSettings { window_tokens, ..spec.chunks };
    let pieces = pieces(tools, &card, text.to_owned()).await?;
    let mut cut = Cut { chunks: Vec::new(), tokens: 0, near_duplicates: 0 };
    let planned = plan(text, &pieces, &settings);
    let mut parts: Vec<(ChunkId, &str)> = Vec::with_capacity(planned.len());
    for chunk in &planned {
        let part = text.get(chunk.range.clone()).unwrap_or_default();
        parts.push((ChunkId(chunk_id(part)), part));
    }
    let near = match targets.first() {
        Some(target) if spec.near_duplicates != NearDuplicates::Off => {
            near::find(&held.retry, target.id, &task.row.key, &parts).await?
        }
        _ => Default::default(),
    };
    cut.near_duplicates = near.len() as u64;
    for (place, (chunk, (id, part))) in planned.iter().zip(parts).enumerate() {
        if spec.near_duplicates == NearDuplicates::Skip && near.contains(&place) {
            continue;
        }
        let range = chunk.range.start as u64..chunk.range.end as u64;
        let ordinal = u32::try_from(cut.chunks.len()).unwrap_or(u32::MAX);
        cut.chunks.push(ChunkText { id, text: part.to_owned(), ordinal, range });
        cut.tokens += chunk.tokens as u64;
    }
    Ok(cut)
}

/// The text's tokens. A node that knows the model from other nodes only cannot cut for it.
async fn pieces(tools: &Tools, card: &ModelCard, text: String) -> Result<Vec<Piece>, Problem> {
    match tools.embedder.pieces(&card.fingerprint, text).await {
        Err(error @ EmbedError::Unavailable) => Err(Problem::NotServed(error.to_string())),
        pieces => Ok(pieces?),
    }
}

/// Embeds the chunks that the version has no vector of, a request's worth at a time.
async fn write_vectors(
    tools: &Tools,
    held: &Held,
    target: &Target,
    chunks: &[ChunkText],
) -> Result<(), Problem> {
    let mut ids: Vec<ChunkId> = chunks.iter().map(|chunk| chunk.id).collect();
    ids.sort_unstable();
    ids.dedup();
    let missing = tools.collections.missing(target, &ids).await?;
    for some in missing.chunks(tools.settings.embed_texts.max(1)) {
        let texts = some.iter().filter_map(|id| {
            let chunk = chunks.iter().find(|chunk| chunk.id == *id);
            chunk.map(|chunk| (*id, chunk.text.clone()))
        });
        let (mut ids, mut texts): (Vec<ChunkId>, Vec<String>) = texts.unzip();
        pace::pass(&tools.runtime, &held.retry, &held.job, &texts).await?;
        while !ids.is_empty() {
            let vectors = embed(tools, target, &texts).await?;
            // Written before the next request, so that a used-up quota undoes nothing paid for.
            let count = vectors.len().clamp(1, ids.len());
            texts.drain(..count);
            let vectors = ids.drain(..count).zip(vectors).collect();
            tools.collections.write_vectors(target, vectors).await?;
            tools.metrics.vectors(count as u64);
        }
    }
    Ok(())
}

/// Embeds the first of the texts as bulk work that the target's tenant pays for. A full queue is
/// no failure: it says when to come back.
async fn embed(tools: &Tools, target: &Target, texts: &[String]) -> Result<Vec<Vec<f32>>, Problem> {
    loop {
        let embedding = tools.embedder.embed_bulk(&target.tenant, &target.version, texts);
        match embedding.await {
            Err(EmbedError::Overloaded { retry_after_ms }) => {
                let (least_ms, most_ms) = FULL_PAUSE_MS;
                tools.runtime.pause(retry_after_ms.clamp(least_ms, most_ms)).await;
            }
            outcome => return Ok(outcome?),
        }
    }
}
