//! What goes wrong, and the operator who builds, pauses, cancels, rolls back and retires.

use headwater_actors::collection::{Collection, CollectionError, Policy};

use super::models::MODELS;
use super::node::{Cluster, Life};
use super::{HEAL_MS, NAME, TENANT};

/// Starts the operator and the troubles; they end when the world heals.
pub(crate) async fn make(cluster: Cluster) {
    let world = cluster.world.clone();
    world.spawn(operate(cluster.clone()));
    loop {
        world.sleep(world.between(300, 5_000)).await;
        if world.now_ms() >= HEAL_MS {
            return;
        }
        let left_ms = HEAL_MS.saturating_sub(world.now_ms());
        let lasts_ms = world.between(50, 6_000).min(left_ms);
        let Some(life) = cluster.any() else { continue };
        let options = &cluster.options;
        match world.between(0, 5) {
            0 if options.kills => {
                world.count("node killed");
                cluster.kill(&life);
                world.sleep(world.between(10, 2_000)).await;
                cluster.start(life.place);
            }
            1 if options.freezes => {
                world.count("node frozen");
                world.note(format_args!("node-{} freezes", life.place));
                world.freeze(life.group);
                world.sleep(lasts_ms).await;
                world.thaw(life.group);
            }
            2 if options.cuts => {
                life.door.cut(true);
                world.sleep(lasts_ms).await;
                life.door.cut(false);
            }
            3 => {
                cluster.sink.set_down(true);
                world.sleep(lasts_ms / 4).await;
                cluster.sink.set_down(false);
            }
            4 if options.unloads => {
                cluster.models.unload(Some(world.between(0, MODELS.len() as u64 - 1) as usize));
                world.sleep(lasts_ms).await;
                cluster.models.unload(None);
            }
            5 => {
                cluster.store.set_slow(true);
                world.sleep(lasts_ms / 2).await;
                cluster.store.set_slow(false);
            }
            _ => {}
        }
    }
}

async fn operate(cluster: Cluster) {
    let world = cluster.world.clone();
    loop {
        world.sleep(world.between(50, cluster.options.operator_ms)).await;
        if world.now_ms() >= HEAL_MS {
            return;
        }
        let Some(life) = cluster.any() else { continue };
        let acting = cluster.clone();
        // It dies with the process that it goes through.
        world.spawn_in(life.group, async move {
            if let Err(error) = act(&acting, &life).await {
                acting.world.note(format_args!("operator: {error}"));
            }
        });
    }
}

async fn act(cluster: &Cluster, life: &Life) -> Result<(), CollectionError> {
    let (world, collections) = (&cluster.world, &life.collections);
    let collection = collections.get(TENANT, NAME).await?;
    let Some(build) = collection.versions.building.clone() else {
        return match world.between(0, 9) {
            0 => {
                collections.retire(TENANT, NAME).await?;
                world.count("retired");
                Ok(())
            }
            1 | 2 => roll_back(cluster, life).await,
            _ => start(cluster, life, &collection).await,
        };
    };
    let version = build.version.fingerprint.as_str();
    match world.between(0, 9) {
        0 | 1 => {
            collections.cancel_build(TENANT, NAME, version).await?;
            world.count("build cancelled");
        }
        2 | 3 => {
            let model = build.version.model.as_str();
            collections.cancel_build(TENANT, NAME, version).await?;
            collections.start_build(TENANT, NAME, model, Policy::Eager, None).await?;
            world.count("build started again at once");
        }
        4 | 5 if build.paused => {
            collections.resume_build(TENANT, NAME, version).await?;
        }
        4 => {
            collections.pause_build(TENANT, NAME, version).await?;
            world.count("build paused");
        }
        6 => roll_back(cluster, life).await?,
        _ if !build.sweeping => {
            collections.complete_build(TENANT, NAME, version).await?;
            world.count("a lazy build was completed");
        }
        _ => {}
    }
    Ok(())
}

async fn roll_back(cluster: &Cluster, life: &Life) -> Result<(), CollectionError> {
    life.collections.roll_back(TENANT, NAME).await?;
    cluster.world.count("rolled back");
    Ok(())
}

async fn start(
    cluster: &Cluster,
    life: &Life,
    collection: &Collection,
) -> Result<(), CollectionError> {
    let live =
        |model: &&str| collection.versions.live().any(|(_, version)| version.model == *model);
    let free: Vec<&str> = MODELS.into_iter().filter(|model| !live(model)).collect();
    let Some(last) = (free.len() as u64).checked_sub(1) else { return Ok(()) };
    let model = free[cluster.world.between(0, last) as usize];
    let policy = if cluster.world.percent(30) { Policy::Lazy } else { Policy::Eager };
    life.collections.start_build(TENANT, NAME, model, policy, None).await?;
    Ok(())
}
