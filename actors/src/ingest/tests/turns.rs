//! Which jobs a worker looks at, and how many there may be.

use std::sync::atomic::Ordering;
use std::time::Duration;

use headwater_embedding::ingest::Lane;

use super::world::{DEAR, JOBS, World, key, line, settings, spec};
use crate::ingest::{IngestError, JobSpec, jobs, keys};

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

#[tokio::test]
async fn a_job_whose_quota_is_used_up_rests_on_the_whole_node_and_others_go_on() {
    let world = World::new().await;
    let _workers = world.start();
    let documents = 100;
    let lines = |text: &str| {
        let lines =
            (0..documents).map(|number| line(&format!("{number}"), &format!("{number} {text}")));
        lines.collect::<String>()
    };
    let first = world.job("first", spec(), &lines("a text")).await;
    world.ended(&first).await;
    let urgent = JobSpec { priority: 9, ..spec() };
    let dear = world.job("dear", urgent, &lines(DEAR)).await;
    while world.words.refused.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Of lower priority, and behind it.
    let other = world.job("other", spec(), &line("other", "Another text.")).await;
    world.ended(&other).await;
    let begun = settings().workers * settings().documents;
    let refused = world.words.refused.load(Ordering::SeqCst);
    assert!(refused <= begun, "{refused} documents were begun though nothing can be paid for");
    // What was not begun is found as before.
    assert!(world.vectors().await >= (documents - begun) as u64);
    let counts = world.handle.status(&dear).await.expect("is there").counts;
    assert_eq!((counts.waiting(), counts.dead()), (documents as u64, 0));
    world.handle.cancel(&dear).await.expect("is cancelled");
    assert_eq!(world.ended(&dear).await.counts.waiting(), 0);
}
