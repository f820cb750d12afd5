//! Embedding on other nodes: a stream per request, which ends with its answer or with the client.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use headwater_cluster::{ByteStream, NodeId, StreamBroken};
use headwater_embedding::Pool;
use headwater_models::ModelCard;
use tokio::sync::watch;

use super::handle::{EmbedCall, EmbedError, Embedded};
use super::models::EmbeddingHandle;
use super::table::{NotOffered, Phase};
use super::wire::{
    decode_call, decode_cards, decode_outcome, encode_call, encode_cards, encode_outcome,
};
use crate::caller::{Caller, Service};
use crate::cluster::Members;

/// Largest request or answer on a stream, in bytes.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Longest wait for a node's list of models, in ms.
const CARDS_MS: u64 = 2_000;

/// What a node tells the others that it offers: the name, and what shapes the vectors.
pub fn offer_of(card: &ModelCard) -> String {
    format!("embedding/{}@{}", card.name, card.fingerprint)
}

/// The models of other nodes; cheap to clone.
#[derive(Clone)]
pub struct RemoteEmbedding {
    caller: Caller,
    members: Members,
    /// By name.
    cards: Arc<RwLock<BTreeMap<String, Arc<ModelCard>>>>,
    timeout_ms: u64,
    ingest_timeout_ms: u64,
}

/// One model of other nodes.
#[derive(Clone)]
pub struct RemoteModel {
    fleet: RemoteEmbedding,
    card: Arc<ModelCard>,
}

impl RemoteEmbedding {
    /// `timeout_ms` bounds one query on another node and `ingest_timeout_ms` one request of
    /// ingest.
    pub fn new(
        caller: Caller,
        members: Members,
        timeout_ms: u64,
        ingest_timeout_ms: u64,
    ) -> RemoteEmbedding {
        let cards = Arc::new(RwLock::default());
        RemoteEmbedding { caller, members, cards, timeout_ms, ingest_timeout_ms }
    }

    pub(super) fn model(&self, name: &str) -> Option<RemoteModel> {
        let card = self.cards.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()?;
        Some(RemoteModel { fleet: self.clone(), card })
    }

    pub(super) fn cards(&self) -> Vec<Arc<ModelCard>> {
        let cards = self.cards.read().unwrap_or_else(PoisonError::into_inner);
        cards.values().cloned().collect()
    }

    /// Learns the cards of what others offer, until the node ends.
    pub async fn follow(self) {
        let mut changes = self.members.changes();
        loop {
            self.learn().await;
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    async fn learn(&self) {
        let known: BTreeSet<String> = self.cards().iter().map(|card| offer_of(card)).collect();
        for seen in self.members.view() {
            let is_news =
                |offer: &String| offer.starts_with("embedding/") && !known.contains(offer);
            if seen.is_me || !seen.is_reachable() || !seen.member.offers.iter().any(is_news) {
                continue;
            }
            let node = &seen.member.node;
            let listed = self.caller.call(node, Service::Embedding, Vec::new(), CARDS_MS).await;
            let Ok(Ok(cards)) = listed.map(|bytes| decode_cards(&bytes)) else { continue };
            let mut all = self.cards.write().unwrap_or_else(PoisonError::into_inner);
            for card in cards {
                // The first node's fingerprint stands while anybody offers it.
                let stands =
                    |known: &Arc<ModelCard>| !self.members.offering(&offer_of(known)).is_empty();
                if !all.get(&card.name).is_some_and(stands) {
                    all.insert(card.name.clone(), Arc::new(card));
                }
            }
        }
    }
}

impl RemoteModel {
    pub(super) fn card(&self) -> &Arc<ModelCard> {
        &self.card
    }

    /// The nodes that serve it now, the least loaded first.
    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.fleet.members.offering(&offer_of(&self.card))
    }

    /// Those of them whose load is at most this, in percent.
    pub(super) fn idle_nodes(&self, load_percent: u32) -> Vec<NodeId> {
        self.fleet.members.offering_below(&offer_of(&self.card), load_percent)
    }

    pub(super) async fn embed(
        &self,
        node: &NodeId,
        call: &EmbedCall,
    ) -> Result<Embedded, EmbedError> {
        let RemoteEmbedding { caller, timeout_ms, ingest_timeout_ms, .. } = &self.fleet;
        let timeout_ms = match call.pool {
            Pool::Query => *timeout_ms,
            Pool::Ingest => *ingest_timeout_ms,
        };
        let exchange = exchange(caller, node, &self.card.name, call);
        let bytes = caller.runtime().within(timeout_ms, exchange).await;
        let bytes = bytes.ok_or(EmbedError::TimedOut { timeout_ms })?;
        let bytes = bytes.ok_or(EmbedError::Unavailable)?;
        let outcome = decode_outcome(&bytes).map_err(|_| EmbedError::Unavailable)?;
        outcome.map(|embedded| Embedded { served_by: Some(node.to_string()), ..embedded })
    }
}

/// One request's bytes for its answer's; none when the stream broke.
async fn exchange(
    caller: &Caller,
    node: &NodeId,
    model: &str,
    call: &EmbedCall,
) -> Option<Vec<u8>> {
    let request = encode_call(model, call).ok()?;
    let mut stream = caller.transport().open(node).await.ok()?;
    write_message(&mut *stream, &request).await.ok()?;
    // This side stays open: dropping it tells the other one that nobody waits any more.
    read_message(&mut *stream).await.ok()
}

async fn write_message(stream: &mut dyn ByteStream, message: &[u8]) -> Result<(), StreamBroken> {
    let length = u32::try_from(message.len()).map_err(|_| StreamBroken::Cancelled)?;
    stream.write(&length.to_be_bytes()).await?;
    stream.write(message).await
}

/// Reads one message: its length in 4 bytes, then so many bytes.
async fn read_message(stream: &mut dyn ByteStream) -> Result<Vec<u8>, StreamBroken> {
    let mut bytes = Vec::new();
    loop {
        if let Some((head, body)) = bytes.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*head) as usize;
            if length > MESSAGE_BYTES_MAX || body.len() > length {
                return Err(StreamBroken::Cancelled);
            }
            if body.len() == length {
                return Ok(body.to_vec());
            }
        }
        match stream.read().await? {
            Some(more) => bytes.extend_from_slice(&more),
            None => return Err(StreamBroken::Cancelled),
        }
    }
}

