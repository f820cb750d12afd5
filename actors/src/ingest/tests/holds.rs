//! Holds: one at a time, fenced, given back.

use headwater_embedding::ingest::{document_key, partition_of};
use headwater_storage::StoreError;

use super::world::{World, line, settings, spec};
use crate::ingest::JobSpec;
use crate::ingest::holds::Claims;
use crate::ingest::tasks::{self, Ending};

fn claims(world: &World, ttl_ms: u64) -> Claims {
    let mut hold = settings().hold;
    hold.ttl_ms = ttl_ms;
    Claims {
        retry: world.handle.retry().clone(),
        policy: settings().retry,
        runtime: world.handle.runtime().clone(),
        settings: hold,
    }
}

#[tokio::test]
async fn a_partition_has_one_holder_until_its_time_is_over() {
    let world = World::new().await;
    let key = world.job("one", spec(), &line("a", "text")).await;
    let partition = partition_of(&document_key("a"));
    let first = claims(&world, 60_000).of_job(&key, partition).await.expect("the store answers");
    let first = first.expect("is free");
    assert!(first.stands());
    let second = claims(&world, 60_000).of_job(&key, partition).await.expect("the store answers");
    assert!(second.is_none(), "the first one holds it");
    first.release().await;
    let third = claims(&world, 60_000).of_job(&key, partition).await.expect("the store answers");
    assert!(third.is_some());
}

#[tokio::test]
async fn a_stale_holder_can_write_nothing() {
    let world = World::new().await;
    let key = world.job("one", spec(), &line("a", "text")).await;
    let partition = partition_of(&document_key("a"));
    let stale = claims(&world, 1).of_job(&key, partition).await.expect("the store answers");
    let stale = stale.expect("is free");
    assert!(!stale.stands(), "its time is shorter than the margins");
    let taken = tasks::take(&stale, &Default::default(), 1, 1, u64::MAX).await.expect("is held");
    assert_eq!((taken.tasks.len(), taken.tasks[0].row.attempts), (1, 1));
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let next = claims(&world, 60_000).of_job(&key, partition).await.expect("the store answers");
    let next = next.expect("the first one's time is over");
    let ending = Ending::Done(Default::default());
    let refused = tasks::end(&stale, &taken.tasks[0], &ending).await;
    assert!(matches!(refused, Err(StoreError::Usage(_))), "{refused:?}");
    let again = tasks::take(&next, &Default::default(), 1, 2, u64::MAX).await.expect("is held");
    assert_eq!((again.tasks.len(), again.tasks[0].row.attempts), (1, 2));
    let same = tasks::take(&next, &Default::default(), 1, 2, u64::MAX).await.expect("is held");
    assert_eq!(same.tasks[0].row.attempts, 2, "the same call again counts no attempt");
    tasks::end(&next, &again.tasks[0], &ending).await.expect("is held");
    tasks::end(&next, &again.tasks[0], &ending).await.expect("twice is as good as once");
    assert_eq!(world.handle.status(&key).await.expect("is there").counts.waiting(), 0);
}

#[tokio::test]
async fn a_job_has_no_more_workers_than_it_allows() {
    let world = World::new().await;
    let body: String = (0..40).map(|number| line(&format!("d{number}"), "text")).collect();
    let key = world.job("one", JobSpec { workers_max: 2, ..spec() }, &body).await;
    let claims = claims(&world, 60_000);
    let mut held = Vec::new();
    for partition in 0..5 {
        held.extend(claims.of_job(&key, partition).await.expect("the store answers"));
    }
    assert_eq!(held.len(), 2);
    assert_eq!(world.handle.status(&key).await.expect("is there").workers, 2);
    held.pop().expect("two").release().await;
    assert!(claims.of_job(&key, 9).await.expect("the store answers").is_some());
}
