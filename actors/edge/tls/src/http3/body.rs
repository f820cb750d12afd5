//! A request's body, read from its stream as the handler asks.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use h3::error::{Code, StreamError};
use h3::server::RequestStream;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;

use super::meter::{Meter, Standing};
use super::stream::RecvStream;

/// Dropped before its end, it tells the client to send no more.
pub(super) struct RequestBody {
    stream: RequestStream<RecvStream, Bytes>,
    meter: Arc<Meter>,
    /// What the client said that it will send, less what it sent.
    left: Option<u64>,
    over: bool,
    fault: Option<oneshot::Sender<Code>>,
}

impl RequestBody {
    /// The body, and what resolves with the reason to end the request when its client breaks it
    /// off or breaks the rules.
    pub(super) fn new(
        stream: RequestStream<RecvStream, Bytes>,
        meter: Arc<Meter>,
        length: Option<u64>,
    ) -> (RequestBody, oneshot::Receiver<Code>) {
        let (fault, faulted) = oneshot::channel();
        let over = length == Some(0);
        (RequestBody { stream, meter, left: length, over, fault: Some(fault) }, faulted)
    }

    fn fail(&mut self, code: Code, problem: &str) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.over = true;
        if let Some(fault) = self.fault.take() {
            // The request may be over already.
            let _ = fault.send(code);
        }
        Poll::Ready(Some(Err(io::Error::other(problem))))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        loop {
            // The reading borrows the stream, so that its outcome leaves it first.
            let read = match this.stream.poll_recv_data(context) {
                Poll::Pending => None,
                Poll::Ready(Ok(data)) => Some(Ok(data.map(|mut data| {
                    let bytes = data.remaining();
                    data.copy_to_bytes(bytes)
                }))),
                Poll::Ready(Err(error)) => Some(Err(error)),
            };
            match read {
                None if this.meter.was_refused() => {
                    return this.fail(Code::H3_EXCESSIVE_LOAD, "a frame is too large");
                }
                None => return Poll::Pending,
                Some(Ok(Some(data))) => {
                    this.meter.take(data.len());
                    match this.left.map(|left| left.checked_sub(data.len() as u64)) {
                        Some(None) => {
                            return this.fail(Code::H3_MESSAGE_ERROR, "longer than it should be");
                        }
                        left => this.left = left.flatten(),
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Ok(None)) => match this.meter.standing() {
                    Standing::Open => {}
                    Standing::CutOff => return this.fail(Code::H3_FRAME_ERROR, "cut off"),
                    Standing::Whole if this.left.is_some_and(|left| left > 0) => {
                        return this.fail(Code::H3_MESSAGE_ERROR, "shorter than it should be");
                    }
                    Standing::Whole => {
                        this.over = true;
                        return Poll::Ready(None);
                    }
                },
                Some(Err(StreamError::RemoteTerminate { .. })) => {
                    return this.fail(Code::H3_REQUEST_CANCELLED, "the client broke it off");
                }
                Some(Err(error)) => {
                    let problem = error.to_string();
                    return this.fail(Code::H3_REQUEST_INCOMPLETE, &problem);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
