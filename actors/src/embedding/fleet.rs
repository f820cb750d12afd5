//! The models of this node and those that other nodes offer, behind one name each.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_cluster::NodeId;
use headwater_models::{ModelCard, Piece};

use super::handle::{EmbedCall, EmbedError, Embedded, EmbeddingHandle, ModelHandle};
use super::remote::{RemoteEmbedding, RemoteModel};

/// More tokens than an image has in the models of today: patches of 14 pixels in a square of 448,
/// and one. Only the model knows how many, once it has read the image.
const IMAGE_TOKENS: u64 = 32 * 32 + 1;

/// All models that this node's edge serves; cheap to clone.
#[derive(Clone)]
pub struct EmbeddingFleet {
    local: EmbeddingHandle,
    remote: Option<RemoteEmbedding>,
}

impl EmbeddingFleet {
    /// This node's models alone.
    pub fn local(local: EmbeddingHandle) -> EmbeddingFleet {
        EmbeddingFleet { local, remote: None }
    }

    /// This node's models and those that others offer.
    pub fn with_remote(local: EmbeddingHandle, remote: RemoteEmbedding) -> EmbeddingFleet {
        EmbeddingFleet { local, remote: Some(remote) }
    }

    /// The model of this name or alias, wherever it runs.
    pub fn model(&self, name: &str) -> Option<FleetModel> {
        let local = self.local.model(name).cloned();
        let wanted = local.as_ref().map_or(name, |local| local.card().name.as_str());
        let remote = self.remote.as_ref().and_then(|remote| remote.model(wanted));
        // Vectors of another fingerprint are another model's.
        let same = |remote: &RemoteModel| {
            local.as_ref().is_none_or(|local| local.card().fingerprint == remote.card().fingerprint)
        };
        let remote = remote.filter(same);
        match (local, remote) {
            (Some(local), remote) => Some(FleetModel::Here(Box::new(local), remote)),
            (None, Some(remote)) => Some(FleetModel::Elsewhere(remote)),
            (None, None) => None,
        }
    }

    /// The model of this fingerprint, under whatever name.
    pub fn of_version(&self, fingerprint: &str) -> Option<FleetModel> {
        let cards = self.cards();
        let card = cards.iter().find(|card| card.fingerprint == fingerprint)?;
        self.model(&card.name)
    }

    /// Every model, by name.
    pub fn cards(&self) -> Vec<Arc<ModelCard>> {
        let remote = self.remote.as_ref().map(RemoteEmbedding::cards).unwrap_or_default();
        let mut cards: BTreeMap<String, Arc<ModelCard>> =
            remote.into_iter().map(|card| (card.name.clone(), card)).collect();
        let local = self.local.models().map(ModelHandle::card);
        cards.extend(local.map(|card| (card.name.clone(), Arc::new(card.clone()))));
        cards.into_values().collect()
    }

    /// Whether every model of this node has a loaded replica.
    pub fn ready(&self) -> bool {
        self.local.ready()
    }
}

/// One model of the fleet; cheap to clone.
#[derive(Clone)]
pub enum FleetModel {
    /// Served by this node, and perhaps by others.
    Here(Box<ModelHandle>, Option<RemoteModel>),
    Elsewhere(RemoteModel),
}

impl FleetModel {
    pub fn card(&self) -> &ModelCard {
        match self {
            FleetModel::Here(local, _) => local.card(),
            FleetModel::Elsewhere(remote) => remote.card(),
        }
    }

    /// Embeds here while a replica is loaded and has room, else on the least loaded other node.
    ///
    /// # Errors
    /// See [`EmbedError`]; when no node has room, this node's own reason.
    pub async fn embed(&self, call: EmbedCall) -> Result<Embedded, EmbedError> {
        let (local, remote) = match self {
            FleetModel::Here(local, Some(remote)) => (local, remote),
            FleetModel::Here(local, None) => return local.embed(call).await,
            FleetModel::Elsewhere(remote) => return embed_on(remote, &remote.nodes(), call).await,
        };
        let nodes = remote.nodes();
        if nodes.is_empty() {
            return local.embed(call).await;
        }
        if local.live_replicas() == 0 {
            return embed_on(remote, &nodes, call).await;
        }
        match local.embed(call.clone()).await {
            Err(EmbedError::Overloaded { retry_after_ms }) => {
                let elsewhere = embed_on(remote, &nodes, call).await;
                match elsewhere {
                    Err(EmbedError::Overloaded { .. } | EmbedError::Unavailable) => {
                        Err(EmbedError::Overloaded { retry_after_ms })
                    }
                    other => other,
                }
            }
            Err(EmbedError::Unavailable) => embed_on(remote, &nodes, call).await,
            outcome => outcome,
        }
    }

    /// Reads texts as pieces; only a node that has the model can.
    ///
    /// # Errors
    /// As [`ModelHandle::pieces`], and [`EmbedError::Unavailable`] without a local model.
    pub async fn pieces(
        &self,
        texts: Vec<String>,
        special: bool,
    ) -> Result<Vec<Vec<Piece>>, EmbedError> {
        match self {
            FleetModel::Here(local, _) => local.pieces(texts, special).await,
            FleetModel::Elsewhere(_) => Err(EmbedError::Unavailable),
        }
    }

    /// An upper bound of the tokens that a call will use: a token has at least one byte, and a
    /// text two special tokens. Characters would not do: a Hangul syllable is three tokens.
    pub fn token_bound(&self, call: &EmbedCall) -> u64 {
        let most = self.card().max_tokens as u64;
        let bound = |length: usize| (length as u64 + 2).min(most);
        match &call.inputs {
            super::Inputs::Texts(texts) => {
                let prefix = match call.purpose {
                    super::Purpose::Plain => 0,
                    super::Purpose::Query => self.card().query_prefix.len(),
                    super::Purpose::Passage => self.card().passage_prefix.len(),
                };
                texts.iter().map(|text| bound(prefix + text.len())).sum()
            }
            super::Inputs::Tokens(lists) => lists.iter().map(|ids| bound(ids.len())).sum(),
            super::Inputs::Pairs(pairs) => {
                let prefixes = self.card().query_prefix.len() + self.card().passage_prefix.len();
                // A pair has up to four special tokens.
                let length = |pair: &(String, String)| prefixes + pair.0.len() + pair.1.len() + 2;
                pairs.iter().map(|pair| bound(length(pair))).sum()
            }
            super::Inputs::Images(images) => images.len() as u64 * IMAGE_TOKENS,
        }
    }
}

/// Tries one node after the other while they are lost or have no room; vectors are the same
/// wherever they are made, so a second try does no harm.
async fn embed_on(
    remote: &RemoteModel,
    nodes: &[NodeId],
    call: EmbedCall,
) -> Result<Embedded, EmbedError> {
    let mut last = EmbedError::Unavailable;
    for node in nodes {
        match remote.embed(node, &call).await {
            Err(error @ (EmbedError::Unavailable | EmbedError::Overloaded { .. })) => {
                last = error;
            }
            outcome => return outcome,
        }
    }
    Err(last)
}
