//! A model that answers at once: the same words each time, whole or as a stream of 20 parts.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::serve::ListenerExt;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::net::TcpListener;
use tower::service_fn;

use crate::failure::Failure;

/// Parts of a streamed answer.
const PARTS: usize = 20;

/// Where it listens; it ends with the process.
pub(super) async fn start() -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(Failure::broken)?;
    let address = listener.local_addr().map_err(Failure::broken)?;
    let (whole, streamed) = (whole(), streamed());
    let service = service_fn(move |request: Request| {
        let (whole, streamed) = (whole.clone(), streamed.clone());
        async move {
            let body = request.into_body().collect().await.map(|body| body.to_bytes());
            let body = body.unwrap_or_default();
            let is_stream = body.windows(14).any(|part| part == b"\"stream\":true,")
                || body.ends_with(b"\"stream\":true}");
            let (kind, text) = match is_stream {
                true => ("text/event-stream", streamed),
                false => ("application/json", whole),
            };
            let mut response = Response::new(Body::from(text));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            Ok::<_, Infallible>(response)
        }
    });
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    tokio::spawn(async move {
        let _ = axum::serve(listener, Router::new().fallback_service(service)).await;
    });
    Ok(address)
}

fn usage() -> serde_json::Value {
    json!({"prompt_tokens": 12, "completion_tokens": PARTS, "total_tokens": 12 + PARTS})
}

fn whole() -> String {
    let words = vec!["word"; PARTS].join(" ");
    let message = json!({"role": "assistant", "content": words});
    let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
    json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "mock",
        "choices": [choice], "usage": usage()})
    .to_string()
}

fn streamed() -> String {
    let part = |delta: serde_json::Value, reason: Option<&str>| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": reason});
        json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "mock",
            "choices": [choice]})
    };
    let mut parts = vec![part(json!({"role": "assistant", "content": ""}), None)];
    parts.extend((0..PARTS).map(|_| part(json!({"content": "word "}), None)));
    parts.push(part(json!({}), Some("stop")));
    parts.push(json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
        "model": "mock", "choices": [], "usage": usage()}));
    let events: String = parts.iter().map(|part| format!("data: {part}\n\n")).collect();
    format!("{events}data: [DONE]\n\n")
}
