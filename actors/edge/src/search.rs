//! `POST /v1/search`: the chunks of a collection nearest to a text or a vector.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use headwater_actors::collection::{
    CollectionError, Collections, Filter, Found, FoundHit, SearchFor, Target, check_limit,
    check_vector, parse_filter,
};
use headwater_actors::embedding::{EmbedCall, Inputs, Pool, Purpose};
use headwater_actors::tenancy::Amounts;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::read_json;
use crate::collection::{collections, value};
use crate::embedding::{Asked as AskedModel, embed, name_server, record};
use crate::error::{ApiError, Shape};
use crate::identity::Grant;
use crate::router::Edge;

const LIMIT: usize = 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SearchRequest {
    collection: String,
    query: Option<String>,
    vector: Option<Vec<f32>>,
    /// The version that the answer must be of, and that `vector` is of.
    model_version: Option<String>,
    limit: Option<usize>,
    filter: Option<Value>,
    include_text: Option<bool>,
    min_score: Option<f32>,
}

/// The query, once it is known to be one of both.
enum Query {
    Text(String),
    Vector(Vec<f32>),
}

/// What the query cost, and who made its vector.
struct Asked {
    vector: Vec<f32>,
    tokens: usize,
    served_by: Option<String>,
}

/// `POST /v1/search`
pub(crate) async fn search(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    body: Body,
) -> Response {
    match answer(&edge, &grant, body).await {
        Ok(response) => response,
        Err(error) => error.respond(Shape::OpenAi),
    }
}

async fn answer(edge: &Edge, grant: &Grant, body: Body) -> Result<Response, ApiError> {
    let collections = collections(edge)?;
    let mut request: SearchRequest = read_json(body, &edge.settings).await?;
    let query = query_of(&mut request)?;
    check_limit(request.limit.unwrap_or(LIMIT)).map_err(ApiError::from_collection)?;
    let filter = request.filter.as_ref().map(read_filter).transpose()?;
    let mut last = None;
    // A version may be given up between the look-up and the search. Who named none is served by
    // the next one.
    for _ in 0..2 {
        let asked = request.model_version.as_deref();
        let target = collections.search_target(&grant.tenant, &request.collection, asked).await;
        let target = target.map_err(ApiError::from_collection)?;
        if !grant.allows(&target.model) {
            return Err(ApiError::model_not_allowed(&target.model));
        }
        let asked = ask(edge, grant, collections, &target, &query).await?;
        let wanted = wanted(&request, asked.vector, filter.clone());
        match collections.search(&target, wanted).await {
            Ok(found) => {
                let mut response = render(&request.collection, &found, asked.tokens);
                name_server(&mut response, asked.served_by.as_deref());
                return Ok(response);
            }
            Err(error @ CollectionError::NotLive { .. }) if request.model_version.is_none() => {
                last = Some(error);
            }
            Err(error) => return Err(ApiError::from_collection(error)),
        }
    }
    Err(last.map_or_else(ApiError::store_down, ApiError::from_collection))
}

fn query_of(request: &mut SearchRequest) -> Result<Query, ApiError> {
    match (request.query.take(), request.vector.take()) {
        (Some(text), None) if text.is_empty() => {
            let message = "query is empty; send a text".to_owned();
            Err(ApiError::invalid("query", "empty_input", message))
        }
        (Some(text), None) => Ok(Query::Text(text)),
        (None, Some(_)) if request.model_version.is_none() => {
            let message = "vector needs model_version, the version of the model that made it; \
                           /v1/embeddings returns it beside each vector"
                .to_owned();
            Err(ApiError::invalid("model_version", "missing_version", message))
        }
        (None, Some(vector)) => Ok(Query::Vector(vector)),
        _ => {
            let message = "send either query, a text, or vector with model_version".to_owned();
            Err(ApiError::invalid("query", "invalid_field", message))
        }
    }
}

fn read_filter(filter: &Value) -> Result<Filter, ApiError> {
    parse_filter(filter)
        .map_err(|problem| ApiError::invalid(&problem.path, "invalid_filter", problem.to_string()))
}

fn wanted(request: &SearchRequest, vector: Vec<f32>, filter: Option<Filter>) -> SearchFor {
    SearchFor {
        vector,
        limit: request.limit.unwrap_or(LIMIT),
        filter,
        min_score: request.min_score,
        texts: request.include_text.unwrap_or(false),
    }
}

/// The query as a vector of the target's version, charged to the tenant.
async fn ask(
    edge: &Edge,
    grant: &Grant,
    collections: &Collections,
    target: &Target,
    query: &Query,
) -> Result<Asked, ApiError> {
    let asked = AskedModel {
        route: "/v1/search",
        model: &target.model,
        param: "query",
        trace_parent: None,
    };
    let text = match query {
        Query::Vector(vector) => {
            check_vector(target, vector).map_err(ApiError::from_collection)?;
            let record = record::begin(edge, grant, asked, &target.model);
            let charged = charge(edge, grant, &target.model).await;
            if let Some(record) = record {
                record::end(record, charged.as_ref().map(|()| None));
            }
            charged?;
            return Ok(Asked { vector: vector.clone(), tokens: 0, served_by: None });
        }
        Query::Text(text) => text.clone(),
    };
    collections.check_served(target).map_err(ApiError::from_collection)?;
    let Some(model) = edge.embedding.of_version(&target.version) else {
        return Err(ApiError::from_collection(CollectionError::NotServed {
            collection: target.collection.clone(),
            version: target.version.clone(),
            model: target.model.clone(),
        }));
    };
    let inputs = Inputs::Texts(vec![text]);
    let call = EmbedCall { inputs, purpose: Purpose::Query, truncate: false, pool: Pool::Query };
    let embedded = embed(edge, grant, &model, call, asked).await?;
    let tokens = embedded.tokens.iter().sum();
    let vector = embedded.vectors.into_iter().next().unwrap_or_default();
    Ok(Asked { vector, tokens, served_by: embedded.served_by })
}

/// A search with a vector is a request without tokens.
async fn charge(edge: &Edge, grant: &Grant, model: &str) -> Result<(), ApiError> {
    let amounts = Amounts { requests: 1, tokens: 0, micro_usd: 0 };
    let share = edge.tenancy.reserve(grant.payer(), model, amounts).await;
    let mut share = share.map_err(|refusal| ApiError::from_refusal(refusal, amounts))?;
    share.begin();
    share.settle(amounts).await;
    Ok(())
}

fn render(collection: &str, found: &Found, tokens: usize) -> Response {
    let hit = |hit: &FoundHit| {
        let fields: BTreeMap<&String, Value> =
            hit.fields.iter().map(|(name, field)| (name, value(field))).collect();
        let mut told = json!({
            "object": "chunk",
            "chunk": hit.chunk.hex(),
            "score": hit.score,
            "documents": hit.documents,
            "ordinal": hit.ordinal,
            "start": hit.range.start,
            "end": hit.range.end,
            "fields": fields,
            "model": hit.model,
            "model_version": hit.version,
        });
        if let Some(text) = &hit.text {
            told["text"] = json!(text);
        }
        told
    };
    let data: Vec<Value> = found.hits.iter().map(hit).collect();
    axum::Json(json!({
        "object": "list",
        "collection": collection,
        "model": found.model,
        "model_version": found.version,
        "data": data,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }))
    .into_response()
}
