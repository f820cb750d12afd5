//! What the embedding actors say to each other.

use headwater_embedding::{BatchId, Failure, Pool, ReplicaIndex, RequestId};
use headwater_models::{Sequence, TokenBatch, Vectors};
use ractor::ActorId;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// A request on its way through the model actor.
pub(super) struct Work {
    pub(super) request: RequestId,
    pub(super) pool: Pool,
    pub(super) texts: Vec<Sequence>,
    /// Where the vectors go, one per text in the order of the texts.
    pub(super) reply: oneshot::Sender<Result<Vec<Vec<f32>>, Failure>>,
    /// The request's share of its pool's queue; given back when the work is dropped.
    pub(super) permit: OwnedSemaphorePermit,
}

/// To a model actor.
pub(super) enum ModelMessage {
    Embed(Work),
    /// The client left.
    Cancel(RequestId),
    StartReplica(ReplicaIndex),
    ReplicaReady {
        replica: ReplicaIndex,
        actor: ActorId,
    },
    BatchFinished {
        replica: ReplicaIndex,
        batch: BatchId,
        pool: Pool,
        /// The vectors, or why the encoder refused the batch.
        outcome: Result<Vectors, String>,
        encode_seconds: f64,
    },
    /// The alarm armed for this time, in ms.
    Wake(u64),
    /// One step of the replica controllers.
    Control,
    /// Ends a replica as if it had died; its supervisor starts it again.
    KillReplica(ReplicaIndex),
}

/// To a replica actor.
pub(super) struct RunBatch {
    pub(super) batch: BatchId,
    pub(super) pool: Pool,
    pub(super) tokens: TokenBatch,
}

// With ractor's cluster part compiled in, local messages say that they are some.
impl ractor::Message for ModelMessage {}
impl ractor::Message for RunBatch {}
