//! Jobs whose documents a node reads itself, and jobs that are forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use headwater_embedding::ingest::Lane;

use super::world::{World, key, line, spec};
use crate::ingest::{DocumentSource, IngestError, JobSpec, SourceError, SourceSpec, jobs};

/// Places in memory that give a few bytes at a time; the first reads may fail.
struct Shelf {
    failures: AtomicUsize,
}

#[async_trait]
impl DocumentSource for Shelf {
    async fn read(&self, place: &str, offset: u64, most: usize) -> Result<Vec<u8>, SourceError> {
        let left = self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_ok() {
            return Err(SourceError::Unavailable("not now".to_owned()));
        }
        let text = match place {
            "one" => line("a", "First text.") + line("b", "Second text.").trim_end(),
            "two" => line("c", "Third text.") + "no JSON\n\n",
            _ => return Err(SourceError::Refused("there is no such place".to_owned())),
        };
        let rest = text.as_bytes().get(offset as usize..).unwrap_or_default();
        Ok(rest[..rest.len().min(most).min(7)].to_vec())
    }
}

#[tokio::test]
async fn a_node_reads_places_and_those_it_cannot_read_become_dead_letters() {
    let world = World::new().await;
    let shelf = Shelf { failures: AtomicUsize::new(2) };
    let _workers = world.start_with(Some(Arc::new(shelf)));
    let places = ["one", "none", "two"].map(str::to_owned).to_vec();
    let source = SourceSpec::Places(places);
    let key = key("places");
    world.handle.create(&key, JobSpec { source, ..spec() }).await.expect("is created");
    let status = world.ended(&key).await;
    assert_eq!(status.counts.get(Lane::Documents), 3, "{status:?}");
    let letters = world.handle.dead_letters(&key, None, 10).await.expect("letters");
    let told: Vec<_> = letters.iter().map(|letter| (letter.line, letter.reason.as_str())).collect();
    assert_eq!(told[0], (3, "there is no such place"));
    assert_eq!(told[1].0, 5);
}

#[tokio::test]
async fn jobs_that_ended_long_ago_are_forgotten_with_all_their_rows() {
    let world = World::new().await;
    let _workers = world.start();
    let key = world.job("old", spec(), &(line("a", "poison") + "no JSON\n")).await;
    let ended = world.ended(&key).await.job.state.ended_ms.expect("has ended");
    let retry = world.handle.retry();
    assert_eq!(jobs::forget(retry, ended).await, Ok(false), "it ended not before that");
    while jobs::forget(retry, ended + 1).await.expect("the store answers") {}
    assert_eq!(world.handle.status(&key).await, Err(IngestError::NoJob("old".to_owned())));
    let rest = jobs::read_range(retry, headwater_storage::KeyRange::of_prefix(b"\x02ingest"), 10);
    let rest = rest.await.expect("the store answers");
    let kinds: Vec<_> = rest.iter().map(|(key, _)| String::from_utf8_lossy(key)).collect();
    assert!(kinds.iter().all(|kind| kind.contains("mend/") || kind.contains("near")), "{kinds:?}");
}

#[tokio::test]
async fn a_limit_of_tokens_a_second_is_kept_in_the_store() {
    let world = World::new().await;
    let body: String =
        (0..6).map(|number| line(&format!("d{number}"), &format!("Text {number}."))).collect();
    let limited = JobSpec { tokens_per_s: Some(30), ..spec() };
    let _workers = world.start();
    let key = world.job("slow", limited, &body).await;
    world.ended(&key).await;
    let next: Option<u64> = jobs::read_range(
        world.handle.retry(),
        headwater_storage::KeyRange::of_key(&crate::ingest::keys::pace_key(&key)),
        1,
    )
    .await
    .expect("the store answers")
    .pop()
    .map(|(_, row)| crate::ingest::records::decode(&row).expect("a row"));
    assert!(next.is_some(), "the limit was kept in the store");
}
