//! `/v1/audit`: questions to the audit lake. Operators see all teams, everybody else the own one.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use headwater_actors::gateway::{
    AuditCell, AuditError, AuditHandle, AuditScope, AuditTable, CostQuestion,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::read_json;
use crate::error::{ApiError, INVALID, UNAVAILABLE, respond};
use crate::identity::Grant;
use crate::router::Edge;

/// When a lake that is away is asked again, in ms.
const RETRY_MS: u64 = 5_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QueryRequest {
    sql: String,
    format: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
}

/// `POST /v1/audit/query`
pub(crate) async fn query(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    body: Body,
) -> Response {
    let answer = async {
        let request: QueryRequest = read_json(body, &edge.settings).await?;
        let format = format(request.format.as_deref())?;
        answered(&edge, &grant, request.sql, format).await
    };
    respond(answer.await)
}

/// `GET /v1/audit/query?sql=…&format=json|csv`
pub(crate) async fn query_by_address(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
) -> Response {
    let answer = async {
        let [sql, format_name] = parameters(&uri, ["sql", "format"])?;
        let missing = || ApiError::invalid("sql", "missing_field", "sql is missing".to_owned());
        let sql = sql.ok_or_else(missing)?;
        answered(&edge, &grant, sql, format(format_name.as_deref())?).await
    };
    respond(answer.await)
}

/// `GET /v1/audit/cost?from=…&to=…&by=…&format=json|csv`
pub(crate) async fn cost(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    uri: Uri,
) -> Response {
    let answer = async {
        let [from, to, by, format_name] = parameters(&uri, ["from", "to", "by", "format"])?;
        let format = format(format_name.as_deref())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_ms = now.map_or(0, |age| age.as_millis() as u64);
        let question = CostQuestion::read(from.as_deref(), to.as_deref(), by.as_deref(), now_ms);
        let question = question.map_err(|problem| {
            ApiError::invalid(problem.field(), "invalid_field", problem.to_string())
        })?;
        let table = audit(&edge)?.cost(&question, scope(&grant)).await;
        Ok(render(&table.map_err(problem_of)?, format))
    };
    respond(answer.await)
}

async fn answered(
    edge: &Edge,
    grant: &Grant,
    sql: String,
    format: Format,
) -> Result<Response, ApiError> {
    let table = audit(edge)?.query(sql, scope(grant)).await.map_err(problem_of)?;
    Ok(render(&table, format))
}

fn audit(edge: &Edge) -> Result<&AuditHandle, ApiError> {
    edge.audit.as_ref().ok_or_else(|| {
        let message = "this node keeps no audit; set audit.enabled, or ask a node that does";
        ApiError::new(StatusCode::NOT_FOUND, INVALID, "no_audit", message.to_owned())
    })
}

fn scope(grant: &Grant) -> AuditScope {
    match grant.is_operator() {
        true => AuditScope::All,
        false => AuditScope::Team(grant.tenant.clone()),
    }
}

fn problem_of(error: AuditError) -> ApiError {
    let message = error.to_string();
    match error {
        AuditError::Refused(_) => ApiError::invalid("sql", "invalid_sql", message),
        AuditError::TimedOut { .. } => ApiError::invalid("sql", "too_slow", message),
        AuditError::Unavailable(_) | AuditError::Full { .. } => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            ApiError::new(status, UNAVAILABLE, "audit_unavailable", message).retry(RETRY_MS)
        }
    }
}

fn format(name: Option<&str>) -> Result<Format, ApiError> {
    match name {
        None | Some("json") => Ok(Format::Json),
        Some("csv") => Ok(Format::Csv),
        Some(other) => {
            let message = format!("format is '{other}'; allowed are json, csv");
            Err(ApiError::invalid("format", "invalid_field", message))
        }
    }
}

/// The parameters of these names, each at most once; no others.
fn parameters<const N: usize>(
    uri: &Uri,
    names: [&str; N],
) -> Result<[Option<String>; N], ApiError> {
    let mut found = [const { None }; N];
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        let place = names.iter().position(|own| *own == name);
        let place = place.ok_or_else(|| {
            let message =
                format!("'{name}' is no parameter here; allowed are {}", names.join(", "));
            ApiError::invalid(&name, "unknown_parameter", message)
        })?;
        if found[place].replace(value.into_owned()).is_some() {
            let message = format!("{name} is given twice");
            return Err(ApiError::invalid(&name, "invalid_field", message));
        }
    }
    Ok(found)
}

fn render(table: &AuditTable, format: Format) -> Response {
    match format {
        Format::Csv => {
            let mut response = Response::new(Body::from(table.csv()));
            let csv = HeaderValue::from_static("text/csv; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, csv);
            if table.is_truncated {
                let truncated = HeaderValue::from_static("true");
                response.headers_mut().insert("x-headwater-truncated", truncated);
            }
            response
        }
        Format::Json => axum::Json(describe(table)).into_response(),
    }
}

fn describe(table: &AuditTable) -> Value {
    let cell = |cell: &AuditCell| match cell {
        AuditCell::Null => Value::Null,
        AuditCell::Bool(value) => json!(value),
        AuditCell::Int(value) => json!(value),
        AuditCell::Float(value) => json!(value),
        AuditCell::Text(text) => json!(text),
    };
    let rows: Vec<Value> = table.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    json!({ "columns": table.columns, "rows": rows, "truncated": table.is_truncated })
}
