//! The tool `vector_search`: what a collection of the calling team holds that is near to a text.

use std::collections::BTreeMap;

use async_trait::async_trait;
use headwater_backends::{Answer, Backend, BackendError, Content, Invocation, Listed};
use serde_json::{Map, Value, json};

use crate::collection::{
    CollectionError, Collections, Filter, Found, FoundHit, SearchFor, Target, Value as Field,
    parse_filter,
};
use crate::embedding::{EmbedCall, EmbedError, EmbeddingFleet, Inputs, Pool, Purpose};
use crate::tenancy::{Amounts, Refusal, TenancyHandle};

/// Hits where a call names no limit.
const LIMIT: usize = 10;
/// Most hits where a definition sets none.
const ENTRIES_MAX: usize = 50;
/// Longest query, in bytes.
const QUERY_BYTES_MAX: usize = 16_384;
const ARGUMENTS: [&str; 4] = ["query", "limit", "min_score", "filter"];

/// What all searches need: where vectors are, what makes them, and who pays.
#[derive(Clone)]
pub struct VectorSearches {
    collections: Collections,
    fleet: EmbeddingFleet,
    tenancy: TenancyHandle,
}

impl VectorSearches {
    pub fn new(
        collections: Collections,
        fleet: EmbeddingFleet,
        tenancy: TenancyHandle,
    ) -> VectorSearches {
        VectorSearches { collections, fleet, tenancy }
    }

    /// What makes vectors of queries.
    pub fn fleet(&self) -> &EmbeddingFleet {
        &self.fleet
    }

    /// The backend of a definition, by its checked settings `collection` and `entries_max`.
    pub fn backend(&self, settings: &Map<String, Value>) -> VectorSearch {
        let collection = settings.get("collection").and_then(Value::as_str);
        let entries_max = settings.get("entries_max").and_then(Value::as_u64);
        VectorSearch {
            searches: self.clone(),
            collection: collection.unwrap_or_default().to_owned(),
            entries_max: entries_max.map_or(ENTRIES_MAX, |entries| entries as usize),
        }
    }
}

/// Searches one collection, always the calling team's: arguments are `query` and, where wanted,
/// `limit`, `min_score` and `filter`, as `/v1/search` takes it. The query is charged to the team as any embedding.
pub struct VectorSearch {
    searches: VectorSearches,
    collection: String,
    entries_max: usize,
}

struct Asked {
    query: String,
    limit: usize,
    min_score: Option<f32>,
    filter: Option<Filter>,
}

impl VectorSearch {
    fn read(&self, arguments: &Value) -> Result<Asked, BackendError> {
        let most = self.entries_max;
        if let Some(object) = arguments.as_object()
            && let Some(other) = object.keys().find(|name| !ARGUMENTS.contains(&name.as_str()))
        {
            return Err(wrong(&format!(
                "`{other}` is unknown; give query, limit, min_score and filter"
            )));
        }
        let query = arguments.get("query").and_then(Value::as_str).unwrap_or_default();
        if query.is_empty() || query.len() > QUERY_BYTES_MAX {
            let rule = format!("`query` must be a text of 1 to {QUERY_BYTES_MAX} bytes");
            return Err(wrong(&rule));
        }
        let limit = match arguments.get("limit") {
            None | Some(Value::Null) => LIMIT.min(most),
            Some(limit) => limit
                .as_u64()
                .and_then(|limit| usize::try_from(limit).ok())
                .filter(|limit| (1..=most).contains(limit))
                .ok_or_else(|| {
                    wrong(&format!("`limit` must be a whole number from 1 to {most}"))
                })?,
        };
        let min_score = match arguments.get("min_score") {
            None | Some(Value::Null) => None,
            Some(score) => {
                let score = score.as_f64().ok_or_else(|| wrong("`min_score` must be a number"))?;
                Some(score as f32)
            }
        };
        let filter = match arguments.get("filter") {
            None | Some(Value::Null) => None,
            Some(filter) => {
                Some(parse_filter(filter).map_err(|problem| wrong(&problem.to_string()))?)
            }
        };
        Ok(Asked { query: query.to_owned(), limit, min_score, filter })
    }

    async fn search(&self, team: &str, asked: &Asked) -> Result<Answer, BackendError> {
        let collections = &self.searches.collections;
        let mut last = None;
        // A version may be given up between the look-up and the search; the next one serves then.
        for _ in 0..2 {
            let target = collections.search_target(team, &self.collection, None).await;
            let target = target.map_err(failed)?;
            let vector = self.embed(team, &target, &asked.query).await?;
            let wanted = SearchFor {
                vector,
                limit: asked.limit,
                filter: asked.filter.clone(),
                min_score: asked.min_score,
                texts: true,
            };
            match collections.search(&target, wanted).await {
                Ok(found) => return Ok(told(&self.collection, &found)),
                Err(error @ CollectionError::NotLive { .. }) => last = Some(error),
                Err(error) => return Err(failed(error)),
            }
        }
        let why = "its version changes".to_owned();
        Err(last.map_or(BackendError::Busy { why, retry_after_ms: 1_000 }, failed))
    }

