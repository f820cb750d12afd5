//! A job's settings, as JSON or in the address.

use axum::http::HeaderMap;
use headwater_actors::collection::Collection;
use headwater_actors::ingest::{ChunkSettings, JobSpec, NearDuplicates, SourceSpec, Split};
use serde::Deserialize;

use crate::embedding::find_model;
use crate::error::ApiError;
use crate::identity::Grant;
use crate::query::Query;
use crate::router::Edge;

/// Workers of a job that names no number.
const WORKERS: u32 = 8;
/// Longest idempotency key, in bytes.
const ONCE_BYTES: usize = 256;
const ONCE: &str = "idempotency-key";

/// See the module.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JobRequest {
    pub(super) id: Option<String>,
    pub(super) collection: String,
    model: Option<String>,
    chunks: Option<ChunksField>,
    priority: Option<u8>,
    tokens_per_s: Option<u64>,
    max_workers: Option<u32>,
    near_duplicates: Option<String>,
    /// Places that the node reads; without it the client sends the documents.
    source: Option<SourceField>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChunksField {
    window_tokens: Option<u32>,
    overlap_percent: Option<u32>,
    split: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceField {
    /// Paths of files on the node, or addresses of an object store.
    places: Vec<String>,
}

impl JobRequest {
    pub(super) fn from_query(query: &Query) -> Result<JobRequest, ApiError> {
        query.only(&[
            "id",
            "collection",
            "model",
            "priority",
            "tokens_per_s",
            "max_workers",
            "near_duplicates",
            "window_tokens",
            "overlap_percent",
            "split",
        ])?;
        let collection = query.text("collection").ok_or_else(|| {
            let message = "collection is missing; send ?collection=<name>".to_owned();
            ApiError::invalid("collection", "invalid_query", message)
        })?;
        let text = |name: &str| query.text(name).map(str::to_owned);
        let small = |name: &'static str| {
            let number = query.number(name, 0, u64::from(u32::MAX));
            number.map(|number| number.map(|number| number as u32))
        };
        Ok(JobRequest {
            id: text("id"),
            collection: collection.to_owned(),
            model: text("model"),
            chunks: Some(ChunksField {
                window_tokens: small("window_tokens")?,
                overlap_percent: small("overlap_percent")?,
                split: text("split"),
            }),
            priority: query.number("priority", 0, 255)?.map(|priority| priority as u8),
            tokens_per_s: query.number("tokens_per_s", 0, u64::MAX)?,
            max_workers: small("max_workers")?,
            near_duplicates: text("near_duplicates"),
            source: None,
        })
    }
}

/// The settings with what the collection and the service stand in for.
pub(super) fn spec_of(
    edge: &Edge,
    grant: &Grant,
    request: &JobRequest,
    collection: &Collection,
) -> Result<JobSpec, ApiError> {
    let model = match &request.model {
        Some(name) => Some(find_model(edge, grant, name, None)?.card().name.clone()),
        None => None,
    };
    let named = |field: &str, given: &str, allowed: Vec<&str>| {
        let message = format!("{field} is '{given}'; allowed are {}", allowed.join(", "));
        ApiError::invalid(field, "invalid_field", message)
    };
    let near = request.near_duplicates.as_deref().unwrap_or(NearDuplicates::Report.name());
    let near_duplicates = NearDuplicates::named(near).ok_or_else(|| {
        let all = NearDuplicates::ALL.map(NearDuplicates::name).to_vec();
        named("near_duplicates", near, all)
    })?;
    let own = &collection.settings.chunking;
    let chunks = request.chunks.as_ref();
    let split = match chunks.and_then(|chunks| chunks.split.as_deref()) {
        Some(split) => Split::named(split)
            .ok_or_else(|| named("chunks.split", split, Split::ALL.map(Split::name).to_vec()))?,
        None => Split::named(&own.boundary).unwrap_or_default(),
    };
    let window = chunks.and_then(|chunks| chunks.window_tokens).unwrap_or(own.tokens);
    let overlap = chunks.and_then(|chunks| chunks.overlap_percent).unwrap_or(own.overlap_percent);
    Ok(JobSpec {
        collection: request.collection.clone(),
        model,
        chunks: ChunkSettings {
            window_tokens: window as usize,
            overlap_percent: overlap as usize,
            split,
        },
        priority: request.priority.unwrap_or_default(),
        tokens_per_s: request.tokens_per_s,
        workers_max: request.max_workers.unwrap_or(WORKERS),
        near_duplicates,
        source: match &request.source {
            Some(source) => SourceSpec::Places(source.places.clone()),
            None => SourceSpec::Stream,
        },
    })
}

/// The client's key under which the same request counts once.
pub(super) fn once(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(value) = headers.get(ONCE) else { return Ok(None) };
    let good = value.to_str().ok().filter(|key| !key.is_empty() && key.len() <= ONCE_BYTES);
    match good {
        Some(key) => Ok(Some(key)),
        None => {
            let message = format!("Idempotency-Key must be 1 to {ONCE_BYTES} ASCII characters");
            Err(ApiError::invalid("Idempotency-Key", "invalid_header", message))
        }
    }
}

/// `after` and `limit` of a list's address.
pub(super) fn page_of(query: &Query) -> Result<(Option<&str>, usize), ApiError> {
    query.only(&["after", "limit"])?;
    Ok((query.text("after"), query.limit()?))
}
