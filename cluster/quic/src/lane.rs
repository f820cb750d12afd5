//! Lanes: long-lived streams with a bounded queue before the one end and the inbox behind the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf, BytesMut};
use headwater_cluster::{Envelope, NodeId};
use quinn::{Connection, RecvStream};
use tokio::sync::mpsc;

use crate::frame::{FrameError, LaneFrame, put_envelope};
use crate::inbox::Inbox;

/// Small envelopes are written together up to this many bytes.
const BATCH_BYTES: usize = 64 << 10;
const BATCH_ENVELOPES: usize = 128;
/// Payload bytes that may wait for one lane, whatever the number of envelopes.
const QUEUE_BYTES_MAX: usize = 16 << 20;

/// The near end of a lane.
pub(crate) struct LaneSender {
    queue: mpsc::Sender<Envelope>,
    queued_bytes: Arc<AtomicUsize>,
}

/// What a lane's writing task takes.
pub(crate) struct LaneQueue {
    queue: mpsc::Receiver<Envelope>,
    queued_bytes: Arc<AtomicUsize>,
}

/// Why an envelope was not taken.
pub(crate) enum NotTaken {
    Full,
    Ended,
}

pub(crate) fn lane(envelopes: usize) -> (LaneSender, LaneQueue) {
    let (sender, receiver) = mpsc::channel(envelopes);
    let queued_bytes = Arc::new(AtomicUsize::new(0));
    let near = LaneSender { queue: sender, queued_bytes: Arc::clone(&queued_bytes) };
    (near, LaneQueue { queue: receiver, queued_bytes })
}

impl LaneSender {
    /// Queues the envelope, or says at once that it cannot.
    pub(crate) fn offer(&self, envelope: Envelope) -> Result<(), NotTaken> {
        let bytes = envelope.payload.len();
        let before = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        // A lone envelope always fits, however large.
        let offered = if before > 0 && before + bytes > QUEUE_BYTES_MAX {
            Err(NotTaken::Full)
        } else {
            self.queue.try_send(envelope).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => NotTaken::Full,
                mpsc::error::TrySendError::Closed(_) => NotTaken::Ended,
            })
        };
        if offered.is_err() {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        offered
    }
}

/// Writes what is queued until the connection ends. An error means that the peer broke the lane.
pub(crate) async fn write(connection: Connection, mut lane: LaneQueue) -> Result<(), FrameError> {
    let Ok(mut stream) = connection.open_uni().await else { return Ok(()) };
    let mut batch = Vec::with_capacity(BATCH_ENVELOPES);
    let mut buffer = BytesMut::with_capacity(BATCH_BYTES);
    while lane.queue.recv_many(&mut batch, BATCH_ENVELOPES).await > 0 {
        let mut written = 0;
        let mut envelopes = batch.drain(..).peekable();
        while let Some(envelope) = envelopes.next() {
            written += envelope.payload.len();
            put_envelope(&mut buffer, &envelope);
            if buffer.len() < BATCH_BYTES && envelopes.peek().is_some() {
                continue;
            }
            match stream.write_chunk(buffer.split().freeze()).await {
                Ok(()) => {}
                Err(quinn::WriteError::ConnectionLost(_)) => return Ok(()),
                Err(_) => return Err(FrameError::LaneEnded),
            }
            lane.queued_bytes.fetch_sub(std::mem::take(&mut written), Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Reads envelopes into the inbox until the connection ends. An error means that the peer broke
/// the protocol.
pub(crate) async fn read(
    mut stream: RecvStream,
    (from, to): (NodeId, NodeId),
    payload_bytes: usize,
    inbox: &Inbox,
) -> Result<(), FrameError> {
    let mut buffer = BytesMut::new();
    loop {
        while let Some(frame) = LaneFrame::decode(&buffer, payload_bytes)? {
            buffer.advance(frame.wire_bytes());
            let LaneFrame { lane, sequence, payload } = frame;
            let (from, to) = (from.clone(), to.clone());
            inbox.push(Envelope { from, to, lane, sequence, payload }).await;
        }
        match stream.read_chunk(BATCH_BYTES, true).await {
            Ok(Some(chunk)) => buffer.extend_from_slice(&chunk.bytes),
            Err(quinn::ReadError::ConnectionLost(_)) => return Ok(()),
            Ok(None) if !buffer.is_empty() => return Err(FrameError::Truncated),
            Ok(None) | Err(_) => return Err(FrameError::LaneEnded),
        }
    }
}
