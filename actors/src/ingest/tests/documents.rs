//! Documents from line to vector.

use std::sync::atomic::Ordering;

use headwater_embedding::ingest::{Lane, Standing};

use super::world::{NAME, TENANT, World, key, line, spec};
use crate::collection::CollectionSettings;
use crate::ingest::{IngestError, JobSpec, NearDuplicates};

const TWO: &str = "The lake is calm today. The river is wild tonight.";

#[tokio::test]
async fn each_chunk_gets_one_vector_and_duplicates_are_counted() {
    let world = World::new().await;
    let workers = world.start();
    let body = line("a", TWO) + &line("b", TWO) + &line("c", "The lake is calm today.");
    let key = world.job("one", spec(), &body).await;
    let status = world.ended(&key).await;
    let counts = &status.counts;
    assert_eq!(status.job.state.standing(), Standing::Done);
    assert_eq!((counts.get(Lane::Documents), counts.get(Lane::Chunks)), (3, 5));
    assert_eq!((counts.get(Lane::Duplicates), counts.get(Lane::Vectors)), (3, 2));
    assert_eq!((world.vectors().await, counts.waiting_bytes()), (2, 0));
    assert_eq!(status.oldest_waiting_ms, None);
    assert!(workers.drain(5_000).await);
}

#[tokio::test]
async fn a_document_written_again_leaves_nothing_behind() {
    let world = World::new().await;
    let _workers = world.start();
    let first = world.job("first", spec(), &line("a", TWO)).await;
    world.ended(&first).await;
    let second = world.job("second", spec(), &line("a", "The lake is calm today.")).await;
    world.ended(&second).await;
    assert_eq!(world.vectors().await, 1);
    let third = world.job("third", spec(), &line("a", "Another text altogether.")).await;
    world.ended(&third).await;
    assert_eq!(world.vectors().await, 1);
}

#[tokio::test]
async fn the_later_of_two_writes_wins_whatever_their_priority() {
    let world = World::new().await;
    let early = world.job("early", spec(), &line("a", TWO)).await;
    let late = JobSpec { priority: 9, ..spec() };
    let late = world.job("late", late, &line("a", "The last word.")).await;
    let _workers = world.start();
    assert_eq!(world.ended(&late).await.counts.get(Lane::Documents), 1);
    assert_eq!(world.ended(&early).await.counts.get(Lane::Superseded), 1);
    assert_eq!(world.vectors().await, 1);
}

#[tokio::test]
async fn a_full_queue_is_waited_for_and_failures_are_tried_again() {
    let world = World::new().await;
    world.words.full.store(5, Ordering::SeqCst);
    world.words.failures.store(2, Ordering::SeqCst);
    let _workers = world.start();
    let key = world.job("one", spec(), &line("a", TWO)).await;
    let counts = world.ended(&key).await.counts;
    assert_eq!((counts.get(Lane::Documents), counts.get(Lane::Retries)), (1, 2));
}

#[tokio::test]
async fn a_used_up_quota_is_waited_for_and_is_no_attempt() {
    let world = World::new().await;
    // More often than a document may fail; and once it does fail, after that, it has its attempts.
    world.words.over_quota.store(5, Ordering::SeqCst);
    world.words.failures.store(2, Ordering::SeqCst);
    let _workers = world.start();
    let key = world.job("one", spec(), &line("a", TWO)).await;
    let counts = world.ended(&key).await.counts;
    assert_eq!((counts.get(Lane::Documents), counts.dead()), (1, 0));
    assert_eq!(counts.get(Lane::Retries), 7);
    assert_eq!(world.vectors().await, counts.get(Lane::Vectors));
}

#[tokio::test]
async fn a_sink_that_loses_answers_gets_each_vector_once() {
    let world = World::new().await;
    world.sink.lose_answers(2);
    let _workers = world.start();
    let key = world.job("one", spec(), &line("a", TWO)).await;
    let counts = world.ended(&key).await.counts;
    assert_eq!((counts.get(Lane::Documents), counts.get(Lane::Vectors)), (1, 2));
    assert_eq!(world.vectors().await, 2);
}

