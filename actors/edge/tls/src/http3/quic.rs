//! QUIC as h3 wants it, over quinn.
//!
//! The crate h3-quinn does this, too, but keeps quinn's streams to itself. Here a request can
//! watch its stream being stopped, a stream that is dropped unfinished is reset instead of ended
//! as if it were whole, and what h3 reads ahead is bounded.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h3::error::Code;
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf};
use quinn::ConnectionError;

use super::meter::Meter;
use super::stream::{Bound, RecvStream, SendStream, code, connection_error, stream_lost};

type Opening<T> = Pin<Box<dyn Future<Output = Result<T, ConnectionError>> + Send>>;
type Both = (quinn::SendStream, quinn::RecvStream);

/// Between a connection's transport and its requests: h3 hands on neither of these.
#[derive(Default)]
pub(super) struct Door {
    closed: AtomicBool,
    entered: Mutex<Option<Line>>,
}

/// What a request needs to know of its stream.
pub(super) struct Line {
    /// Resolves when the client stopped the stream, has all of the answer, or is gone.
    pub(super) stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
    pub(super) meter: Arc<Meter>,
}

impl Door {
    /// From now on the transport rejects new requests, which a client may then repeat elsewhere.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// The line of the request that h3 accepted last.
    pub(super) fn entered(&self) -> Option<Line> {
        self.entered.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn enter(&self, stream: &BidiStream, meter: Arc<Meter>) {
        let stopped = stream.send.stopped();
        let stopped = Box::pin(async move {
            let _ = stopped.await;
        });
        let line = Line { stopped, meter };
        *self.entered.lock().unwrap_or_else(PoisonError::into_inner) = Some(line);
    }
}

pub(super) struct Connection {
    opener: Opener,
    requests: Option<Opening<Both>>,
    others: Option<Opening<quinn::RecvStream>>,
    door: Arc<Door>,
}

impl Connection {
    pub(super) fn new(connection: quinn::Connection, door: Arc<Door>) -> Connection {
        Connection { opener: Opener::new(connection), requests: None, others: None, door }
    }
}

impl quic::Connection<Bytes> for Connection {
    type RecvStream = RecvStream;
    type OpenStreams = Opener;

    fn poll_accept_recv(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<RecvStream, ConnectionErrorIncoming>> {
        let connection = &self.opener.connection;
        let start = |connection: quinn::Connection| async move { connection.accept_uni().await };
        let stream = ready!(poll(&mut self.others, connection, start, context));
        let stream = stream.map_err(connection_error)?;
        let bound = Bound::Other { connection: connection.clone(), read: 0 };
        Poll::Ready(Ok(RecvStream::new(stream, bound)))
    }

    fn poll_accept_bidi(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<BidiStream, ConnectionErrorIncoming>> {
        loop {
            let connection = &self.opener.connection;
            let start = |connection: quinn::Connection| async move { connection.accept_bi().await };
            let streams = ready!(poll(&mut self.requests, connection, start, context));
            let meter = Arc::new(Meter::default());
            let mut stream =
                BidiStream::new(streams.map_err(connection_error)?, Arc::clone(&meter));
            if !self.door.closed.load(Ordering::Acquire) {
                self.door.enter(&stream, meter);
                return Poll::Ready(Ok(stream));
            }
            stream.refuse(Code::H3_REQUEST_REJECTED);
        }
    }

    fn opener(&self) -> Opener {
        Opener::new(self.opener.connection.clone())
    }
}

impl quic::OpenStreams<Bytes> for Connection {
    type BidiStream = BidiStream;
    type SendStream = SendStream;

    fn poll_open_bidi(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<BidiStream, StreamErrorIncoming>> {
        self.opener.poll_open_bidi(context)
    }

    fn poll_open_send(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<SendStream, StreamErrorIncoming>> {
        self.opener.poll_open_send(context)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        quic::OpenStreams::<Bytes>::close(&mut self.opener, code, reason);
    }
}

/// Opens streams to the client.
pub(super) struct Opener {
    connection: quinn::Connection,
    bidi: Option<Opening<Both>>,
    send: Option<Opening<quinn::SendStream>>,
}

impl Opener {
    fn new(connection: quinn::Connection) -> Opener {
        Opener { connection, bidi: None, send: None }
    }
}

impl quic::OpenStreams<Bytes> for Opener {
    type BidiStream = BidiStream;
    type SendStream = SendStream;

    fn poll_open_bidi(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<BidiStream, StreamErrorIncoming>> {
        let start = |connection: quinn::Connection| async move { connection.open_bi().await };
        let streams = ready!(poll(&mut self.bidi, &self.connection, start, context));
        let streams = streams.map_err(stream_lost)?;
        Poll::Ready(Ok(BidiStream::new(streams, Arc::default())))
    }

    fn poll_open_send(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<SendStream, StreamErrorIncoming>> {
        let start = |connection: quinn::Connection| async move { connection.open_uni().await };
        let stream = ready!(poll(&mut self.send, &self.connection, start, context));
        let stream = stream.map_err(stream_lost)?;
        Poll::Ready(Ok(SendStream::new(stream, false)))
    }

    fn close(&mut self, reason: Code, words: &[u8]) {
        self.connection.close(code(reason), words);
    }
}

/// Polls what is under way, or starts it.
fn poll<T, F>(
    slot: &mut Option<Opening<T>>,
    connection: &quinn::Connection,
    start: impl FnOnce(quinn::Connection) -> F,
    context: &mut Context<'_>,
) -> Poll<Result<T, ConnectionError>>
where
    F: Future<Output = Result<T, ConnectionError>> + Send + 'static,
{
    let under_way = slot.get_or_insert_with(|| Box::pin(start(connection.clone())));
    let outcome = ready!(under_way.as_mut().poll(context));
    *slot = None;
    Poll::Ready(outcome)
}

/// A request's stream until its head is there.
pub(super) struct BidiStream {
    send: SendStream,
    recv: RecvStream,
}

impl BidiStream {
    fn new((send, recv): Both, meter: Arc<Meter>) -> BidiStream {
        let recv = RecvStream::new(recv, Bound::Request(meter));
        BidiStream { send: SendStream::new(send, true), recv }
    }

    fn refuse(&mut self, reason: Code) {
        quic::RecvStream::stop_sending(&mut self.recv, reason.value());
        quic::SendStream::reset(&mut self.send, reason.value());
    }
}

impl quic::BidiStream<Bytes> for BidiStream {
    type SendStream = SendStream;
    type RecvStream = RecvStream;

    fn split(mut self) -> (SendStream, RecvStream) {
        self.send.head_is_done();
        (self.send, self.recv)
    }
}

impl quic::RecvStream for BidiStream {
    type Buf = Bytes;

    fn poll_data(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        // h3 asks for more because the head is not whole, and nobody waits for it to have less.
        if !self.recv.may_read() {
            self.refuse(Code::H3_EXCESSIVE_LOAD);
            let error_code = Code::H3_EXCESSIVE_LOAD.value();
            return Poll::Ready(Err(StreamErrorIncoming::StreamTerminated { error_code }));
        }
        self.recv.poll_data(context)
    }

    fn stop_sending(&mut self, code: u64) {
        self.recv.stop_sending(code);
    }

    fn recv_id(&self) -> StreamId {
        self.recv.recv_id()
    }
}

impl quic::SendStream<Bytes> for BidiStream {
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_ready(context)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.send.send_data(data)
    }

    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_finish(context)
    }

    fn reset(&mut self, code: u64) {
        self.send.reset(code);
    }

    fn send_id(&self) -> StreamId {
        self.send.send_id()
    }
}
