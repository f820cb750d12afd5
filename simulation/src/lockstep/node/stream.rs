//! One stream between two nodes, with a window in each direction.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use headwater_cluster::{ByteStream, StreamBroken};
use tokio::sync::Notify;

use super::links::SharedLinks;
use crate::lockstep::wire::Passing;

/// Bytes that may be on their way or wait for the reader.
const WINDOW_BYTES: usize = 256 << 10;
/// Longer writes are cut.
const CHUNK_BYTES: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StreamKey {
    pub(super) peer: u8,
    pub(super) stream: u64,
}

pub(super) struct StreamState {
    round: u32,
    /// Whether this side opened it.
    pub(super) is_ours: bool,
    arrived: VecDeque<Vec<u8>>,
    /// The peer has finished; what arrived is the rest.
    peer_finished: bool,
    /// This side has read the peer's end.
    read_to_end: bool,
    /// This side has finished.
    finished: bool,
    may_write: usize,
    reading: Option<StreamBroken>,
    writing: Option<StreamBroken>,
    readable: Arc<Notify>,
    writable: Arc<Notify>,
}

impl StreamState {
    pub(super) fn new(round: u32, is_ours: bool) -> StreamState {
        StreamState {
            round,
            is_ours,
            arrived: VecDeque::new(),
            peer_finished: false,
            read_to_end: false,
            finished: false,
            may_write: WINDOW_BYTES,
            reading: None,
            writing: None,
            readable: Arc::default(),
            writable: Arc::default(),
        }
    }

    pub(super) fn arrived(&mut self, bytes: Vec<u8>) {
        self.arrived.push_back(bytes);
        self.readable.notify_one();
    }

    pub(super) fn taken(&mut self, bytes: usize) {
        self.may_write = (self.may_write + bytes).min(WINDOW_BYTES);
        self.writable.notify_one();
    }

    pub(super) fn finished_by_peer(&mut self) {
        self.peer_finished = true;
        self.readable.notify_one();
    }

    /// The peer reads no more, or writes no more without having finished.
    pub(super) fn given_up_by_peer(&mut self, reading: bool, writing: bool) {
        if reading && !self.finished {
            self.writing.get_or_insert(StreamBroken::Cancelled);
        }
        if writing {
            self.reading.get_or_insert(StreamBroken::Cancelled);
        }
        self.readable.notify_one();
        self.writable.notify_one();
    }

    pub(super) fn break_both(&mut self, why: &StreamBroken) {
        self.reading.get_or_insert_with(|| why.clone());
        self.writing.get_or_insert_with(|| why.clone());
        self.readable.notify_one();
        self.writable.notify_one();
    }
}

/// What a try came to.
enum Tried<T> {
    Done(T),
    Wait(Arc<Notify>),
}

/// The stream's working end: both directions may be used at once.
pub(super) struct StreamEnd {
    links: SharedLinks,
    key: StreamKey,
}

impl StreamEnd {
    pub(super) fn new(links: SharedLinks, key: StreamKey) -> StreamEnd {
        StreamEnd { links, key }
    }

    pub(super) async fn write(&self, bytes: &[u8]) -> Result<(), StreamBroken> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.try_write(rest)? {
                Tried::Done(count) => rest = rest.get(count..).unwrap_or_default(),
                Tried::Wait(writable) => writable.notified().await,
            }
        }
        Ok(())
    }

    fn try_write(&self, bytes: &[u8]) -> Result<Tried<usize>, StreamBroken> {
        let mut state = self.links.lock();
        let Some(stream) = state.streams.get_mut(&self.key) else {
            return Err(StreamBroken::Cancelled);
        };
        if let Some(broken) = &stream.writing {
            return Err(broken.clone());
        }
        let count = bytes.len().min(CHUNK_BYTES).min(stream.may_write);
        if count == 0 {
            return Ok(Tried::Wait(Arc::clone(&stream.writable)));
        }
        stream.may_write -= count;
        let bytes = bytes.get(..count).unwrap_or_default().to_vec();
        let passing = Passing::StreamBytes { stream: self.key.stream, bytes };
        self.links.pass(self.key.peer, stream.round, passing);
        Ok(Tried::Done(count))
    }

    pub(super) fn finish(&self) -> Result<(), StreamBroken> {
        let mut state = self.links.lock();
        let Some(stream) = state.streams.get_mut(&self.key) else {
            return Err(StreamBroken::Cancelled);
        };
        if let Some(broken) = &stream.writing {
            return Err(broken.clone());
        }
        if !stream.finished {
            stream.finished = true;
            let passing = Passing::StreamFinished { stream: self.key.stream };
            self.links.pass(self.key.peer, stream.round, passing);
        }
        Ok(())
    }

    pub(super) async fn read(&self) -> Result<Option<Vec<u8>>, StreamBroken> {
        loop {
            match self.try_read()? {
                Tried::Done(read) => return Ok(read),
                Tried::Wait(readable) => readable.notified().await,
            }
        }
    }

    fn try_read(&self) -> Result<Tried<Option<Vec<u8>>>, StreamBroken> {
        let mut state = self.links.lock();
        let Some(stream) = state.streams.get_mut(&self.key) else {
            return Err(StreamBroken::Cancelled);
        };
        if stream.read_to_end {
            return Ok(Tried::Done(None));
        }
        if let Some(broken) = &stream.reading {
            return Err(broken.clone());
        }
        if let Some(bytes) = stream.arrived.pop_front() {
            let count = bytes.len() as u32;
            let passing = Passing::StreamTaken { stream: self.key.stream, bytes: count };
            self.links.pass(self.key.peer, stream.round, passing);
            return Ok(Tried::Done(Some(bytes)));
        }
        if stream.peer_finished {
            stream.read_to_end = true;
            return Ok(Tried::Done(None));
        }
        Ok(Tried::Wait(Arc::clone(&stream.readable)))
    }
}

impl Drop for StreamEnd {
    fn drop(&mut self) {
        let Some(stream) = self.links.lock().streams.remove(&self.key) else { return };
        let reading = !stream.read_to_end && stream.reading.is_none();
        let writing = !stream.finished && stream.writing.is_none();
        if reading || writing {
            let passing = Passing::StreamGivenUp { stream: self.key.stream, reading, writing };
            self.links.pass(self.key.peer, stream.round, passing);
        }
    }
}

/// The end that a program holds.
pub(super) struct LockstepStream(StreamEnd);

impl LockstepStream {
    pub(super) fn new(links: SharedLinks, key: StreamKey) -> LockstepStream {
        LockstepStream(StreamEnd::new(links, key))
    }
}

#[async_trait]
impl ByteStream for LockstepStream {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), StreamBroken> {
        self.0.write(bytes).await
    }

    async fn finish(&mut self) -> Result<(), StreamBroken> {
        self.0.finish()
    }

    async fn read(&mut self) -> Result<Option<Vec<u8>>, StreamBroken> {
        self.0.read().await
    }
}