    /// The query as a vector of the target's version; a request that fails costs nothing.
    async fn embed(
        &self,
        team: &str,
        target: &Target,
        query: &str,
    ) -> Result<Vec<f32>, BackendError> {
        let VectorSearches { collections, fleet, tenancy } = &self.searches;
        collections.check_served(target).map_err(failed)?;
        let Some(model) = fleet.of_version(&target.version) else {
            let why = format!("no node serves {} now", target.model);
            return Err(BackendError::Busy { why, retry_after_ms: 1_000 });
        };
        let inputs = Inputs::Texts(vec![query.to_owned()]);
        let call = EmbedCall { inputs, purpose: Purpose::Query, truncate: true, pool: Pool::Query };
        let estimate = Amounts { requests: 1, tokens: model.token_bound(&call), micro_usd: 0 };
        let share = tenancy.reserve(team, &model.card().name, estimate).await;
        let mut share = share.map_err(|refusal| over_quota(&refusal, &model.card().name))?;
        share.begin();
        match model.embed(call).await {
            Ok(embedded) => {
                let tokens = embedded.tokens.iter().sum::<usize>() as u64;
                share.settle(Amounts { requests: 1, tokens, micro_usd: 0 }).await;
                Ok(embedded.vectors.into_iter().next().unwrap_or_default())
            }
            Err(error) => {
                share.give_back();
                Err(not_embedded(error))
            }
        }
    }
}

#[async_trait]
impl Backend for VectorSearch {
    async fn call(&self, invocation: &Invocation) -> Result<Answer, BackendError> {
        let asked = self.read(&invocation.arguments)?;
        self.search(&invocation.tenant, &asked).await
    }

    async fn list(&self) -> Result<Vec<Listed>, BackendError> {
        Ok(Vec::new())
    }
}

fn told(collection: &str, found: &Found) -> Answer {
    let hit = |hit: &FoundHit| {
        let fields: BTreeMap<&String, Value> =
            hit.fields.iter().map(|(name, field)| (name, value(field))).collect();
        json!({
            "text": hit.text,
            "score": hit.score,
            "documents": hit.documents,
            "ordinal": hit.ordinal,
            "fields": fields,
        })
    };
    let hits: Vec<Value> = found.hits.iter().map(hit).collect();
    let content = Content::Json(json!({
        "collection": collection,
        "model": found.model,
        "model_version": found.version,
        "hits": hits,
    }));
    Answer { content, is_error: false, bytes_in: 0, bytes_out: 0, reached: Vec::new() }
}

fn value(field: &Field) -> Value {
    match field {
        Field::Bool(value) => json!(value),
        Field::Number(value) => json!(value),
        Field::Text(value) => json!(value),
    }
}

fn wrong(why: &str) -> BackendError {
    BackendError::Arguments { why: why.to_owned() }
}

fn failed(error: CollectionError) -> BackendError {
    match error {
        CollectionError::NoCollection { name } => {
            BackendError::NotFound { what: format!("collection {name} of the calling team") }
        }
        CollectionError::Embed { error, .. } => not_embedded(error),
        error if error.is_retryable() => {
            BackendError::Busy { why: error.to_string(), retry_after_ms: 1_000 }
        }
        error => BackendError::Refused { why: error.to_string() },
    }
}

fn not_embedded(error: EmbedError) -> BackendError {
    let retry_after_ms = match &error {
        EmbedError::Input(_) | EmbedError::Unreadable { .. } | EmbedError::Refused(_) => {
            return BackendError::Arguments { why: format!("`query`: {error}") };
        }
        EmbedError::Overloaded { retry_after_ms }
        | EmbedError::OverQuota { retry_after_ms, .. } => *retry_after_ms,
        EmbedError::Unavailable | EmbedError::Unloading | EmbedError::TimedOut { .. } => 1_000,
    };
    BackendError::Busy { why: error.to_string(), retry_after_ms }
}

fn over_quota(refusal: &Refusal, model: &str) -> BackendError {
    let (why, retry_after_ms) = match refusal {
        Refusal::UsedUp { retry_after_ms, .. } => ("is used up", retry_after_ms),
        Refusal::Unanswered { retry_after_ms } => ("cannot be checked now", retry_after_ms),
        Refusal::Overloaded { retry_after_ms } => ("has too many requests waiting", retry_after_ms),
    };
    let why = format!("the team's quota of {model} {why}");
    BackendError::Busy { why, retry_after_ms: *retry_after_ms }
}
