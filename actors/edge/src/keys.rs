//! `/v1/keys` and `/v1/tokens`: virtual keys, and what is revoked, for operators.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use headwater_actors::identity::{Holder, IdentityError, Key, NewKey, RevokedToken, Secret};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::{read_json, read_optional_json};
use crate::error::{ApiError, INVALID, UNAVAILABLE, respond};
use crate::identity::{OWN_ISSUER, token_names};
use crate::query::Query;
use crate::router::Edge;

/// For how long a rotated key's old secret is good when the request does not say, in s.
const GRACE_S: u64 = 60 * 60;
/// For how long a token is remembered as revoked when its end is not told, in s: the longest life
/// that `headwater token` gives.
const REMEMBERED_S: u64 = 3_650 * 24 * 60 * 60;

type IdPath = Result<Path<String>, PathRejection>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyRequest {
    team: String,
    project: Option<String>,
    user: Option<String>,
    /// All models without it.
    models: Option<Vec<String>>,
    tier: Option<String>,
    /// In s since 1970; never without it.
    expires_at: Option<u64>,
    #[serde(default)]
    note: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RotateRequest {
    grace_s: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenRequest {
    /// The whole token, which says the rest itself.
    token: Option<String>,
    /// `headwater` without it: a token of the node's own key.
    issuer: Option<String>,
    jti: Option<String>,
    /// In s since 1970.
    expires_at: Option<u64>,
}

/// `POST /v1/keys`: makes a key. The answer is the only place where its secret ever stands.
pub(crate) async fn create(State(edge): State<Edge>, body: Body) -> Response {
    let answer = async {
        let asked: KeyRequest = read_json(body, &edge.settings).await?;
        let holder = Holder {
            team: asked.team,
            project: asked.project,
            user: asked.user,
            models: asked.models.unwrap_or_else(|| vec!["*".to_owned()]),
            tier: asked.tier.unwrap_or_else(|| "standard".to_owned()),
        };
        let expires_ms = asked.expires_at.map(|end_s| end_s.saturating_mul(1000));
        let new = NewKey { holder, note: asked.note, expires_ms };
        let (key, secret) = edge.identity.create(new).await.map_err(ApiError::from_identity)?;
        Ok(once(StatusCode::CREATED, &key, &secret))
    };
    respond(answer.await)
}

/// `GET /v1/keys?after=&limit=`
pub(crate) async fn list(State(edge): State<Edge>, uri: Uri) -> Response {
    let answer = async {
        let query = Query::of(&uri)?;
        query.only(&["after", "limit"])?;
        let page = edge.identity.list(query.text("after"), query.limit()?).await;
        let page = page.map_err(ApiError::from_identity)?;
        let data: Vec<Value> = page.keys.iter().map(describe).collect();
        let body = json!({"object": "list", "data": data, "next_after": page.next_after});
        Ok(axum::Json(body).into_response())
    };
    respond(answer.await)
}

/// `GET /v1/keys/{id}`
pub(crate) async fn get(State(edge): State<Edge>, path: IdPath) -> Response {
    let answer = async {
        let key = edge.identity.get(&id_of(path)).await.map_err(ApiError::from_identity)?;
        Ok(axum::Json(describe(&key)).into_response())
    };
    respond(answer.await)
}

/// `POST /v1/keys/{id}/rotate`: a new secret; the old one is good for `grace_s` more.
pub(crate) async fn rotate(State(edge): State<Edge>, path: IdPath, body: Body) -> Response {
    let answer = async {
        let asked: Option<RotateRequest> = read_optional_json(body, &edge.settings).await?;
        let grace_s = asked.unwrap_or_default().grace_s.unwrap_or(GRACE_S);
        let rotated = edge.identity.rotate(&id_of(path), grace_s.saturating_mul(1000)).await;
        let (key, secret) = rotated.map_err(ApiError::from_identity)?;
        Ok(once(StatusCode::OK, &key, &secret))
    };
    respond(answer.await)
}

/// `POST /v1/keys/{id}/revoke`
pub(crate) async fn revoke(State(edge): State<Edge>, path: IdPath) -> Response {
    let answer = async {
        let key = edge.identity.revoke(&id_of(path)).await.map_err(ApiError::from_identity)?;
        Ok(axum::Json(describe(&key)).into_response())
    };
    respond(answer.await)
}

/// `POST /v1/tokens/revoke`: ends a signed token before its time, by itself or by its `jti`.
pub(crate) async fn revoke_token(State(edge): State<Edge>, body: Body) -> Response {
    let answer = async {
        let token = named(read_json(body, &edge.settings).await?)?;
        let (issuer, id) = (token.issuer.clone(), token.id.clone());
        edge.identity.revoke_token(token).await.map_err(ApiError::from_identity)?;
        Ok(axum::Json(json!({"issuer": issuer, "jti": id, "revoked": true})).into_response())
    };
    respond(answer.await)
}

fn named(asked: TokenRequest) -> Result<RevokedToken, ApiError> {
    let wrong = |param: &str, message: &str| {
        Err(ApiError::invalid(param, "invalid_field", message.to_owned()))
    };
    let TokenRequest { token, issuer, jti, expires_at } = asked;
    let (issuer, id, expires_s) = match (token, jti) {
        (Some(token), None) if issuer.is_none() && expires_at.is_none() => {
            match token_names(&token) {
                Some(names) => names,
                None => {
                    return wrong(
                        "token",
                        "token holds no iss, jti and exp, so it cannot be revoked; wait for its \
                         end or change the key that signs",
                    );
                }
            }
        }
        (None, Some(jti)) => {
            let issuer = issuer.unwrap_or_else(|| OWN_ISSUER.to_owned());
            let remembered = || now_s().saturating_add(REMEMBERED_S);
            (issuer, jti, expires_at.unwrap_or_else(remembered))
        }
        _ => {
            return wrong("token", "send either token alone, or jti, with issuer and expires_at");
        }
    };
    Ok(RevokedToken { issuer, id, expires_ms: expires_s.saturating_mul(1000) })
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
}

/// An id that is none is one that is not there.
fn id_of(path: IdPath) -> String {
    path.map(|Path(id)| id).unwrap_or_default()
}

/// A key with its secret, which no cache on the way may keep.
fn once(status: StatusCode, key: &Key, secret: &Secret) -> Response {
    let mut body = describe(key);
    body["key"] = Value::from(secret.reveal());
    let mut response = (status, axum::Json(body)).into_response();
    let never = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, never);
    response
}

fn describe(key: &Key) -> Value {
    let second = |at_ms: Option<u64>| at_ms.map(|at_ms| at_ms / 1000);
    json!({
        "id": key.id,
        "object": "key",
        "team": key.holder.team,
        "project": key.holder.project,
        "user": key.holder.user,
        "models": key.holder.models,
        "tier": key.holder.tier,
        "note": key.note,
        "created_at": key.created_ms / 1000,
        "expires_at": second(key.expires_ms),
        "rotated_at": second(key.rotated_ms),
        "previous_until": second(key.previous_until_ms),
        "revoked_at": second(key.revoked_ms),
    })
}

impl ApiError {
    pub(crate) fn from_identity(error: IdentityError) -> ApiError {
        let message = error.to_string();
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        match error {
            IdentityError::Field { field, .. } => {
                ApiError::invalid(field, "invalid_field", message)
            }
            IdentityError::NoKey { .. } => {
                ApiError::new(StatusCode::NOT_FOUND, INVALID, "key_not_found", message)
            }
            IdentityError::Revoked { .. } => {
                ApiError::new(StatusCode::CONFLICT, INVALID, "key_revoked", message)
            }
            IdentityError::Unknown { .. } => {
                ApiError::new(unavailable, UNAVAILABLE, "outcome_unknown", message)
            }
            IdentityError::NoRandomBits => {
                ApiError::new(unavailable, UNAVAILABLE, "no_random_bits", message).retry(1000)
            }
            IdentityError::Store(_) => ApiError::store_down(),
        }
    }
}
