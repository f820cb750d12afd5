//! Answers that come part by part, as server-sent events.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_core::Stream;
use headwater_actors::gateway::{Answer, AnswerStream, Chunk, GatewayError};
use http_body::Frame;

use super::name_served;
use crate::error::ApiError;

/// Tells an answer in a client's protocol.
pub(super) trait Writer: Send + Unpin + 'static {
    /// What a chunk is to the client; nothing for some.
    ///
    /// # Errors
    /// When the protocol has no words for it; the answer is broken off then.
    fn chunk(&mut self, chunk: Chunk, out: &mut String) -> Result<(), GatewayError>;

    /// The end of a whole answer.
    fn end(&mut self, out: &mut String);

    /// The last that is said of an answer that broke off.
    fn error(&mut self, error: ApiError, out: &mut String);
}

/// Writes one event.
pub(super) fn event(name: Option<&str>, data: &str, out: &mut String) {
    if let Some(name) = name {
        out.push_str("event: ");
        out.push_str(name);
        out.push('\n');
    }
    for line in data.lines() {
        out.push_str("data: ");
        out.push_str(line);
        out.push('\n');
    }
    out.push('\n');
}

/// The answer as a stream. Its body holds the gateway's stream, so that a client that leaves
/// cancels the work.
pub(super) fn respond(answer: Answer, writer: impl Writer) -> Response {
    let Answer { served, chunks, .. } = answer;
    let state = State::Running(Box::new(chunks));
    let mut response = event_stream(Body::new(Events { state, writer }));
    name_served(response.headers_mut(), &served);
    response
}

/// An answer of server-sent events.
pub(crate) fn event_stream(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Proxies that gather answers let this one through as it comes.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

struct Events<W> {
    state: State,
    writer: W,
}

enum State {
    Running(Box<AnswerStream>),
    /// The error has been written, and has to reach the client before the connection breaks.
    Told,
    /// To be broken off, so that no client takes the answer for whole.
    Broken,
    Ended,
}

/// An answer that is not whole.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
struct BrokenOff;

impl<W: Writer> Events<W> {
    /// The next text to send; none at the end.
    fn poll_text(&mut self, context: &mut Context<'_>) -> Poll<Option<String>> {
        let mut out = String::new();
        while out.is_empty() {
            let State::Running(chunks) = &mut self.state else { return Poll::Ready(None) };
            let written = match ready!(Pin::new(&mut **chunks).poll_next(context)) {
                Some(Ok(chunk)) => self.writer.chunk(chunk, &mut out),
                Some(Err(error)) => Err(error),
                None => {
                    self.state = State::Ended;
                    self.writer.end(&mut out);
                    Ok(())
                }
            };
            if let Err(error) = written {
                self.state = State::Told;
                self.writer.error(ApiError::from_gateway(error), &mut out);
            }
        }
        Poll::Ready(Some(out))
    }
}

impl<W: Writer> HttpBody for Events<W> {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match self.state {
            State::Running(_) => {
                let text = ready!(self.poll_text(context));
                Poll::Ready(text.map(|text| Ok(Frame::data(Bytes::from(text)))))
            }
            State::Told => {
                // The server sends what it has gathered when there is nothing more for now.
                self.state = State::Broken;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            State::Broken => {
                self.state = State::Ended;
                Poll::Ready(Some(Err(BrokenOff)))
            }
            State::Ended => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Ended)
    }
}
