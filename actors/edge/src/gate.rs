//! What every request passes: the drain, the identity, the count and the log line.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::watch;
use uuid::Uuid;

use crate::error::{ApiError, Shape, UNAVAILABLE, name_request};
use crate::gzip;
use crate::identity::{Grant, Refusal};
use crate::router::Edge;
use crate::routes::Scope;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Where Anthropic's clients look for it.
const ANTHROPIC_REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
/// Where Anthropic's clients send their token.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const REQUEST_ID_LENGTH: usize = 128;

/// Lets requests in until the node drains, and knows how many are inside.
#[derive(Debug, Clone)]
pub struct Gate {
    draining: Arc<AtomicBool>,
    inside: Arc<watch::Sender<usize>>,
}

impl Default for Gate {
    fn default() -> Self {
        Gate { draining: Arc::default(), inside: Arc::new(watch::channel(0).0) }
    }
}

impl Gate {
    /// From now on new requests are answered with 503 and `Retry-After`.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Waits until no request is inside.
    pub async fn empty(&self) {
        let mut inside = self.inside.subscribe();
        // The sender lives in `self`, so the wait ends only when the count is 0.
        let _ = inside.wait_for(|count| *count == 0).await;
    }

    /// Number of requests inside.
    pub fn inside(&self) -> usize {
        *self.inside.borrow()
    }

    /// A pass to hold for as long as the request is inside; none while draining.
    fn enter(&self) -> Option<Pass> {
        // Counted first, so that a drain that starts now waits for this request.
        self.inside.send_modify(|count| *count += 1);
        let pass = Pass(Arc::clone(&self.inside));
        if self.draining() { None } else { Some(pass) }
    }
}

struct Pass(Arc<watch::Sender<usize>>);

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// A body whose request is inside until all of it is sent, or its client has left.
struct Held {
    body: Body,
    pass: Option<Pass>,
}

/// Keeps the request inside for as long as its answer is on its way.
fn hold(response: Response, pass: Option<Pass>) -> Response {
    response.map(|body| match body.is_end_stream() {
        true => body,
        false => Body::new(Held { body, pass }),
    })
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let next = ready!(Pin::new(&mut self.body).poll_frame(context));
        if !matches!(next, Some(Ok(_))) {
            self.pass = None;
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The error shape that a path's clients expect.
pub(crate) fn shape_of(path: &str) -> Shape {
    match path {
        "/embed" | "/embed_sparse" | "/rerank" | "/tokenize" => Shape::Tei,
        "/v1/messages" => Shape::Anthropic,
        _ if path.starts_with("/v1/messages/") => Shape::Anthropic,
        _ => Shape::OpenAi,
    }
}

/// The outermost layer: drain, request id, metrics, log line.
pub(crate) async fn pass(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unknown".to_owned(), |matched| matched.as_str().to_owned());
    let request_id = request_id(&request);
    let status_route = matches!(path.as_str(), "/health" | "/ready" | "/metrics");
    let entry = edge.gate.enter();
    let mut response = if entry.is_none() && !status_route {
        ApiError::draining().respond(shape_of(&path))
    } else if let Err(error) = gzip::check(request.headers()) {
        error.respond(shape_of(&path))
    } else {
        next.run(request).await
    };
    name_request(&mut response, &request_id);
    response = hold(response, entry);
    response.headers_mut().insert(REQUEST_ID, request_id.clone());
    if shape_of(&path) == Shape::Anthropic {
        response.headers_mut().insert(ANTHROPIC_REQUEST_ID, request_id.clone());
    }
    if edge.gate.draining() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let elapsed = started.elapsed();
    let status = response.status();
    edge.metrics.request(&route, status.as_u16(), elapsed);
    let tenant = response.extensions().get::<Tenant>().map_or("-", |tenant| tenant.0.as_str());
    tracing::info!(
        target: "headwater::access",
        request_id = request_id.to_str().unwrap_or("-"),
        %method,
        path,
        status = status.as_u16(),
        tenant,
        elapsed_ms = elapsed.as_secs_f64() * 1000.0,
    );
    response
}

/// The client's own id when it is short and printable, else a new one.
fn request_id(request: &Request) -> HeaderValue {
    let sent = request.headers().get(REQUEST_ID).filter(|value| {
        value.len() <= REQUEST_ID_LENGTH && value.to_str().is_ok_and(|text| !text.is_empty())
    });
    sent.cloned().unwrap_or_else(|| {
        let id = Uuid::now_v7().to_string();
        HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("-"))
    })
}

/// The tenant of a response, for the log line.
#[derive(Clone)]
struct Tenant(String);

/// What the guard of a route knows.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) edge: Edge,
    pub(crate) scope: Scope,
}

/// The one policy path: who calls, and whether this is enough for the route. Every route but those
/// for probes and scrapers stands behind it, unknown ones included.
pub(crate) async fn guard(
    State(Guard { edge, scope }): State<Guard>,
    mut request: Request,
    next: Next,
) -> Response {
    let shape = shape_of(request.uri().path());
    let authorization = request.headers().get(header::AUTHORIZATION).cloned();
    let api_key = request.headers().get(API_KEY).cloned();
    let judged = edge.authority.judge(sent(authorization.as_ref()), sent(api_key.as_ref()));
    let grant = match judged.await {
        Ok(grant) => grant,
        Err(Refusal::Missing) => return ApiError::no_token().respond(shape),
        Err(Refusal::Bad(why)) => return ApiError::bad_token(why).respond(shape),
        Err(Refusal::Unsure) => return unsure().respond(shape),
    };
    let tenant = Tenant(grant.tenant.clone());
    let allowed = match scope {
        Scope::Open | Scope::Identity => Ok(()),
        Scope::Operator => grant.check_operator(),
    };
    let mut response = match allowed {
        Ok(()) => {
            request.extensions_mut().insert::<Arc<Grant>>(grant);
            next.run(request).await
        }
        Err(error) => error.respond(shape),
    };
    response.extensions_mut().insert(tenant);
    response
}

/// This node cannot tell whether the caller's key or token is still good.
fn unsure() -> ApiError {
    let message = "this node has not heard from the store for too long to know which keys are \
                   revoked; try again later or on another node";
    let status = StatusCode::SERVICE_UNAVAILABLE;
    ApiError::new(status, UNAVAILABLE, "identity_unavailable", message.to_owned()).retry(1000)
}

/// The value of a header; one that is not ASCII is as bad as a wrong one, not as good as none.
fn sent(value: Option<&HeaderValue>) -> Option<&str> {
    value.map(|value| value.to_str().unwrap_or("unreadable"))
}
