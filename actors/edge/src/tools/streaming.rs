//! A stream of events that carries the work it tells of: whoever drops it ends the work.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_core::Stream;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::chat::event_stream;

/// An answer of what comes in while the work goes on.
pub(super) fn streamed(
    work: impl Future<Output = ()> + Send + 'static,
    incoming: UnboundedReceiver<Bytes>,
) -> Response {
    let frames = Frames { work: Some(Box::pin(work)), incoming };
    event_stream(Body::new(StreamBody::new(frames)))
}

/// See the module.
struct Frames {
    /// None once it has ended.
    work: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    incoming: UnboundedReceiver<Bytes>,
}

impl Stream for Frames {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(work) = &mut self.work
            && work.as_mut().poll(context).is_ready()
        {
            self.work = None;
        }
        match self.incoming.poll_recv(context) {
            Poll::Ready(Some(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending if self.work.is_none() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}
