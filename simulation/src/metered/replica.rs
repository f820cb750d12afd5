//! Replicas: they take a while, crash, run out of memory, or never come back.

use headwater_embedding::{BatchId, ReplicaIndex};
use headwater_models::{Model, OpenOptions, TokenBatch, Vectors};
use tokio::sync::mpsc::UnboundedSender;

use super::model;
use super::node::Event;
use crate::faults::{Faults, Kind};
use crate::world::World;

/// One batch on one replica. `life` tells this replica from the earlier ones in its slot.
pub(super) struct Run {
    pub(super) replica: ReplicaIndex,
    pub(super) life: u64,
    pub(super) batch: BatchId,
    pub(super) texts: TokenBatch,
}

/// Runs the batch and tells the node what came of it.
pub(super) async fn run(world: World, faults: Faults, node: UnboundedSender<Event>, run: Run) {
    let Run { replica, life, batch, texts } = run;
    let padded = (texts.sequences.len() * texts.longest()) as u64;
    world.sleep(1 + padded / 8 + world.between(0, 20)).await;
    if faults.strike(Kind::ReplicaHang) {
        return;
    }
    let event = if faults.strike(Kind::ReplicaCrash) || faults.strike(Kind::ReplicaOutOfMemory) {
        Event::ReplicaLost { replica, life }
    } else {
        match encode(&texts) {
            Ok(vectors) => Event::BatchDone { replica, life, batch, vectors },
            Err(text) => {
                world.violated("batches_can_be_encoded", text);
                Event::ReplicaLost { replica, life }
            }
        }
    };
    // A node that crashed meanwhile hears nothing.
    let _ = node.send(event);
}

fn encode(texts: &TokenBatch) -> Result<Vectors, String> {
    let mut encoder = model().open(&OpenOptions::threads(1)).map_err(|error| error.to_string())?;
    encoder.encode(texts).map_err(|error| error.to_string())
}
