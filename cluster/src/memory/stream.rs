//! The double's streams: two pipes of bounded length between two nodes.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;

use crate::member::NodeId;
use crate::transport::{ByteStream, StreamBroken};

use super::MemoryNetwork;

/// Both directions of one stream; end 0 opened it, end 1 accepts it.
pub(super) struct Pipes {
    /// The nodes at the ends, and which joining of them.
    pub(super) ends: [(NodeId, u64); 2],
    /// What each end wrote and the other has not read.
    written: [Pipe; 2],
    dropped: [bool; 2],
    broken: Option<StreamBroken>,
    capacity_bytes: usize,
    wakers: Vec<Waker>,
}

#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    finished: bool,
}

impl Pipes {
    pub(super) fn new(ends: [(NodeId, u64); 2], capacity_bytes: usize) -> Pipes {
        Pipes {
            ends,
            written: Default::default(),
            dropped: [false; 2],
            broken: None,
            capacity_bytes,
            wakers: Vec::new(),
        }
    }

    /// The first cause stays.
    pub(super) fn break_off(&mut self, cause: &StreamBroken, woken: &mut Vec<Waker>) {
        self.broken.get_or_insert_with(|| cause.clone());
        woken.append(&mut self.wakers);
    }

    fn wait<T>(&mut self, context: &Context<'_>) -> Poll<T> {
        if !self.wakers.iter().any(|known| known.will_wake(context.waker())) {
            self.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }

    fn write(&mut self, end: usize, bytes: &mut &[u8]) -> Result<usize, StreamBroken> {
        if let Some(cause) = &self.broken {
            return Err(cause.clone());
        }
        if self.dropped[1 - end] || self.written[end].finished {
            return Err(StreamBroken::Cancelled);
        }
        let pipe = &mut self.written[end];
        let taken = bytes.len().min(self.capacity_bytes - pipe.bytes.len());
        let (now, later) = bytes.split_at(taken);
        pipe.bytes.extend(now);
        *bytes = later;
        Ok(taken)
    }

    /// `None` at the end, and no bytes when none wait.
    fn read(&mut self, end: usize) -> Result<Option<Vec<u8>>, StreamBroken> {
        if let Some(cause) = &self.broken {
            return Err(cause.clone());
        }
        let pipe = &mut self.written[1 - end];
        // What the other end finished before it left is whole.
        if self.dropped[1 - end] && !pipe.finished {
            return Err(StreamBroken::Cancelled);
        }
        let bytes: Vec<u8> = pipe.bytes.drain(..).collect();
        Ok((!bytes.is_empty() || !pipe.finished).then_some(bytes))
    }

    /// True when no end is left.
    pub(super) fn drop_end(&mut self, end: usize, woken: &mut Vec<Waker>) -> bool {
        self.dropped[end] = true;
        woken.append(&mut self.wakers);
        self.dropped == [true; 2]
    }
}

/// One end of a stream.
pub(super) struct MemoryStream {
    network: MemoryNetwork,
    id: u64,
    end: usize,
}

impl MemoryStream {
    pub(super) fn opener(network: MemoryNetwork, id: u64) -> MemoryStream {
        MemoryStream { network, id, end: 0 }
    }

    pub(super) fn acceptor(network: MemoryNetwork, id: u64) -> MemoryStream {
        MemoryStream { network, id, end: 1 }
    }

    pub(super) fn boxed(self) -> Box<dyn ByteStream> {
        Box::new(self)
    }

    /// Looks at the pipes once. What `step` moves to the list is woken afterwards.
    fn step<T>(&self, step: impl FnOnce(&mut Pipes, &mut Vec<Waker>) -> Step<T>) -> Step<T> {
        self.network.change(|links| match links.streams.get_mut(&self.id) {
            Some(pipes) => step(pipes, &mut links.woken),
            None => Poll::Ready(Err(StreamBroken::Cancelled)),
        })
    }
}

type Step<T> = Poll<Result<T, StreamBroken>>;

#[async_trait]
impl ByteStream for MemoryStream {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), StreamBroken> {
        let mut rest = bytes;
        poll_fn(|context| {
            self.step(|pipes, woken| {
                if pipes.write(self.end, &mut rest)? > 0 {
                    woken.append(&mut pipes.wakers);
                }
                if rest.is_empty() { Poll::Ready(Ok(())) } else { pipes.wait(context) }
            })
        })
        .await
    }

    async fn finish(&mut self) -> Result<(), StreamBroken> {
        self.network.change(|links| {
            let pipes = links.streams.get_mut(&self.id).ok_or(StreamBroken::Cancelled)?;
            if let Some(cause) = &pipes.broken {
                return Err(cause.clone());
            }
            pipes.written[self.end].finished = true;
            links.woken.append(&mut pipes.wakers);
            Ok(())
        })
    }

    async fn read(&mut self) -> Result<Option<Vec<u8>>, StreamBroken> {
        poll_fn(|context| {
            self.step(|pipes, woken| match pipes.read(self.end)? {
                Some(bytes) if bytes.is_empty() => pipes.wait(context),
                output => {
                    woken.append(&mut pipes.wakers);
                    Poll::Ready(Ok(output))
                }
            })
        })
        .await
    }
}

impl Drop for MemoryStream {
    fn drop(&mut self) {
        self.network.change(|links| links.drop_end(self.id, self.end));
    }
}
