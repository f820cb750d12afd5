//! The two halves of a QUIC stream as h3 wants them, over quinn's.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use h3::error::Code;
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf};
use quinn::{ConnectionError, ReadError, VarInt, WriteError};

use super::meter::Meter;

/// What one read takes at most, in bytes.
const CHUNK_BYTES: usize = 64 << 10;
/// What a client may send on one stream of one direction in all its life, in bytes. HTTP/3 needs
/// little there, and a client that needs more may connect again.
const OTHER_BYTES_MAX: u64 = 1 << 20;

/// The server's half. Dropped unfinished it is reset: quinn would end it as if it were whole.
pub(super) struct SendStream {
    stream: quinn::SendStream,
    writing: Option<WriteBuf<Bytes>>,
    /// Whether it belongs to a request whose head is still being read.
    heading: bool,
    written: bool,
    over: bool,
}

impl SendStream {
    pub(super) fn new(stream: quinn::SendStream, heading: bool) -> SendStream {
        SendStream { stream, writing: None, heading, written: false, over: false }
    }

    pub(super) fn head_is_done(&mut self) {
        self.heading = false;
    }

    /// Resolves when the client stopped the stream, has all of it, or is gone.
    pub(super) fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let stopped = self.stream.stopped();
        async move {
            let _ = stopped.await;
        }
    }
}

impl quic::SendStream<Bytes> for SendStream {
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        if let Some(data) = &mut self.writing {
            while data.has_remaining() {
                let write = Pin::new(&mut self.stream).poll_write(context, data.chunk());
                let written = ready!(write).map_err(write_error)?;
                self.written = true;
                data.advance(written);
            }
        }
        self.writing = None;
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        if self.writing.is_some() {
            let problem = "a write before the one before was over".to_owned();
            let connection_error = ConnectionErrorIncoming::InternalError(problem);
            return Err(StreamErrorIncoming::ConnectionErrorIncoming { connection_error });
        }
        self.writing = Some(data.into());
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.over = true;
        let finished = self.stream.finish();
        Poll::Ready(finished.map_err(|error| StreamErrorIncoming::Unknown(Box::new(error))))
    }

    fn reset(&mut self, code: u64) {
        self.over = true;
        let _ = self.stream.reset(varint(code));
    }

    fn send_id(&self) -> StreamId {
        id(self.stream.id().into())
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        match (self.heading, self.written) {
            // h3 itself answered with "431 Request Header Fields Too Large", which is whole.
            (true, true) => {}
            (true, false) => quic::SendStream::reset(self, Code::H3_REQUEST_INCOMPLETE.value()),
            (false, _) => quic::SendStream::reset(self, Code::H3_INTERNAL_ERROR.value()),
        }
    }
}

/// The client's half. Dropped before its end it tells the client to send no more.
pub(super) struct RecvStream {
    stream: quinn::RecvStream,
    bound: Bound,
}

/// What keeps h3 from holding too much of a stream.
pub(super) enum Bound {
    Request(Arc<Meter>),
    Other { connection: quinn::Connection, read: u64 },
}

impl RecvStream {
    pub(super) fn new(stream: quinn::RecvStream, bound: Bound) -> RecvStream {
        RecvStream { stream, bound }
    }

    pub(super) fn may_read(&self) -> bool {
        match &self.bound {
            Bound::Request(meter) => meter.may_read(),
            Bound::Other { read, .. } => *read < OTHER_BYTES_MAX,
        }
    }

    fn count(&mut self, chunk: Option<&Bytes>) {
        match (&mut self.bound, chunk) {
            (Bound::Request(meter), Some(chunk)) => meter.read(chunk),
            (Bound::Request(meter), None) => meter.end(),
            (Bound::Other { read, .. }, Some(chunk)) => *read += chunk.len() as u64,
            (Bound::Other { .. }, None) => {}
        }
    }
}

impl quic::RecvStream for RecvStream {
    type Buf = Bytes;

    fn poll_data(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        if !self.may_read() {
            if let Bound::Other { connection, .. } = &self.bound {
                connection.close(code(Code::H3_EXCESSIVE_LOAD), b"");
            }
            // A body that sees nothing come asks its meter why.
            return Poll::Pending;
        }
        let read = pin!(self.stream.read_chunk(CHUNK_BYTES, true)).poll(context);
        let chunk = ready!(read).map_err(read_error)?.map(|chunk| chunk.bytes);
        self.count(chunk.as_ref());
        Poll::Ready(Ok(chunk))
    }

    fn stop_sending(&mut self, code: u64) {
        let _ = self.stream.stop(varint(code));
    }

    fn recv_id(&self) -> StreamId {
        id(self.stream.id().into())
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        // A request without a body has ended already; only its end was not read.
        let mut context = Context::from_waker(Waker::noop());
        let end = pin!(self.stream.read_chunk(CHUNK_BYTES, true)).poll(&mut context);
        if !matches!(end, Poll::Ready(Ok(None))) {
            let _ = self.stream.stop(code(Code::H3_NO_ERROR));
        }
    }
}

/// A code as QUIC carries it.
pub(super) fn code(code: Code) -> VarInt {
    varint(code.value())
}

fn varint(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

/// QUIC's own numbers always fit, and 0 does.
fn id(number: u64) -> StreamId {
    StreamId::try_from(number).unwrap_or_else(|_| id(0))
}

pub(super) fn connection_error(error: ConnectionError) -> ConnectionErrorIncoming {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            ConnectionErrorIncoming::ApplicationClose { error_code: close.error_code.into() }
        }
        ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        error => ConnectionErrorIncoming::Undefined(Arc::new(error)),
    }
}

pub(super) fn stream_lost(error: ConnectionError) -> StreamErrorIncoming {
    StreamErrorIncoming::ConnectionErrorIncoming { connection_error: connection_error(error) }
}

fn read_error(error: ReadError) -> StreamErrorIncoming {
    match error {
        ReadError::Reset(code) => {
            StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() }
        }
        ReadError::ConnectionLost(error) => stream_lost(error),
        error => StreamErrorIncoming::Unknown(Box::new(error)),
    }
}

fn write_error(error: WriteError) -> StreamErrorIncoming {
    match error {
        WriteError::Stopped(code) => {
            StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() }
        }
        WriteError::ConnectionLost(error) => stream_lost(error),
        error => StreamErrorIncoming::Unknown(Box::new(error)),
    }
}
