//! A replica: one encoder on a device thread of its own, and the actor in front of it.
//!
//! The actor fails when its encoder panics, runs out of memory or loses its device; the
//! model actor supervises it and starts another.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use headwater_embedding::{Pool, ReplicaIndex};
use headwater_models::{EncodeError, Encoder, Model, OpenOptions, Pace, TokenBatch, Vectors};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::background::lower_priority;
use super::messages::{ModelMessage, RunBatch};

/// Lengths of the texts that warm an encoder up, in tokens: allocations and kernels differ by
/// length.
const WARM_TOKENS: [usize; 3] = [16, 128, 512];

struct Job {
    tokens: TokenBatch,
    reply: oneshot::Sender<Result<Vectors, EncodeError>>,
}

pub(super) struct ReplicaActor;

pub(super) struct ReplicaArguments {
    pub(super) replica: ReplicaIndex,
    pub(super) model: Arc<dyn Model>,
    /// The pool that the replica belongs to; ingest's runs at the lowest priority.
    pub(super) home: Pool,
    /// CPU threads for one batch.
    pub(super) threads: usize,
    /// Where work of less urgency than queries waits.
    pub(super) pace: Pace,
    /// Whether the first start makes way for queries, too: those of other models.
    pub(super) start_paced: bool,
    pub(super) owner: ActorRef<ModelMessage>,
}

pub(super) struct ReplicaState {
    replica: ReplicaIndex,
    owner: ActorRef<ModelMessage>,
    /// Length of the model's vectors.
    dimensions: usize,
    jobs: mpsc::Sender<Job>,
    loaded: Option<oneshot::Receiver<Result<(), EncodeError>>>,
}

impl Actor for ReplicaActor {
    type Msg = RunBatch;
    type State = ReplicaState;
    type Arguments = ReplicaArguments;

    async fn pre_start(
        &self,
        _myself: ActorRef<RunBatch>,
        arguments: ReplicaArguments,
    ) -> Result<ReplicaState, ActorProcessingErr> {
        let ReplicaArguments { replica, model, home, threads, pace, start_paced, owner } =
            arguments;
        let (jobs, inbox) = mpsc::channel();
        let (report, loaded) = oneshot::channel();
        let dimensions = model.card().dimensions;
        let name = format!("{}-{}", model.card().name, replica.0);
        thread::Builder::new().name(name).spawn(move || {
            let warming = Arc::new(AtomicBool::new(true));
            let pace = match home {
                Pool::Ingest => {
                    lower_priority();
                    Some(pace)
                }
                Pool::Query if start_paced => Some(while_warming(pace, Arc::clone(&warming))),
                Pool::Query => None,
            };
            device_thread(&*model, &OpenOptions { threads, pace }, &warming, report, inbox);
        })?;
        Ok(ReplicaState { replica, owner, dimensions, jobs, loaded: Some(loaded) })
    }

    /// Waits for the weights here and not in `pre_start`, which would hold up the model
    /// actor for as long.
    async fn post_start(
        &self,
        myself: ActorRef<RunBatch>,
        state: &mut ReplicaState,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(loaded) = state.loaded.take() {
            loaded.await.map_err(|_| "the encoder panicked while it was loaded")??;
        }
        let (replica, actor) = (state.replica, myself.get_id());
        state.owner.cast(ModelMessage::ReplicaReady { replica, actor })?;
        Ok(())
    }

    async fn handle(
        &self,
        _myself: ActorRef<RunBatch>,
        message: RunBatch,
        state: &mut ReplicaState,
    ) -> Result<(), ActorProcessingErr> {
        let RunBatch { batch, pool, tokens } = message;
        let started = Instant::now();
        let rows = tokens.sequences.len();
        let (reply, answer) = oneshot::channel();
        state.jobs.send(Job { tokens, reply }).map_err(|_| "the device thread has ended")?;
        let outcome = match answer.await.map_err(|_| "the encoder panicked")? {
            Ok(vectors) if has_shape(&vectors, rows, state.dimensions) => Ok(vectors),
            Ok(_) => return Err("the encoder answered with vectors of a wrong shape".into()),
            Err(EncodeError::Input(why)) => Err(why),
            Err(lost @ (EncodeError::OutOfMemory(_) | EncodeError::Device(_))) => {
                return Err(lost.into());
            }
        };
        let replica = state.replica;
        let encode_seconds = started.elapsed().as_secs_f64();
        let finished =
            ModelMessage::BatchFinished { replica, batch, pool, outcome, encode_seconds };
        state.owner.cast(finished)?;
        Ok(())
    }
}

/// An answer of another shape would give some text no vector, or another text's.
fn has_shape(vectors: &Vectors, rows: usize, dimensions: usize) -> bool {
    vectors.dimensions == dimensions && vectors.values.len() == rows * dimensions
}

/// Loads the encoder, warms it up, then runs jobs until the actor is gone or the encoder
/// is broken. A dropped reply tells the actor of a panic.
fn device_thread(
    model: &dyn Model,
    options: &OpenOptions,
    warming: &AtomicBool,
    report: oneshot::Sender<Result<(), EncodeError>>,
    jobs: mpsc::Receiver<Job>,
) {
    let opened = catch_unwind(AssertUnwindSafe(|| warm_encoder(model, options)));
    warming.store(false, Ordering::Relaxed);
    let mut encoder = match opened {
        Ok(Ok(encoder)) => {
            let _ = report.send(Ok(()));
            encoder
        }
        Ok(Err(error)) => {
            let _ = report.send(Err(error));
            return;
        }
        Err(_panic) => return,
    };
    while let Ok(Job { tokens, reply }) = jobs.recv() {
        let Ok(outcome) = catch_unwind(AssertUnwindSafe(|| encoder.encode(&tokens))) else {
            return;
        };
        let usable = matches!(outcome, Ok(_) | Err(EncodeError::Input(_)));
        let _ = reply.send(outcome);
        if !usable {
            return;
        }
    }
}

/// A pace that lasts until the encoder is warm.
fn while_warming(pace: Pace, warming: Arc<AtomicBool>) -> Pace {
    Arc::new(move || {
        if warming.load(Ordering::Relaxed) {
            pace();
        }
    })
}

/// The first batches of a fresh encoder are slow (allocations, kernel choice); the emptiest text
/// and some longer ones pay for it before any client does.
fn warm_encoder(model: &dyn Model, options: &OpenOptions) -> Result<Box<dyn Encoder>, EncodeError> {
    let mut encoder = model.open(options)?;
    let empty = model.adopt(&[], None).map_err(|error| EncodeError::Input(error.to_string()))?;
    if !empty.ids.is_empty() {
        encoder.encode(&TokenBatch::of([empty.ids]))?;
    }
    let most = model.card().max_tokens;
    for tokens in WARM_TOKENS.into_iter().filter(|tokens| *tokens <= most) {
        // A model that reads no plain texts has nothing to be warmed with.
        if let Ok(text) = model.tokenize(&"warm ".repeat(tokens), Some(tokens)) {
            encoder.encode(&TokenBatch::of([text.ids]))?;
        }
    }
    Ok(encoder)
}
