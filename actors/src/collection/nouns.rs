//! What a caller of the collections meets.

use std::collections::BTreeMap;
use std::ops::Range;

use headwater_embedding::{Role, Split, Version, VersionProblem, Versions};
use headwater_storage::StoreError;
use headwater_vectors::{Metric, NumberFormat, RecordId, SinkError, Space, Value};

use crate::embedding::EmbedError;
use crate::mutants::{Mutant, planted};

/// Names one life of a collection: one that is deleted and created again has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CollectionId(pub u128);

/// The SHA-256 of a chunk's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId(pub [u8; 32]);

impl ChunkId {
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl From<ChunkId> for RecordId {
    fn from(id: ChunkId) -> RecordId {
        RecordId(id.0)
    }
}

impl From<RecordId> for ChunkId {
    fn from(id: RecordId) -> ChunkId {
        ChunkId(id.0)
    }
}

/// One chunk of a document, as its caller cut it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkText {
    /// The SHA-256 of `text`.
    pub id: ChunkId,
    pub text: String,
    /// Its place among the document's chunks, from 0 on without gaps.
    pub ordinal: u32,
    /// The bytes of the document that it covers.
    pub range: Range<u64>,
}

/// How documents are cut into chunks; the collections only keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunking {
    /// Longest chunk, in tokens of the serving model.
    pub tokens: u32,
    /// How much of a chunk its successor repeats, in percent.
    pub overlap_percent: u32,
    /// Where it may be cut: the chunker's own name for it.
    pub boundary: String,
}

impl Default for Chunking {
    fn default() -> Self {
        Chunking { tokens: 256, overlap_percent: 10, boundary: Split::default().name().to_owned() }
    }
}

/// What a collection is created with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CollectionSettings {
    pub format: NumberFormat,
    pub metric: Metric,
    pub chunking: Chunking,
}

/// A collection as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    pub tenant: String,
    pub name: String,
    pub id: CollectionId,
    /// Ms since 1970.
    pub created_ms: u64,
    pub settings: CollectionSettings,
    pub versions: Versions,
}

impl Collection {
    /// The space of one of its versions.
    pub fn space(&self, version: &Version) -> Space {
        Space {
            name: format!("hw-{:032x}-{}", self.id.0, version.generation),
            model: version.model.clone(),
            version: version.fingerprint.clone(),
            dimensions: version.dimensions,
            metric: self.settings.metric,
            format: NumberFormat::named(&version.format).unwrap_or_default(),
        }
    }

    /// What has to be written when a vector is written into this version.
    pub fn target(&self, role: Role, version: &Version) -> Target {
        Target {
            tenant: self.tenant.clone(),
            collection: self.name.clone(),
            id: self.id,
            role,
            version: version.fingerprint.clone(),
            model: version.model.clone(),
            generation: version.generation,
            space: self.space(version),
        }
    }

    /// Every live version: building, then serving, then previous.
    pub fn targets(&self) -> Vec<Target> {
        let written = |role: &Role| *role == Role::Serving || !planted(Mutant::OnlyServingWritten);
        let live = self.versions.live().filter(|(role, _)| written(role));
        live.map(|(role, version)| self.target(role, version)).collect()
    }
}

/// A live version to write vectors into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub tenant: String,
    pub collection: String,
    pub id: CollectionId,
    pub role: Role,
    /// The fingerprint that texts must be embedded with.
    pub version: String,
    pub model: String,
    pub generation: u64,
    pub space: Space,
}

/// What putting a document came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The document's chunks in order, each id once.
    pub chunks: Vec<ChunkId>,
    /// Chunks whose text another document, or an earlier place in this one, has brought already.
    pub duplicates: u64,
    /// Chunks that no document has any more; see [`super::Collections::remove_vectors`].
    pub removed: Vec<ChunkId>,
    /// The versions to write the chunks' vectors into.
    pub targets: Vec<Target>,
}

/// A document as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentInfo {
    pub id: String,
    pub fields: BTreeMap<String, Value>,
    pub chunks: u32,
    /// False while it is being put or deleted, or after a crash in that until it is put again.
    pub complete: bool,
    /// Ms since 1970.
    pub updated_ms: u64,
}

/// Why a call did nothing, or not all, by what the caller should do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CollectionError {
    #[error("there is no collection '{name}'; create it first")]
    NoCollection { name: String },
    #[error("there is a collection '{name}' already; delete it first or take another name")]
    Exists { name: String },
    #[error("there is no document '{document}' in the collection '{collection}'")]
    NoDocument { collection: String, document: String },
    #[error("no node serves the model '{model}'; load it, or name one that is served")]
    NoModel { model: String },
    /// A field of the request is outside its limits.
    #[error("{field}: {problem}")]
    Invalid { field: &'static str, problem: String },
    /// Another put or deletion of the same document began later and wins.
    #[error("another put or deletion of document '{document}' began meanwhile; put it again")]
    Superseded { document: String },
    /// The version is not live any more: nothing has to be written into it.
    #[error("version '{version}' of collection '{collection}' was given up; list its versions")]
    NotLive { collection: String, version: String },
    /// A search for vectors of a version that this collection does not serve.
    #[error(
        "version '{asked}' is not live in collection '{collection}', which serves version \
         '{serving}'; embed with that one, or leave model_version out"
    )]
    OtherVersion { collection: String, asked: String, serving: String },
    #[error(
        "version '{asked}' of collection '{collection}' is still being built; search version \
         '{serving}' until it serves"
    )]
    StillBuilding { collection: String, asked: String, serving: String },
    /// The vectors are there, and nobody can embed a query for them.
    #[error(
        "no node serves version '{version}' (model '{model}') of collection '{collection}'; load \
         that model again, roll back to a version that is served, or retire the version if it \
         is the previous one"
    )]
    NotServed { collection: String, version: String, model: String },
    #[error(transparent)]
    Version(VersionProblem),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error("version '{version}' cannot embed now: {error}")]
    Embed { version: String, error: EmbedError },
}

impl From<VersionProblem> for CollectionError {
    fn from(problem: VersionProblem) -> Self {
        CollectionError::Version(problem)
    }
}

impl CollectionError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            CollectionError::Superseded { .. } | CollectionError::NotServed { .. } => true,
            CollectionError::Store(error) => {
                error.is_retryable() || *error == StoreError::CommitUnknown
            }
            CollectionError::Sink(error) => matches!(error, SinkError::Unavailable(_)),
            CollectionError::Embed { error, .. } => matches!(
                error,
                EmbedError::Overloaded { .. }
                    | EmbedError::Unavailable
                    | EmbedError::TimedOut { .. }
                    | EmbedError::OverQuota { .. }
            ),
            _ => false,
        }
    }

    /// Whether the tenant's quota has to be waited for.
    pub(super) fn is_over_quota(&self) -> bool {
        matches!(self, CollectionError::Embed { error: EmbedError::OverQuota { .. }, .. })
    }
}
