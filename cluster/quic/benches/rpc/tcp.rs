//! Plain TCP: one connection, frames of a length, a call's number and a payload.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::pending::Pending;
use crate::server::answer;

const BATCH_BYTES: usize = 64 << 10;
const QUEUE_FRAMES: usize = 1_024;

type Frame = (u64, Vec<u8>);

/// Answers every connection; returns where.
pub(crate) async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let (mut reader, queue) = halves(stream);
            tokio::spawn(async move {
                while let Some((id, payload)) = read(&mut reader).await {
                    // The queue ends with the connection.
                    let _ = queue.send((id, answer(payload))).await;
                }
            });
        }
    });
    address
}

#[derive(Clone)]
pub(crate) struct Caller {
    queue: mpsc::Sender<Frame>,
    pending: Pending,
}

impl Caller {
    pub(crate) async fn connect(address: SocketAddr) -> Caller {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut reader, queue) = halves(stream);
        let pending = Pending::default();
        let replies = pending.clone();
        tokio::spawn(async move {
            while let Some((id, payload)) = read(&mut reader).await {
                replies.reply(id, payload);
            }
        });
        Caller { queue, pending }
    }

    pub(crate) async fn call(&self, payload: Vec<u8>) -> Vec<u8> {
        let (id, replied) = self.pending.call();
        self.queue.send((id, payload)).await.unwrap();
        replied.await.unwrap()
    }
}

fn halves(stream: TcpStream) -> (BufReader<OwnedReadHalf>, mpsc::Sender<Frame>) {
    let (reader, writer) = stream.into_split();
    let (sender, queue) = mpsc::channel(QUEUE_FRAMES);
    tokio::spawn(write(writer, queue));
    (BufReader::with_capacity(BATCH_BYTES, reader), sender)
}

/// Writes what is queued, in batches.
async fn write(mut stream: OwnedWriteHalf, mut queue: mpsc::Receiver<Frame>) {
    let mut buffer = Vec::with_capacity(2 * BATCH_BYTES);
    while let Some(first) = queue.recv().await {
        let mut next = Some(first);
        while let Some((id, payload)) = next {
            buffer.extend((payload.len() as u32).to_be_bytes());
            buffer.extend(id.to_be_bytes());
            buffer.extend(payload);
            next = (buffer.len() < BATCH_BYTES).then(|| queue.try_recv().ok()).flatten();
        }
        if stream.write_all(&buffer).await.is_err() {
            return;
        }
        buffer.clear();
    }
}

/// The next frame; `None` when the connection has ended.
async fn read(stream: &mut BufReader<OwnedReadHalf>) -> Option<Frame> {
    let length = stream.read_u32().await.ok()?;
    let id = stream.read_u64().await.ok()?;
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).await.ok()?;
    Some((id, payload))
}
