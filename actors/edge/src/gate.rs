//! What every request passes: the drain, the identity, the count and the log line.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::watch;
use uuid::Uuid;

use crate::error::{ApiError, Shape, name_request};
use crate::identity::{Grant, Refusal};
use crate::router::Edge;

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

/// The inner layer of all routes but those for probes and scrapers: who calls, and what
/// they may do.
pub(crate) async fn authenticate(
    State(edge): State<Edge>,
    mut request: Request,
    next: Next,
) -> Response {
    let shape = shape_of(request.uri().path());
    match judged(&edge, &request) {
        Ok(grant) => {
            let tenant = Tenant(grant.tenant.clone());
            request.extensions_mut().insert::<Arc<Grant>>(Arc::new(grant));
            let mut response = next.run(request).await;
            response.extensions_mut().insert(tenant);
            response
        }
        Err(Refusal::Missing) => ApiError::no_token().respond(shape),
        Err(Refusal::Bad(why)) => ApiError::bad_token(why).respond(shape),
    }
}

fn judged(edge: &Edge, request: &Request) -> Result<Grant, Refusal> {
    // A header that is not ASCII is as bad as a wrong one, not as good as none.
    let sent = |name: HeaderName| {
        request.headers().get(name).map(|value| value.to_str().unwrap_or("unreadable"))
    };
    edge.authority.judge(sent(header::AUTHORIZATION), sent(API_KEY))
}
