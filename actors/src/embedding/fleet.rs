//! The models of this node and those that other nodes offer, behind one name each.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_cluster::NodeId;
use headwater_embedding::{Alias, Pool, Target};
use headwater_models::{ModelCard, Piece};

use super::calibrations::{Calibrations, Learnt};
use super::handle::{EmbedCall, EmbedError, Embedded, ModelHandle};
use super::loader::ModelLoader;
use super::models::EmbeddingHandle;
use super::remote::{RemoteEmbedding, RemoteModel};
use super::table::{ChangeError, NotOffered, Phase};

/// Ingest goes to another node while that one's load is at most this, in percent.
const IDLE_PERCENT: u32 = 25;
/// When ingest that found no idle node may ask again, in ms.
const BUSY_RETRY_MS: u64 = 1_000;

/// More tokens than an image has in the models of today: patches of 14 pixels in a square of 448,
/// and one. Only the model knows how many, once it has read the image.
const IMAGE_TOKENS: u64 = 32 * 32 + 1;

/// All models that this node's edge serves; cheap to clone.
#[derive(Clone)]
pub struct EmbeddingFleet {
    local: EmbeddingHandle,
    remote: Option<RemoteEmbedding>,
    loader: Option<ModelLoader>,
    calibrations: Option<Calibrations>,
}

/// How a model of the fleet stands on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelStatus {
    /// None when only other nodes serve it.
    pub phase: Option<Phase>,
    /// Loaded replicas and wanted ones, by [`Pool::index`].
    pub replicas: [(usize, usize); 2],
}

impl EmbeddingFleet {
    /// This node's models alone.
    pub fn local(local: EmbeddingHandle) -> EmbeddingFleet {
        EmbeddingFleet { local, remote: None, loader: None, calibrations: None }
    }

    /// This node's models and those that others offer.
    pub fn with_remote(local: EmbeddingHandle, remote: RemoteEmbedding) -> EmbeddingFleet {
        EmbeddingFleet { local, remote: Some(remote), loader: None, calibrations: None }
    }

    /// The same fleet, which learns how the vectors of each version spread.
    pub fn with_calibrations(self, calibrations: Calibrations) -> EmbeddingFleet {
        EmbeddingFleet { calibrations: Some(calibrations), ..self }
    }

    /// Shows vectors of one length that are about to be served to the calibration of their
    /// version.
    pub fn observe(&self, card: &ModelCard, vectors: &[Vec<f32>]) {
        if let Some(calibrations) = &self.calibrations {
            calibrations.observe(&card.fingerprint, vectors);
        }
    }

    /// The ranges that bytes of this version and length are scaled by; none before they are
    /// learnt, and for a fleet that does not learn.
    pub async fn calibration(&self, card: &ModelCard, dimensions: usize) -> Option<Arc<Learnt>> {
        self.calibrations.as_ref()?.find(&card.fingerprint, dimensions).await
    }

    /// The same fleet, which can load the models that this loader knows.
    pub fn with_loader(self, loader: ModelLoader) -> EmbeddingFleet {
        EmbeddingFleet { loader: Some(loader), ..self }
    }

    /// The model of this name or alias, wherever it runs; of an alias the target with the largest
    /// share.
    pub fn model(&self, name: &str) -> Option<FleetModel> {
        self.named(self.local.table().resolve(name, None)).ok()
    }

    /// The model of this name or alias for the caller with this key, wherever it runs. One caller
    /// stays with one target of an alias.
    ///
    /// # Errors
    /// See [`NotOffered`]; the name in it is the model's own.
    pub fn find(&self, name: &str, key: &str) -> Result<FleetModel, NotOffered> {
        self.named(self.local.table().resolve(name, Some(key)))
    }

    fn named(&self, name: &str) -> Result<FleetModel, NotOffered> {
        let local = self.local.table().offered(name);
        let remote = self.remote.as_ref().and_then(|remote| remote.model(name));
        match (local, remote) {
            (Ok(local), remote) => {
                // Vectors of another fingerprint are another model's.
                let same =
                    |other: &RemoteModel| local.card().fingerprint == other.card().fingerprint;
                let remote = remote.filter(same);
                Ok(FleetModel::Here(local, remote))
            }
            (Err(_), Some(remote)) => Ok(FleetModel::Elsewhere(remote)),
            (Err(why), None) => Err(why),
        }
    }

    /// Every alias of this node, by name.
    pub fn aliases(&self) -> Vec<(String, Alias)> {
        self.local.aliases()
    }

