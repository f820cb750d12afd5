//! Builds with the real runner and its lease: eager, lazy, paused, cancelled, rolled back.

use std::time::Duration;

use headwater_vectors::Sink;
use tokio::time::sleep;

use super::world::{NAME, TENANT, World, ids};
use crate::cluster::tests::world::{id, within};
use crate::cluster::{Claimant, Incarnation, KeeperSettings, Leases};
use crate::collection::{
    Collection, Policy, ReembedSettings, Reembedding, Role, SweepPhase, VersionProblem,
};

const TEXTS: [&str; 5] = ["a one", "b two", "c three", "d four", "e five"];

/// A runner that takes two chunks a step.
fn run(world: &World, settings: ReembedSettings) {
    let collections = world.collections.clone();
    let (runtime, retry) = (collections.runtime().clone(), collections.retry().clone());
    let claimant = Claimant { node: id("a"), incarnation: Incarnation(1) };
    let leases = Leases::new(runtime.clone(), retry, claimant, KeeperSettings::default());
    runtime.spawn(leases.clone().run());
    runtime.spawn(Reembedding::new(collections, leases, settings).run());
}

fn two_a_step() -> ReembedSettings {
    ReembedSettings { look_ms: 50, page_chunks: 2, ..ReembedSettings::default() }
}

async fn world_with_documents() -> World {
    let world = World::with_collection().await;
    world.fill(&world.put("document", &TEXTS).await).await;
    world
}

async fn get(world: &World) -> Collection {
    world.collections.get(TENANT, NAME).await.expect("is there")
}

/// Roles and models of the live versions, in their order.
fn live(collection: &Collection) -> Vec<(Role, &str)> {
    let live = collection.versions.live();
    live.map(|(role, version)| (role, version.model.as_str())).collect()
}

async fn serves(world: &World, model: &str) -> Collection {
    within(async {
        loop {
            let collection = get(world).await;
            if collection.versions.serving.model == model {
                return collection;
            }
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

async fn start(world: &World, policy: Policy) -> String {
    let started = world.collections.start_build(TENANT, NAME, "second", policy, None).await;
    let build = started.expect("starts").versions.building.expect("is being built");
    build.version.fingerprint
}

#[tokio::test(start_paused = true)]
async fn an_eager_build_copies_checks_and_switches() {
    let world = world_with_documents().await;
    run(&world, two_a_step());
    start(&world, Policy::Eager).await;
    let collection = serves(&world, "second").await;
    assert_eq!(live(&collection), [(Role::Serving, "second"), (Role::Previous, "first")]);
    for target in collection.targets() {
        assert_eq!(world.vectors(&target).await.len(), TEXTS.len(), "{}", target.model);
    }
    assert_eq!(world.collections.progress(&collection).await, Ok(None));
    // Both are kept up to date, so nothing is lost either way.
    world.fill(&world.put("later", &["f six"]).await).await;
    let back = world.collections.roll_back(TENANT, NAME).await.expect("rolls back");
    assert_eq!(live(&back), [(Role::Serving, "first"), (Role::Previous, "second")]);
    for target in back.targets() {
        assert_eq!(world.vectors(&target).await.len(), 1 + TEXTS.len(), "{}", target.model);
    }
    let space = back.targets().pop().expect("two").space.name;
    let retired = world.collections.retire(TENANT, NAME).await.expect("retires");
    assert_eq!(live(&retired), [(Role::Serving, "first")]);
    assert_eq!(world.sink.space(&space).await, Ok(None));
    let again = world.collections.roll_back(TENANT, NAME).await;
    assert_eq!(again.map(|_| ()), Err(VersionProblem::NoPrevious.into()));
}

#[tokio::test(start_paused = true)]
async fn a_paused_build_waits_and_goes_on_where_it_stopped() {
    let world = world_with_documents().await;
    let slow = ReembedSettings { chunks_per_s: Some(1), ..two_a_step() };
    run(&world, slow);
    let version = start(&world, Policy::Eager).await;
    let progress = |collection: Collection| {
        let collections = world.collections.clone();
        async move { collections.progress(&collection).await.expect("is told").expect("builds") }
    };
    within(async {
        while progress(get(&world).await).await.done < 2 {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    world.collections.pause_build(TENANT, NAME, &version).await.expect("pauses");
    sleep(Duration::from_secs(20)).await;
    let held = progress(get(&world).await).await;
    assert_eq!((held.done, held.total, held.phase), (2, 5, SweepPhase::Copying));
    assert_eq!(world.models.embedded_by(&version), 2);
    world.collections.resume_build(TENANT, NAME, &version).await.expect("goes on");
    serves(&world, "second").await;
    assert_eq!(world.models.embedded_by(&version), TEXTS.len());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_build_leaves_no_space() {
    let world = world_with_documents().await;
    let version = start(&world, Policy::Eager).await;
    let target = world.target().await;
    assert_eq!(target.role, Role::Building);
    world.collections.cancel_build(TENANT, NAME, &version).await.expect("is cancelled");
    assert_eq!(world.sink.space(&target.space.name).await, Ok(None));
    // A worker that has not heard creates the space anew; the runner drops it again.
    world.sink.create(&target.space).await.expect("is created");
    run(&world, two_a_step());
    within(async {
        while world.sink.space(&target.space.name).await != Ok(None) {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(live(&get(&world).await), [(Role::Serving, "first")]);
}

#[tokio::test(start_paused = true)]
async fn a_lazy_build_embeds_what_is_read_until_it_is_completed() {
    let world = world_with_documents().await;
    run(&world, two_a_step());
    let version = start(&world, Policy::Lazy).await;
    let building = world.target().await;
    sleep(Duration::from_secs(5)).await;
    assert!(world.vectors(&building).await.is_empty(), "nobody has read anything");
    let found = world.search("c three", 1).await.expect("is found");
    assert_eq!(found.hits.len(), 1);
    within(async {
        while world.vectors(&building).await.is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let embedded: Vec<_> = world.vectors(&building).await.into_keys().collect();
    assert_eq!(embedded, ids(&["c three"]));
    assert_eq!(live(&get(&world).await)[1], (Role::Serving, "first"));
    world.collections.complete_build(TENANT, NAME, &version).await.expect("is asked for");
    let collection = serves(&world, "second").await;
    assert_eq!(world.vectors(&collection.targets()[0]).await.len(), TEXTS.len());
}

#[tokio::test(start_paused = true)]
async fn a_build_whose_model_is_gone_says_so_and_goes_on_when_it_is_back() {
    let world = world_with_documents().await;
    start(&world, Policy::Eager).await;
    world.models.unload("second");
    run(&world, two_a_step());
    let problem = within(async {
        loop {
            let progress = world.collections.progress(&get(&world).await).await;
            if let Some(problem) = progress.expect("is told").expect("builds").problem {
                return problem;
            }
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(problem.contains("no node serves version"), "{problem}");
    world.models.serve("second");
    serves(&world, "second").await;
}
