//! The stream of a link that carries `ractor_cluster`, as the duplex stream which that takes.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, split};
use tokio::sync::{Notify, mpsc};

use super::links::SharedLinks;
use super::stream::{StreamEnd, StreamKey};
use crate::lockstep::program::ControlLink;
use crate::lockstep::wire::FromNode;

const BUFFER_BYTES: usize = 64 << 10;

/// Hands the program a control link and carries its bytes until either side closes it.
pub(super) fn open(
    links: &SharedLinks,
    (peer, round, stream): (u8, u32, u64),
    dialled: bool,
    to: &mpsc::Sender<ControlLink>,
) {
    let key = StreamKey { peer, stream };
    links.adopt(key, round);
    let (ours, theirs) = tokio::io::duplex(BUFFER_BYTES);
    let link = ControlLink { peer: links.name(peer), dialled, stream: theirs };
    let end = Arc::new(StreamEnd::new(Arc::clone(links), key));
    let (links, to) = (Arc::clone(links), to.clone());
    tokio::spawn(async move {
        if to.send(link).await.is_ok() {
            carry(&end, ours).await;
        }
        drop(end);
        links.tell(FromNode::ControlClosed { peer, stream });
    });
}

/// Returns when one direction has ended; dropping both halves then ends the other one.
async fn carry(end: &Arc<StreamEnd>, ours: DuplexStream) {
    let (from_program, to_program) = split(ours);
    let ended = Arc::new(Notify::new());
    let outward = tokio::spawn(outward(Arc::clone(end), from_program, Arc::clone(&ended)));
    let inward = tokio::spawn(inward(Arc::clone(end), to_program, Arc::clone(&ended)));
    ended.notified().await;
    outward.abort();
    inward.abort();
    // An aborted task holds its half of the stream until it is polled once more.
    let _ = (outward.await, inward.await);
}

async fn outward(end: Arc<StreamEnd>, mut from: ReadHalf<DuplexStream>, ended: Arc<Notify>) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if end.write(buffer.get(..count).unwrap_or_default()).await.is_err() {
            break;
        }
    }
    ended.notify_one();
}

async fn inward(end: Arc<StreamEnd>, mut to: WriteHalf<DuplexStream>, ended: Arc<Notify>) {
    while let Ok(Some(bytes)) = end.read().await {
        if to.write_all(&bytes).await.is_err() {
            break;
        }
    }
    ended.notify_one();
}
