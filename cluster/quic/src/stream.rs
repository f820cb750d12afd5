//! A stream of its own for one long request, on one QUIC stream.

use async_trait::async_trait;
use headwater_cluster::{ByteStream, StreamBroken};
use quinn::{ConnectionError, ReadError, RecvStream, SendStream, VarInt, WriteError};

use crate::frame::STREAM_REQUEST;
use crate::refusal::Refusal;

const CHUNK_BYTES: usize = 64 << 10;
/// The code of a reset or stop: the request was given up.
const CANCELLED: VarInt = VarInt::from_u32(1);

pub(crate) struct QuicStream {
    send: SendStream,
    receive: RecvStream,
    is_finished: bool,
    is_read: bool,
}

impl QuicStream {
    pub(crate) fn new(send: SendStream, receive: RecvStream) -> QuicStream {
        QuicStream { send, receive, is_finished: false, is_read: false }
    }

    /// Writes the first byte: only then does the other side see the stream.
    pub(crate) async fn open(
        send: SendStream,
        receive: RecvStream,
    ) -> Result<QuicStream, StreamBroken> {
        let mut stream = QuicStream::new(send, receive);
        stream.write(&[STREAM_REQUEST]).await?;
        Ok(stream)
    }

    /// The first byte, which says what the stream is for.
    pub(crate) async fn kind(&mut self) -> Option<u8> {
        let mut kind = [0];
        self.receive.read_exact(&mut kind).await.ok()?;
        Some(u8::from_be_bytes(kind))
    }
}

#[async_trait]
impl ByteStream for QuicStream {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), StreamBroken> {
        self.send.write_all(bytes).await.map_err(not_written)
    }

    async fn finish(&mut self) -> Result<(), StreamBroken> {
        if !self.is_finished {
            // Quinn refuses only when the other side has stopped the stream.
            self.send.finish().map_err(|_| StreamBroken::Cancelled)?;
            self.is_finished = true;
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<Option<Vec<u8>>, StreamBroken> {
        if self.is_read {
            return Ok(None);
        }
        match self.receive.read_chunk(CHUNK_BYTES, true).await {
            Ok(Some(chunk)) => Ok(Some(chunk.bytes.to_vec())),
            Ok(None) => {
                self.is_read = true;
                Ok(None)
            }
            Err(ReadError::ConnectionLost(error)) => Err(lost(error)),
            Err(_) => Err(StreamBroken::Cancelled),
        }
    }
}

impl Drop for QuicStream {
    /// Quinn alone would finish the stream, and the other side take half a request for the whole.
    /// Both calls fail only on a direction that has ended.
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = self.send.reset(CANCELLED);
        }
        if !self.is_read {
            let _ = self.receive.stop(CANCELLED);
        }
    }
}

fn not_written(error: WriteError) -> StreamBroken {
    match error {
        WriteError::ConnectionLost(error) => lost(error),
        _ => StreamBroken::Cancelled,
    }
}

fn lost(error: ConnectionError) -> StreamBroken {
    StreamBroken::LinkLost(Refusal::from(error).to_string())
}
