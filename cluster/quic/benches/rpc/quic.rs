//! The QUIC transport of either process: echo over lanes and over streams.

use std::path::Path;

use headwater_cluster::{ByteStream, Envelope, Incarnation, Lane, NodeId, Transport};
use headwater_cluster_quic::{
    ControlStream, IdentityFiles, QuicSettings, QuicTransport, authority,
};
use tokio::sync::mpsc;

use crate::PAYLOAD_BYTES;
use crate::pending::Pending;

pub(crate) const CLIENT: &str = "client";
pub(crate) const SERVER: &str = "server";

/// Writes the node's certificate where `start` looks for it.
pub(crate) fn issue(folder: &Path, node: &str) {
    let out = folder.join(node);
    std::fs::create_dir(&out).unwrap();
    authority::issue(folder, &NodeId::new(node).unwrap(), &out, 1).unwrap();
}

pub(crate) async fn start(
    folder: &Path,
    node: &str,
    seeds: Vec<String>,
) -> (QuicTransport, mpsc::Receiver<ControlStream>) {
    let identity = IdentityFiles {
        authority: folder.join("ca.pem"),
        certificate: folder.join(node).join("node.pem"),
        key: folder.join(node).join("node.key"),
    };
    let id = NodeId::new(node).unwrap();
    let settings = QuicSettings::new(id, Incarnation(1), "bench", identity);
    QuicTransport::start(QuicSettings { seeds, ..settings }).await.unwrap()
}

/// Echoes what comes over lanes, and the beginning of what comes over a stream.
pub(crate) fn serve(transport: QuicTransport) {
    let lanes = transport.clone();
    tokio::spawn(async move {
        while let Some(mut envelope) = lanes.receive().await {
            std::mem::swap(&mut envelope.from, &mut envelope.to);
            while lanes.send(envelope.clone()).await.is_err() {
                tokio::task::yield_now().await;
            }
        }
    });
    tokio::spawn(async move {
        while let Some((_, stream)) = transport.accept().await {
            tokio::spawn(answer(stream));
        }
    });
}

async fn answer(mut stream: Box<dyn ByteStream>) {
    let mut beginning = Vec::with_capacity(PAYLOAD_BYTES);
    while let Some(bytes) = stream.read().await.unwrap() {
        beginning.extend(bytes.into_iter().take(PAYLOAD_BYTES - beginning.len()));
    }
    stream.write(&beginning).await.unwrap();
    stream.finish().await.unwrap();
}

#[derive(Clone)]
pub(crate) struct LaneCaller {
    transport: QuicTransport,
    pending: Pending,
    client: NodeId,
    server: NodeId,
}

impl LaneCaller {
    pub(crate) fn new(transport: QuicTransport) -> LaneCaller {
        let pending = Pending::default();
        let (replies, receiver) = (pending.clone(), transport.clone());
        tokio::spawn(async move {
            while let Some(envelope) = receiver.receive().await {
                replies.reply(envelope.sequence, envelope.payload);
            }
        });
        let (client, server) = (NodeId::new(CLIENT).unwrap(), NodeId::new(SERVER).unwrap());
        LaneCaller { transport, pending, client, server }
    }

    pub(crate) async fn call(&self, lane: u16, payload: Vec<u8>) -> Vec<u8> {
        let (sequence, replied) = self.pending.call();
        let (from, to, lane) = (self.client.clone(), self.server.clone(), Lane(lane));
        self.transport.send(Envelope { from, to, lane, sequence, payload }).await.unwrap();
        replied.await.unwrap()
    }
}

#[derive(Clone)]
pub(crate) struct StreamCaller {
    transport: QuicTransport,
    server: NodeId,
}

impl StreamCaller {
    pub(crate) fn new(transport: QuicTransport) -> StreamCaller {
        StreamCaller { transport, server: NodeId::new(SERVER).unwrap() }
    }

    pub(crate) async fn call(&self, payload: &[u8]) -> Vec<u8> {
        let mut stream = self.transport.open(&self.server).await.unwrap();
        stream.write(payload).await.unwrap();
        stream.finish().await.unwrap();
        let mut answer = Vec::new();
        while let Some(bytes) = stream.read().await.unwrap() {
            answer.extend(bytes);
        }
        answer
    }
}