/// How many requests of other nodes run here; cheap to clone.
#[derive(Clone)]
pub struct ServedElsewhere {
    running: Arc<watch::Sender<usize>>,
}

impl Default for ServedElsewhere {
    fn default() -> Self {
        ServedElsewhere { running: Arc::new(watch::channel(0).0) }
    }
}

impl ServedElsewhere {
    /// Waits until no request of another node runs here.
    pub async fn ended(&self) {
        // The sender lives in `self`, so the wait ends only when the count is 0.
        let _ = self.running.subscribe().wait_for(|running| *running == 0).await;
    }

    fn enter(&self) -> Running {
        self.running.send_modify(|running| *running += 1);
        Running(Arc::clone(&self.running))
    }
}

struct Running(Arc<watch::Sender<usize>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

/// Answers other nodes' requests to this node's models until the transport is closed.
pub async fn serve_embedding(caller: Caller, models: EmbeddingHandle, served: ServedElsewhere) {
    let listed = models.clone();
    caller.serve(Service::Embedding, move |_, _| {
        let served = listed.models();
        let offered = served.iter().filter(|model| model.phase() == Phase::Serving);
        let cards = encode_cards(offered.map(|model| model.card())).unwrap_or_default();
        async move { cards }
    });
    while let Some((node, stream)) = caller.transport().accept().await {
        let (models, running) = (models.clone(), served.enter());
        caller.runtime().spawn(async move {
            let _running = running;
            if let Err(broken) = serve_one(stream, &models).await {
                tracing::debug!(%node, %broken, "a request of another node ended early");
            }
        });
    }
}

async fn serve_one(
    mut stream: Box<dyn ByteStream>,
    models: &EmbeddingHandle,
) -> Result<(), StreamBroken> {
    let request = read_message(&mut *stream).await?;
    let outcome = {
        let work = async {
            let Ok((model, call)) = decode_call(&request) else {
                return Err(EmbedError::Refused("the request cannot be read".to_owned()));
            };
            // The other node chose among an alias's targets already: this is a model's own name.
            match models.table().offered(&model) {
                Ok(model) => model.embed(call).await,
                Err(NotOffered::Draining(_)) => Err(EmbedError::Unloading),
                Err(_) => Err(EmbedError::Unavailable),
            }
        };
        tokio::select! {
            outcome = work => outcome,
            // The asking side writes nothing more, so this ends only when it goes away.
            gone = stream.read() => return gone.map(|_| ()),
        }
    };
    let answer = encode_outcome(&outcome).unwrap_or_default();
    write_message(&mut *stream, &answer).await?;
    stream.finish().await?;
    // Dropping the stream before the other side has read all would cut the answer off.
    stream.read().await.map(|_| ())
}