    /// As [`EmbeddingHandle::set_alias`]; targets may be models of other nodes, too.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn set_alias(&self, name: &str, targets: Vec<Target>) -> Result<(), ChangeError> {
        let remote = self.remote.as_ref().map(RemoteEmbedding::cards).unwrap_or_default();
        let elsewhere = remote.iter().map(|card| card.name.clone()).collect();
        self.local.set_alias_among(name, targets, elsewhere).await
    }

    /// # Errors
    /// [`ChangeError::UnknownAlias`].
    pub async fn remove_alias(&self, name: &str) -> Result<(), ChangeError> {
        self.local.remove_alias(name).await
    }

    /// Loads a model that the node's settings name, and returns when it serves.
    ///
    /// # Errors
    /// [`ChangeError::UnknownModel`] when they do not name it; see also [`EmbeddingHandle::load`].
    pub async fn load(&self, name: &str) -> Result<(), ChangeError> {
        let unknown = || ChangeError::UnknownModel(name.to_owned());
        self.loader.as_ref().ok_or_else(unknown)?.load(&self.local, name).await
    }

    /// As [`EmbeddingHandle::unload`].
    ///
    /// # Errors
    /// See there.
    pub async fn unload(&self, name: &str) -> Result<(), ChangeError> {
        self.local.unload(name).await
    }

    /// How this model stands on this node.
    pub fn status(&self, name: &str) -> ModelStatus {
        let table = self.local.table();
        let Some(model) = table.models.get(name) else {
            let fetched = self.loader.as_ref().is_some_and(|loader| loader.is_loading(name));
            let phase = fetched.then_some(Phase::Loading);
            return ModelStatus { phase, replicas: [(0, 0); 2] };
        };
        let of = |pool| (model.live_replicas_of(pool), model.replicas_of(pool));
        ModelStatus { phase: Some(model.phase()), replicas: Pool::ALL.map(of) }
    }

    /// The model of this fingerprint, under whatever name.
    pub fn of_version(&self, fingerprint: &str) -> Option<FleetModel> {
        let cards = self.cards();
        // An alias may have the name of another node's model, so the answer is looked at again.
        let named = |card: &Arc<ModelCard>| {
            let found = self.named(&card.name).ok()?;
            (found.card().fingerprint == fingerprint).then_some(found)
        };
        cards.iter().filter(|card| card.fingerprint == fingerprint).find_map(named)
    }

    /// Every model, by name.
    pub fn cards(&self) -> Vec<Arc<ModelCard>> {
        let remote = self.remote.as_ref().map(RemoteEmbedding::cards).unwrap_or_default();
        let mut cards: BTreeMap<String, Arc<ModelCard>> =
            remote.into_iter().map(|card| (card.name.clone(), card)).collect();
        let local = self.local.models();
        let local = local.iter().map(|model| model.card());
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
    Here(Arc<ModelHandle>, Option<RemoteModel>),
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
    /// Ingest goes to idle nodes only.
    ///
    /// # Errors
    /// See [`EmbedError`]; when no node has room, this node's own reason.
    pub async fn embed(&self, call: EmbedCall) -> Result<Embedded, EmbedError> {
        let (local, remote) = match self {
            FleetModel::Here(local, Some(remote)) => (local, remote),
            FleetModel::Here(local, None) => return local.embed(call).await,
            FleetModel::Elsewhere(remote) => return embed_on(remote, call).await,
        };
        if remote.nodes().is_empty() {
            return local.embed(call).await;
        }
        if local.live_replicas() == 0 {
            return embed_on(remote, call).await;
        }
        match local.embed(call.clone()).await {
            Err(EmbedError::Overloaded { retry_after_ms }) => {
                let elsewhere = embed_on(remote, call).await;
                match elsewhere {
                    Err(EmbedError::Overloaded { .. } | EmbedError::Unavailable) => {
                        Err(EmbedError::Overloaded { retry_after_ms })
                    }
                    other => other,
                }
            }
            Err(EmbedError::Unavailable | EmbedError::Unloading) => embed_on(remote, call).await,
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
        pool: Pool,
    ) -> Result<Vec<Vec<Piece>>, EmbedError> {
        match self {
            FleetModel::Here(local, _) => local.pieces(texts, special, pool).await,
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
async fn embed_on(remote: &RemoteModel, call: EmbedCall) -> Result<Embedded, EmbedError> {
    let nodes: Vec<NodeId> = match call.pool {
        Pool::Query => remote.nodes(),
        Pool::Ingest => remote.idle_nodes(IDLE_PERCENT),
    };
    let mut last = match call.pool {
        Pool::Ingest if !remote.nodes().is_empty() => {
            EmbedError::Overloaded { retry_after_ms: BUSY_RETRY_MS }
        }
        _ => EmbedError::Unavailable,
    };
    for node in nodes {
        match remote.embed(&node, &call).await {
            Err(EmbedError::Unloading) => {}
            Err(error @ (EmbedError::Unavailable | EmbedError::Overloaded { .. })) => {
                last = error;
            }
            outcome => return outcome,
        }
    }
    Err(last)
}
