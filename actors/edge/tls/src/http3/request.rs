//! One request: its head checked, its handler run, its answer sent part by part.

use std::pin::{Pin, pin};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::{Body, HttpBody};
use bytes::Bytes;
use h3::error::{Code, StreamError};
use h3::server::{RequestResolver, RequestStream};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderName, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, request};
use tokio::time::timeout;
use tower_service::Service;

use super::body::RequestBody;
use super::quic::{Connection, Line};
use super::stream::SendStream;

/// How long the fields of a request may take to arrive.
const HEAD: Duration = Duration::from_secs(30);
/// Fields that speak of a connection of HTTP/1.1; in HTTP/3 they break the rules.
const OF_CONNECTIONS: [HeaderName; 5] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Why a request ended without the whole of its answer.
enum Cut {
    /// The client stopped the stream or is gone.
    Cancelled,
    /// The client broke the rules, or its body off.
    Faulted(Code),
    /// The handler's body failed in the middle.
    Broken(String),
    Stream(StreamError),
}

/// Answers one request. Returns when the client has all of the answer, or is gone.
pub(super) async fn answer(
    head: RequestResolver<Connection, Bytes>,
    line: Line,
    mut router: Router,
) {
    let (request, mut stream) = match timeout(HEAD, head.resolve_request()).await {
        Ok(Ok(resolved)) => resolved,
        Ok(Err(error)) => return tracing::debug!(%error, "a request was refused"),
        Err(_) => return tracing::debug!("a request's fields took too long"),
    };
    let (parts, ()) = request.into_parts();
    let Some(length) = check(&parts) else {
        tracing::debug!("a request was malformed");
        stream.stop_sending(Code::H3_MESSAGE_ERROR);
        return stream.stop_stream(Code::H3_MESSAGE_ERROR);
    };
    let (mut answer, rest) = stream.split();
    let (body, mut faulted) = RequestBody::new(rest, line.meter, length);
    let request = Request::from_parts(parts, Body::new(body));
    let mut stopped = line.stopped;
    let outcome = tokio::select! {
        biased;
        // A body that is dropped reports no fault, and is not waited for.
        Ok(code) = &mut faulted => Err(Cut::Faulted(code)),
        () = &mut stopped => Err(Cut::Cancelled),
        sent = send(&mut router, request, &mut answer) => match faulted.try_recv() {
            // What the handler made of a body that broke the rules is no answer.
            Ok(code) => Err(Cut::Faulted(code)),
            Err(_) => sent,
        },
    };
    // Here the handler and its body are dropped, however it went.
    let code = match outcome {
        // Closing before the client has everything would take the rest from it.
        Ok(()) => return stopped.await,
        Err(Cut::Cancelled) => Code::H3_REQUEST_CANCELLED,
        Err(Cut::Faulted(code)) => code,
        Err(Cut::Broken(error)) => {
            tracing::debug!(%error, "an answer broke off");
            Code::H3_INTERNAL_ERROR
        }
        Err(Cut::Stream(error)) => {
            tracing::debug!(%error, "an answer could not be sent");
            Code::H3_INTERNAL_ERROR
        }
    };
    answer.stop_stream(code);
}

/// The length that the request says its body has; nothing when the request breaks the rules that
/// h3 leaves to its user (RFC 9114, sections 4.2 and 4.3.1).
fn check(request: &request::Parts) -> Option<Option<u64>> {
    let (uri, fields) = (&request.uri, &request.headers);
    let aimed = uri.scheme().is_some() && uri.path_and_query().is_some();
    let of_connections = OF_CONNECTIONS.iter().any(|name| fields.contains_key(name))
        || fields.get_all(TE).iter().any(|value| value != "trailers");
    if of_connections || (!aimed && request.method != Method::CONNECT) {
        return None;
    }
    let mut lengths = fields.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Some(None),
        (Some(length), None) => digits(length).map(Some),
        (Some(_), Some(_)) => None,
    }
}

/// Digits only: the standard parser would take a sign, too.
fn digits(value: &HeaderValue) -> Option<u64> {
    let value = value.to_str().ok()?;
    value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse().ok())?
}

async fn send(
    router: &mut Router,
    request: Request<Body>,
    stream: &mut RequestStream<SendStream, Bytes>,
) -> Result<(), Cut> {
    let Ok(response) = router.call(request).await;
    let (mut head, body) = response.into_parts();
    complete(&mut head.headers);
    stream.send_response(Response::from_parts(head, ())).await.map_err(Cut::Stream)?;
    let mut body = pin!(body);
    while let Some(frame) = next_frame(body.as_mut()).await {
        let frame = frame.map_err(|error| Cut::Broken(error.to_string()))?;
        if let Ok(data) = frame.into_data()
            && !data.is_empty()
        {
            stream.send_data(data).await.map_err(Cut::Stream)?;
        }
    }
    stream.finish().await.map_err(Cut::Stream)
}

async fn next_frame(
    mut body: Pin<&mut Body>,
) -> Option<Result<http_body::Frame<Bytes>, axum::Error>> {
    std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await
}

/// What hyper does for the other versions: nothing of connections goes out, and every answer
/// says when it was made.
fn complete(fields: &mut HeaderMap) {
    for name in &OF_CONNECTIONS {
        fields.remove(name);
    }
    if !fields.contains_key(DATE)
        && let Ok(now) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now()))
    {
        fields.insert(DATE, now);
    }
}
