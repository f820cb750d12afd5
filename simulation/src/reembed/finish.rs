//! The beginning, and the end: the world heals, every build completes, and every version holds
//! every chunk once.

use std::collections::BTreeSet;

use headwater_actors::collection::{ChunkId, Collection, CollectionSettings, Collections};
use headwater_vectors::Sink;

use super::board::text;
use super::clients::search_once;
use super::models::MODELS;
use super::node::{Cluster, Life};
use super::truth::Truth;
use super::{HEAL_MS, NAME, SETTLED_MS, TENANT};
use crate::world::Group;

/// Creates the collection, then starts the processes.
pub(crate) async fn begin(cluster: Cluster) {
    let (life, _, _) = cluster.enter(Group::WORLD, 0);
    loop {
        let settings = CollectionSettings::default();
        let _ = life.collections.create(TENANT, NAME, MODELS[0], settings).await;
        if life.collections.get(TENANT, NAME).await.is_ok() {
            break;
        }
        cluster.world.sleep(100).await;
    }
    life.door.close();
    for place in 0..cluster.options.nodes {
        cluster.start(place);
    }
}

/// Heals the world, then checks that all is well.
pub(crate) async fn heal_and_check(cluster: Cluster, truth: Truth) {
    let world = cluster.world.clone();
    world.sleep(HEAL_MS).await;
    world.note("the world heals");
    cluster.store.heal();
    cluster.sink.heal();
    cluster.models.heal();
    world.sleep(8_000).await;
    let (life, _, _) = cluster.enter(Group::WORLD, 0);
    go_on(&life.collections).await;
    world.sleep(SETTLED_MS.saturating_sub(world.now_ms())).await;
    if cluster.lives().len() as u64 != cluster.options.nodes {
        world.violated("every_node_comes_back", format_args!("{}", cluster.lives().len()));
    }
    if !cluster.board.is_settled() {
        world.violated("every_document_is_written_in_the_end", "some are still open");
    }
    if let Ok(collection) = life.collections.get(TENANT, NAME).await {
        check_all(&cluster, &truth, &life, collection).await;
    } else {
        world.violated("every_row_can_be_read", "the collection");
    }
    life.door.close();
    truth.set_checked();
}

/// A build that waits for its operator goes on.
async fn go_on(collections: &Collections) {
    let Ok(collection) = collections.get(TENANT, NAME).await else { return };
    let Some(build) = &collection.versions.building else { return };
    let version = &build.version.fingerprint;
    if build.paused {
        let _ = collections.resume_build(TENANT, NAME, version).await;
    }
    if !build.sweeping {
        let _ = collections.complete_build(TENANT, NAME, version).await;
    }
}

async fn check_all(cluster: &Cluster, truth: &Truth, life: &Life, collection: Collection) {
    let world = &cluster.world;
    if let Some(build) = &collection.versions.building {
        let progress = life.collections.progress(&collection).await;
        let seen = format!("generation {}: {progress:?}", build.version.generation);
        world.violated("a_build_completes_once_the_world_is_well", seen);
    }
    for (role, version) in collection.versions.live() {
        truth.is_complete(&collection, version, super::completeness(role));
    }
    let expected = cluster.board.acknowledged();
    check_found(cluster, life, &expected, "a_deleted_chunk_is_not_found").await;
    if let Err(error) = life.collections.scrub(TENANT, NAME).await {
        world.violated("a_scrub_ends", error);
    }
    for (_, version) in collection.versions.live() {
        let space = collection.space(version).name;
        let records = cluster.sink.page(&space, None, usize::MAX).await.unwrap_or_default();
        let ids: Vec<ChunkId> = records.iter().map(|record| record.id.into()).collect();
        if ids.iter().copied().collect::<BTreeSet<_>>() != expected || ids.len() != expected.len() {
            let seen = format!("{} vectors of {} chunks", ids.len(), expected.len());
            world.violated("one_vector_per_chunk_and_version", seen);
        }
    }
    if collection.versions.previous.is_some() {
        if let Err(error) = life.collections.roll_back(TENANT, NAME).await {
            world.violated("roll_back_loses_no_document", error);
        }
        check_found(cluster, life, &expected, "roll_back_loses_no_document").await;
        world.count("rolled back in the end");
    }
}

/// A search finds every chunk that there is, and none besides.
async fn check_found(
    cluster: &Cluster,
    life: &Life,
    expected: &BTreeSet<ChunkId>,
    invariant: &'static str,
) {
    match search_once(life, &text(0), None).await {
        Ok(found) => {
            let found: BTreeSet<ChunkId> = found.hits.iter().map(|hit| hit.chunk).collect();
            if found != *expected {
                let gone = found.difference(expected).count();
                let lost = expected.difference(&found).count();
                let seen = format!("{gone} found that are gone, {lost} not found");
                cluster.world.violated(invariant, seen);
            }
        }
        Err(error) => cluster.world.violated(invariant, error),
    }
}
