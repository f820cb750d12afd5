//! Which jobs a worker looks at, and how many there may be.

use std::sync::atomic::Ordering;
use std::time::Duration;

use headwater_embedding::ingest::Lane;

use super::world::{JOBS, World, key, line, spec};
use crate::ingest::IngestError;
use crate::ingest::{jobs, keys};

#[tokio::test]
async fn a_job_behind_many_idle_ones_is_worked_on_and_a_tenant_has_no_more_than_its_jobs() {
    let world = World::new().await;
    let _workers = world.start();
    // They wait for documents, all of them ahead of the last one.
    for number in 1..JOBS {
        world.handle.create(&key(&format!("idle{number:03}")), spec()).await.expect("is created");
    }
    let last = key("last");
    world.handle.create(&last, spec()).await.expect("is created");
    let refused = world.handle.create(&key("more"), spec()).await;
    assert_eq!(refused.map(|_| ()), Err(IngestError::TooManyJobs { allowed: JOBS }));
    let (_, is_new) = world.handle.create(&key("idle001"), spec()).await.expect("is there");
    assert!(!is_new);
    let mut intake = world.handle.intake(&last, 0).await.expect("takes documents");
    intake.push(line("a", "One text.").as_bytes()).await.expect("is staged");
    intake.finish().await.expect("is staged");
    world.handle.seal(&last).await.expect("is sealed");
    assert_eq!(world.ended(&last).await.counts.get(Lane::Documents), 1);
    world.handle.create(&key("more"), spec()).await.expect("there is room again");
}

#[tokio::test]
async fn a_node_without_the_models_leaves_a_job_to_others() {
    let world = World::new().await;
    world.words.is_absent.store(true, Ordering::Relaxed);
    let _workers = world.start();
    let job = world.job("one", spec(), &line("a", "One text.")).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let retry = world.handle.retry();
    let claimed = jobs::read_range(retry, keys::holds_of(&job), 1).await.expect("an answer");
    assert!(claimed.is_empty(), "it holds what it cannot do");
    assert_eq!(world.handle.status(&job).await.expect("is there").counts.waiting(), 1);
    world.words.is_absent.store(false, Ordering::Relaxed);
    let counts = world.ended(&job).await.counts;
    assert_eq!((counts.get(Lane::Documents), counts.dead()), (1, 0));
}
