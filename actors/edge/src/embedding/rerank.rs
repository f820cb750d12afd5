//! `/rerank` in TEI's shape and `/v1/rerank` in the shape of Cohere and Jina.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use headwater_actors::embedding::{EmbedCall, Embedded, Inputs, Pool, Purpose, Task};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Asked, check_direction, check_task, default_model, embed, find_model, name_server,
    name_truncated,
};
use crate::body::read_json;
use crate::error::{ApiError, Shape};
use crate::identity::Grant;
use crate::router::Edge;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TeiRequest {
    query: String,
    texts: Vec<String>,
    /// Answer with the model's raw logits; without it they go through the sigmoid.
    raw_scores: Option<bool>,
    return_text: Option<bool>,
    truncate: Option<bool>,
    truncation_direction: Option<String>,
    /// Not in TEI, which serves one model; without it the node's default model answers.
    model: Option<String>,
}

#[derive(Serialize)]
struct TeiRank {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    score: f32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RerankRequest {
    model: String,
    query: String,
    documents: Vec<Document>,
    /// Most results to return; all without it.
    top_n: Option<usize>,
    return_documents: Option<bool>,
    /// Cut long pairs and mark them, instead of refusing the request.
    truncate: Option<bool>,
}

/// A text, alone or as the field of an object.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a string or an object {\"text\": string}")]
enum Document {
    Text(String),
    Object { text: String },
}

#[derive(Serialize)]
struct RerankResult {
    index: usize,
    relevance_score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<DocumentObject>,
    /// Only there when the pair was cut.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

#[derive(Serialize)]
struct DocumentObject {
    text: String,
}

/// A text's place and its score.
struct Rank {
    index: usize,
    score: f32,
}

/// `POST /rerank`
pub(crate) async fn tei(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    body: Body,
) -> Response {
    match tei_answer(&edge, &grant, body).await {
        Ok(response) => response,
        Err(error) => error.respond(Shape::Tei),
    }
}

async fn tei_answer(edge: &Edge, grant: &Grant, body: Body) -> Result<Response, ApiError> {
    let request: TeiRequest = read_json(body, &edge.settings).await?;
    check_direction(request.truncation_direction.as_deref())?;
    let name = request.model.unwrap_or_else(|| default_model(edge, Task::Rerank));
    let asked = Asked { route: "/rerank", model: &name, param: "texts", trace_parent: None };
    let pairs = Pairs { asked, query: &request.query, texts: &request.texts };
    let truncate = request.truncate.unwrap_or(false);
    let (_, embedded) = pairs.score(edge, grant, truncate).await?;
    let raw = request.raw_scores.unwrap_or(false);
    let mut texts: Vec<Option<String>> = match request.return_text {
        Some(true) => request.texts.into_iter().map(Some).collect(),
        _ => vec![None; request.texts.len()],
    };
    let rank = |Rank { index, score }: Rank| TeiRank { index, text: texts[index].take(), score };
    let ranks: Vec<TeiRank> = ranked(&embedded, raw).into_iter().map(rank).collect();
    let mut response = axum::Json(ranks).into_response();
    name_truncated(&mut response, &embedded.truncated);
    name_server(&mut response, embedded.served_by.as_deref());
    Ok(response)
}

/// `POST /v1/rerank`
pub(crate) async fn rerank(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    body: Body,
) -> Response {
    match rerank_answer(&edge, &grant, body).await {
        Ok(response) => response,
        Err(error) => error.respond(Shape::OpenAi),
    }
}

async fn rerank_answer(edge: &Edge, grant: &Grant, body: Body) -> Result<Response, ApiError> {
    let request: RerankRequest = read_json(body, &edge.settings).await?;
    if request.top_n == Some(0) {
        let message = "top_n is 0; send 1 or more, or leave it out for all".to_owned();
        return Err(ApiError::invalid("top_n", "invalid_field", message));
    }
    let text = |document| match document {
        Document::Text(text) | Document::Object { text } => text,
    };
    let texts: Vec<String> = request.documents.into_iter().map(text).collect();
    let (name, query) = (&request.model, &request.query);
    let asked = Asked { route: "/v1/rerank", model: name, param: "documents", trace_parent: None };
    let pairs = Pairs { asked, query, texts: &texts };
    let truncate = request.truncate.unwrap_or(false);
    let (model, embedded) = pairs.score(edge, grant, truncate).await?;
    let wanted = request.return_documents.unwrap_or(false);
    let result = |Rank { index, score }: Rank| RerankResult {
        index,
        relevance_score: score,
        document: wanted.then(|| DocumentObject { text: texts[index].clone() }),
        truncated: embedded.truncated.binary_search(&index).is_ok(),
    };
    let ranks = ranked(&embedded, false).into_iter();
    let results: Vec<RerankResult> =
        ranks.take(request.top_n.unwrap_or(usize::MAX)).map(result).collect();
    let total_tokens: usize = embedded.tokens.iter().sum();
    let card = model.card();
    let mut response = axum::Json(json!({
        "model": card.name,
        "model_version": card.fingerprint,
        "results": results,
        "usage": {"prompt_tokens": total_tokens, "total_tokens": total_tokens},
    }))
    .into_response();
    name_server(&mut response, embedded.served_by.as_deref());
    Ok(response)
}

/// One query and the texts to be ranked for it.
struct Pairs<'a> {
    asked: Asked<'a>,
    query: &'a str,
    texts: &'a [String],
}

impl Pairs<'_> {
    async fn score(
        &self,
        edge: &Edge,
        grant: &Grant,
        truncate: bool,
    ) -> Result<(super::FleetModel, Embedded), ApiError> {
        let model = find_model(edge, grant, self.asked.model, None)?;
        check_task(&model, Task::Rerank)?;
        if self.query.is_empty() {
            let message = "query is empty; send the text to rank by".to_owned();
            return Err(ApiError::invalid("query", "empty_input", message));
        }
        // Each text is read beside a copy of the query.
        let most = edge.settings.body_limit_bytes;
        if self.query.len().saturating_mul(self.texts.len()) > most {
            let message = format!(
                "query has {} bytes, which is too long for {} texts; the product may be {most} \
                 bytes, so send fewer texts or a shorter query",
                self.query.len(),
                self.texts.len()
            );
            return Err(ApiError::invalid("query", "input_too_long", message));
        }
        let pair = |text: &String| (self.query.to_owned(), text.clone());
        let inputs = Inputs::Pairs(self.texts.iter().map(pair).collect());
        let call = EmbedCall { inputs, purpose: Purpose::Plain, truncate, pool: Pool::Query };
        let embedded = embed(edge, grant, &model, call, self.asked).await?;
        Ok((model, embedded))
    }
}

/// The highest score first; equal ones by their place. Models answer with logits; `raw` ones
/// stay so, others go through the sigmoid, into 0 to 1.
fn ranked(embedded: &Embedded, raw: bool) -> Vec<Rank> {
    let score = |vector: &Vec<f32>| {
        let logit = vector.first().copied().unwrap_or(f32::NEG_INFINITY);
        if raw { logit } else { 1.0 / (1.0 + (-logit).exp()) }
    };
    let mut ranks: Vec<Rank> = embedded
        .vectors
        .iter()
        .enumerate()
        .map(|(index, vector)| Rank { index, score: score(vector) })
        .collect();
    ranks.sort_by(|a, b| b.score.total_cmp(&a.score));
    ranks
}
