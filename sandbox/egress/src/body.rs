//! Bodies that are counted, waited for and covered as they pass.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::blank::Blank;
use crate::meter::Flow;
use crate::record::Record;
use crate::refusal::Refusal;

/// Why a body ended early.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request or an answer.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// A body without bytes.
#[must_use]
pub fn empty() -> Body {
    full(Bytes::new())
}

/// A body of these bytes.
#[must_use]
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// How long a body may take.
#[derive(Clone, Copy)]
pub(crate) struct Waits {
    pub(crate) idle_ms: u64,
    pub(crate) until: Instant,
}

/// A body on its way, one record beside it; `keep` lives as long as the body does.
pub(crate) struct Passing<B, K> {
    inner: B,
    flow: Flow,
    record: Arc<Record>,
    blank: Blank,
    waits: Waits,
    sleep: Pin<Box<Sleep>>,
    done: bool,
    _keep: K,
}

impl<B, K> Passing<B, K>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BodyError>,
    K: Send + Unpin + 'static,
{
    pub(crate) fn boxed(
        inner: B,
        flow: Flow,
        record: Arc<Record>,
        blank: Blank,
        waits: Waits,
        keep: K,
    ) -> Body {
        let sleep = Box::pin(sleep_until(next(waits)));
        Self { inner, flow, record, blank, waits, sleep, done: false, _keep: keep }.boxed_unsync()
    }

    fn end(&mut self, refusal: Refusal) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.done = true;
        self.record.refused(&refusal);
        Poll::Ready(Some(Err(refusal.into())))
    }

    fn finish(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.done = true;
        if self.flow == Flow::In {
            self.record.whole();
        }
        let held = self.blank.finish();
        if held.is_empty() {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(held.into()))))
    }
}

fn next(waits: Waits) -> Instant {
    (Instant::now() + Duration::from_millis(waits.idle_ms)).min(waits.until)
}

impl<B, K> HttpBody for Passing<B, K>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BodyError>,
    K: Send + Unpin + 'static,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            if this.done {
                return Poll::Ready(None);
            }
            let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) else {
                if this.sleep.as_mut().poll(context).is_ready() {
                    return this.end(Refusal::Deadline("waiting for more of the body"));
                }
                return Poll::Pending;
            };
            let until = next(this.waits);
            this.sleep.as_mut().reset(until);
            let data = match frame {
                None => return this.finish(),
                Some(Err(_)) => return this.end(Refusal::Broken),
                // Trailers end here: a secret could come back in them, and nobody reads them.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(_) => continue,
                },
            };
            if let Err(refusal) = this.record.pass(this.flow, data.len()) {
                return this.end(refusal);
            }
            // A body of known length is not asked for its end.
            if this.flow == Flow::In && this.inner.is_end_stream() {
                this.record.whole();
            }
            if this.blank.is_idle() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            let covered = this.blank.push(&data);
            if !covered.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(covered.into()))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        false
    }

    fn size_hint(&self) -> SizeHint {
        if self.blank.is_idle() { self.inner.size_hint() } else { SizeHint::default() }
    }
}
