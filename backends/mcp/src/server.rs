//! Our tools, served to MCP clients over streamable HTTP.

mod approval;
mod handler;
mod render;
mod served;

use std::convert::Infallible;
use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::combinators::BoxBody;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};

pub use served::{Answered, Caller, Confirmation, Failure, Page, Progress, Served, ToolCall};

use handler::Handler;

/// Settings of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Name and version that clients are told.
    pub name: String,
    pub version: String,
    /// What clients are told to do with the tools; `None` tells nothing.
    pub instructions: Option<String>,
    /// Longest body of a request, in bytes.
    pub body_bytes_max: usize,
    /// `Host` headers that are answered, against DNS rebinding; empty where the edge has checked.
    pub hosts: Vec<String>,
    /// Longest time for a call or a list, in milliseconds.
    pub timeout_ms: u64,
}

/// Answers `POST` requests of one path, in the revisions from 2024-11-05 to 2026-07-28. It keeps no
/// sessions, so that any node can answer any request. Cheap to clone.
pub struct McpService<S: Served> {
    inner: StreamableHttpService<Handler<S>, NeverSessionManager>,
}

impl<S: Served> Clone for McpService<S> {
    fn clone(&self) -> Self {
        McpService { inner: self.inner.clone() }
    }
}

impl<S: Served> McpService<S> {
    pub fn new(served: Arc<S>, settings: ServerSettings) -> McpService<S> {
        let config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true)
            .with_sse_retry(None)
            .with_allowed_hosts(settings.hosts.clone())
            .with_max_request_body_bytes(settings.body_bytes_max);
        let settings = Arc::new(settings);
        let handler = move || Ok(Handler::new(served.clone(), settings.clone()));
        let sessions = Arc::new(NeverSessionManager::default());
        McpService { inner: StreamableHttpService::new(handler, sessions, config) }
    }

    /// Answers one request; nothing fails without an answer. When the body of the answer is
    /// dropped, the call is given up.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<BoxBody<Bytes, Infallible>>
    where
        B: Body + Send + 'static,
        B::Error: Display,
    {
        self.inner.handle(request).await
    }
}

impl<S, B> tower_service::Service<Request<B>> for McpService<S>
where
    S: Served,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Display,
{
    type Response = Response<BoxBody<Bytes, Infallible>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.handle(request).await) })
    }
}
