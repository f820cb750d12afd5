//! `/v1/tenants/{tenant}`: limits and usage of a team `acme`, its project `acme/search` or its user
//! `acme//alice`, percent-encoded. Operators change them; others see their own.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use headwater_actors::identity::{is_name, is_user_name};
use headwater_actors::tenancy::{
    Amounts, Books, CounterKey, Limit, LimitProblem, Limits, Subject, Unit, Window, date_of_day,
    usage_rows,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::read_json;
use crate::error::{ApiError, respond};
use crate::identity::Grant;
use crate::router::Edge;

/// Most rows of usage in one answer: a day and a model each, the newest first.
const USAGE_ROWS: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsRequest {
    limits: Vec<LimitField>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitField {
    /// All models without it.
    model: Option<String>,
    unit: String,
    window: String,
    amount: u64,
}

type TenantPath = Result<Path<String>, PathRejection>;

/// `GET /v1/tenants/{tenant}/limits`
pub(crate) async fn limits(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    path: TenantPath,
) -> Response {
    let answer = async {
        let tenant = seen_tenant(&grant, path)?;
        let books = edge.tenancy.look(&tenant).await;
        let books = books.map_err(|error| ApiError::from_tenancy(&error))?;
        Ok(axum::Json(describe(&tenant, &books)).into_response())
    };
    respond(answer.await)
}

/// `PUT /v1/tenants/{tenant}/limits`: replaces all of them.
pub(crate) async fn set_limits(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    path: TenantPath,
    body: Body,
) -> Response {
    let answer = async {
        let tenant = seen_tenant(&grant, path)?;
        let request: LimitsRequest = read_json(body, &edge.settings).await?;
        let limits = parse(request, edge.gateway.is_some())?;
        let revision = edge.tenancy.set_limits(&tenant, limits).await;
        let revision = revision.map_err(|error| ApiError::from_tenancy(&error))?;
        Ok(axum::Json(json!({"tenant": tenant, "revision": revision})).into_response())
    };
    respond(answer.await)
}

/// `GET /v1/tenants/{tenant}/usage`
pub(crate) async fn usage(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    path: TenantPath,
) -> Response {
    let answer = async {
        let tenant = seen_tenant(&grant, path)?;
        let rows = usage_rows(edge.cluster.store(), &tenant, USAGE_ROWS).await;
        let rows = rows.map_err(|_| ApiError::store_down())?;
        let row = |(day, model, used): &(u64, String, Amounts)| {
            let (year, month, day) = date_of_day(*day);
            json!({
                "day": format!("{year:04}-{month:02}-{day:02}"),
                "model": model,
                "requests": used.requests,
                "tokens": used.tokens,
                "micro_usd": used.micro_usd,
            })
        };
        let usage: Vec<Value> = rows.iter().map(row).collect();
        Ok(axum::Json(json!({"tenant": tenant, "usage": usage})).into_response())
    };
    respond(answer.await)
}

/// The team, project or user in the path, if the caller may see it.
fn seen_tenant(grant: &Grant, path: TenantPath) -> Result<String, ApiError> {
    let tenant = path.map(|Path(tenant)| tenant).unwrap_or_default();
    let subject = Subject::named(&tenant);
    let is_named = match subject {
        Subject::Team(_) => true,
        Subject::Project { project, .. } => is_name(project),
        Subject::User { user, .. } => is_user_name(user),
    };
    if !is_name(subject.team()) || !is_named {
        let message = "the tenant in the path must be TEAM, TEAM/PROJECT or TEAM//USER, with each \
                       / as %2F; teams and projects are 1 to 64 of the characters A-Z a-z 0-9 . _ \
                       -, users 1 to 128 visible characters";
        return Err(ApiError::invalid("tenant", "invalid_path", message.to_owned()));
    }
    grant.check_sees(subject)?;
    Ok(tenant)
}

/// Money counts for chats alone: no encoder has a price.
fn parse(request: LimitsRequest, has_prices: bool) -> Result<Limits, ApiError> {
    let mut limits = Vec::with_capacity(request.limits.len());
    for (place, field) in request.limits.into_iter().enumerate() {
        let wrong = |name: &str, given: &str, allowed: Vec<&str>| {
            let param = format!("limits[{place}].{name}");
            let allowed = allowed.join(", ");
            let message = format!("{param} is '{given}'; allowed are {allowed}");
            ApiError::invalid(&param, "invalid_field", message)
        };
        let unit = Unit::named(&field.unit).ok_or_else(|| {
            wrong("unit", &field.unit, Unit::ALL.iter().map(|unit| unit.name()).collect())
        })?;
        if unit == Unit::MicroUsd && !has_prices {
            let param = format!("limits[{place}].unit");
            let message = format!(
                "{param} is 'micro_usd', but no model has a price here, so such a limit would never \
                 count; use requests or tokens, or set up a chat model with a price"
            );
            return Err(ApiError::invalid(&param, "no_price", message));
        }
        let window = Window::named(&field.window).ok_or_else(|| {
            let all = Window::ALL.iter().map(|window| window.name()).collect();
            wrong("window", &field.window, all)
        })?;
        limits.push(Limit { model: field.model, unit, window, amount: field.amount });
    }
    let limits = Limits { revision: 0, limits };
    limits.check().map_err(|problem| {
        let param = match &problem {
            LimitProblem::TooMany { .. } => "limits".to_owned(),
            LimitProblem::Model { place, .. } => format!("limits[{place}].model"),
            LimitProblem::Twice { place, .. } => format!("limits[{place}]"),
            LimitProblem::TooLarge { place } => format!("limits[{place}].amount"),
        };
        ApiError::invalid(&param, "invalid_field", problem.to_string())
    })?;
    Ok(limits)
}

fn describe(tenant: &str, books: &Books) -> Value {
    let counter = |limit: &Limit| {
        let of = |key: &&CounterKey| {
            key.model == limit.model && key.unit == limit.unit && key.window == limit.window
        };
        let newest = books.counters.keys().filter(of).max_by_key(|key| key.index);
        newest.and_then(|key| books.counters.get(key)).copied().unwrap_or(0)
    };
    let limits: Vec<Value> = books
        .limits
        .limits
        .iter()
        .map(|limit| {
            json!({
                "model": limit.model,
                "unit": limit.unit.name(),
                "window": limit.window.name(),
                "amount": limit.amount,
                // Used, or handed out to a node that may still use it.
                "taken": counter(limit),
            })
        })
        .collect();
    json!({"tenant": tenant, "revision": books.limits.revision, "limits": limits})
}