#[tokio::test]
async fn dead_letters_tell_why_and_can_be_queued_again() {
    let world = World::new().await;
    world.words.failures.store(3, Ordering::SeqCst);
    let _workers = world.start();
    let key = world.job("one", spec(), &(line("a", "One text.") + "no JSON\n")).await;
    let counts = world.ended(&key).await.counts;
    let poison = world.job("two", spec(), &line("b", "This is poison.")).await;
    world.ended(&poison).await;
    assert_eq!((counts.dead(), counts.get(Lane::BadLines)), (1, 1));
    let letters = world.handle.dead_letters(&key, None, 10).await.expect("letters");
    assert_eq!((letters[0].document.as_deref(), letters[0].attempts), (Some("a"), 3));
    assert!(letters[0].reason.contains("replica was lost"), "{letters:?}");
    assert_eq!((letters[1].line, letters[1].is_retryable()), (2, false));
    let letters = world.handle.dead_letters(&poison, None, 10).await.expect("letters");
    assert_eq!(letters[0].attempts, 1, "another attempt would not help");
    world.handle.retry_dead(&key).await.expect("goes on");
    let counts = world.ended(&key).await.counts;
    assert_eq!((counts.dead(), counts.get(Lane::Documents), counts.waiting()), (0, 1, 0));
}

#[tokio::test]
async fn near_duplicates_are_reported_or_left_out() {
    let world = World::new().await;
    let _workers = world.start();
    let words: Vec<String> = (0..18).map(|word| format!("word{word}")).collect();
    let text = words.join(" ");
    let wide = |near_duplicates| {
        let mut spec = JobSpec { near_duplicates, ..spec() };
        spec.chunks.window_tokens = 18;
        spec
    };
    let first = world.job("first", wide(NearDuplicates::Report), &line("a", &text)).await;
    world.ended(&first).await;
    let shouted = text.to_uppercase();
    let second = world.job("second", wide(NearDuplicates::Report), &line("b", &shouted)).await;
    let counts = world.ended(&second).await.counts;
    assert_eq!((counts.get(Lane::NearDuplicates), counts.get(Lane::Chunks)), (1, 1));
    let third = world.job("third", wide(NearDuplicates::Skip), &line("c", &shouted)).await;
    let counts = world.ended(&third).await.counts;
    assert_eq!((counts.get(Lane::NearDuplicates), counts.get(Lane::Chunks)), (1, 0));
    let off = world.job("off", wide(NearDuplicates::Off), &line("d", &shouted)).await;
    assert_eq!(world.ended(&off).await.counts.get(Lane::NearDuplicates), 0);
    // A chunk that went resembles nothing any more.
    let collections = world.handle.collections();
    collections.delete_document(TENANT, NAME, "a").await.expect("is deleted");
    let alone = world.job("alone", wide(NearDuplicates::Report), &line("f", &shouted)).await;
    assert_eq!(world.ended(&alone).await.counts.get(Lane::NearDuplicates), 0);
    // What another collection of this name held is no neighbour.
    collections.delete(TENANT, NAME).await.expect("is deleted");
    let standard = CollectionSettings::default();
    collections.create(TENANT, NAME, "words", standard).await.expect("is created");
    let anew = world.job("anew", wide(NearDuplicates::Report), &line("e", &shouted)).await;
    let counts = world.ended(&anew).await.counts;
    assert_eq!((counts.get(Lane::NearDuplicates), counts.get(Lane::Chunks)), (0, 1));
}

#[tokio::test]
async fn a_cancelled_job_drops_what_has_not_begun() {
    let world = World::new().await;
    let body: String = (0..300).map(|number| line(&format!("d{number}"), "Some text.")).collect();
    let cancelled = world.job("one", spec(), &body).await;
    world.handle.cancel(&cancelled).await.expect("runs");
    let _workers = world.start();
    let status = world.ended(&cancelled).await;
    assert_eq!(status.job.state.standing(), Standing::Cancelled);
    assert_eq!((status.counts.get(Lane::Dropped), status.counts.waiting_bytes()), (300, 0));
    let again = world.job("two", spec(), &line("d1", "Some other text.")).await;
    assert_eq!(world.ended(&again).await.counts.get(Lane::Documents), 1);
    let refused = world.handle.resume(&cancelled).await;
    assert!(matches!(refused, Err(IngestError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn jobs_belong_to_their_tenants() {
    let world = World::new().await;
    world.job("mine", spec(), "").await;
    let mut other = key("mine");
    other.tenant = "other".to_owned();
    assert_eq!(world.handle.status(&other).await, Err(IngestError::NoJob("mine".to_owned())));
    assert_eq!(world.handle.list("other", None, 10).await.expect("a list"), []);
    assert_eq!(world.handle.list(TENANT, None, 10).await.expect("a list").len(), 1);
}
