//! The way out: channels of the agent become connections to two sockets of a proxy on the host.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use headwater_sandbox::WayOut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::wire::{Frame, Kind, Order, frame};

/// What either side may send of a channel before the other has passed it on, in bytes.
const WINDOW_BYTES: usize = 1 << 18;
const CHANNELS_MAX: usize = 64;
const PIECE_BYTES: usize = 1 << 14;
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// All open channels of one slot.
pub(crate) struct Relays {
    way_out: Option<WayOut>,
    outbound: UnboundedSender<Vec<u8>>,
    channels: BTreeMap<u32, Channel>,
}

struct Channel {
    to_proxy: UnboundedSender<Vec<u8>>,
    /// Bytes that the guest sent and the proxy has not taken.
    waiting: Arc<AtomicUsize>,
    /// Bytes that the guest may be sent.
    credit: Arc<Semaphore>,
    task: AbortHandle,
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relays {
    pub(crate) fn new(way_out: Option<WayOut>, outbound: UnboundedSender<Vec<u8>>) -> Self {
        Self { way_out, outbound, channels: BTreeMap::new() }
    }

    /// A frame of the agent. What breaks the rules of a channel closes it.
    pub(crate) fn heard(&mut self, frame: Frame) {
        let number = frame.channel;
        let good = match frame.kind {
            Kind::Open => self.open(number, &frame.body),
            Kind::Data => self.data(number, frame.body),
            Kind::Credit => self.credit(number, &frame.body),
            _ => {
                self.channels.remove(&number);
                true
            }
        };
        if !good {
            self.channels.remove(&number);
            drop(self.outbound.send(crate::wire::frame(Order::Close, number, b"")));
        }
    }

    fn open(&mut self, number: u32, which: &[u8]) -> bool {
        self.channels.retain(|_, channel| !channel.task.is_finished());
        let Some(way_out) = &self.way_out else { return false };
        let path = match which {
            [0] => way_out.proxy.clone(),
            [1] => way_out.names.clone(),
            _ => return false,
        };
        if self.channels.len() >= CHANNELS_MAX || self.channels.contains_key(&number) {
            return false;
        }
        let (to_proxy, from_guest) = unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let credit = Arc::new(Semaphore::new(WINDOW_BYTES));
        let ends = Ends {
            number,
            outbound: self.outbound.clone(),
            waiting: Arc::clone(&waiting),
            credit: Arc::clone(&credit),
        };
        let task = tokio::spawn(ends.carry(path, from_guest)).abort_handle();
        self.channels.insert(number, Channel { to_proxy, waiting, credit, task });
        true
    }

    fn data(&self, number: u32, bytes: Vec<u8>) -> bool {
        // A channel that this side closed a moment ago: what comes late is dropped.
        let Some(channel) = self.channels.get(&number) else { return true };
        let before = channel.waiting.fetch_add(bytes.len(), Ordering::Relaxed);
        let fits = before + bytes.len() <= WINDOW_BYTES;
        if fits {
            drop(channel.to_proxy.send(bytes));
        }
        fits
    }

    fn credit(&self, number: u32, body: &[u8]) -> bool {
        let Some(channel) = self.channels.get(&number) else { return true };
        let Ok(bytes) = <[u8; 4]>::try_from(body) else { return false };
        let bytes = u32::from_be_bytes(bytes) as usize;
        let fits = bytes + channel.credit.available_permits() <= WINDOW_BYTES;
        if fits {
            channel.credit.add_permits(bytes);
        }
        fits
    }
}

/// What the task of one channel needs.
struct Ends {
    number: u32,
    outbound: UnboundedSender<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
    credit: Arc<Semaphore>,
}

impl Ends {
    async fn carry(self, path: PathBuf, from_guest: UnboundedReceiver<Vec<u8>>) {
        if self.both_ways(path, from_guest).await.is_err() {
            drop(self.outbound.send(frame(Order::Close, self.number, b"")));
        }
    }

    async fn both_ways(
        &self,
        path: PathBuf,
        from_guest: UnboundedReceiver<Vec<u8>>,
    ) -> io::Result<()> {
        let stream = timeout(CONNECT_WITHIN, UnixStream::connect(path)).await??;
        let (reader, writer) = stream.into_split();
        tokio::try_join!(self.up(writer, from_guest), self.down(reader))?;
        Ok(())
    }

    async fn up(
        &self,
        mut writer: OwnedWriteHalf,
        mut from_guest: UnboundedReceiver<Vec<u8>>,
    ) -> io::Result<()> {
        while let Some(bytes) = from_guest.recv().await {
            if bytes.is_empty() {
                break;
            }
            writer.write_all(&bytes).await?;
            self.waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
            let count = (bytes.len() as u32).to_be_bytes();
            drop(self.outbound.send(frame(Order::Credit, self.number, &count)));
        }
        writer.shutdown().await
    }

    async fn down(&self, mut reader: OwnedReadHalf) -> io::Result<()> {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let first = self.credit.acquire().await.map_err(io::Error::other)?;
            first.forget();
            let more = self.credit.forget_permits(PIECE_BYTES - 1);
            let count = reader.read(&mut piece[..=more]).await?;
            self.credit.add_permits(more + 1 - count);
            drop(self.outbound.send(frame(Order::Data, self.number, &piece[..count])));
            if count == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests;
