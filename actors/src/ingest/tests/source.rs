//! Jobs whose documents a node reads itself, and jobs that are forgotten.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use headwater_embedding::ingest::Lane;
use tokio::time::sleep;

use super::world::{World, key, line, spec};
use crate::ingest::{
    DocumentSource, IngestError, IngestWorkers, JobKey, JobSpec, SourceError, SourceSpec, jobs,
};

/// Places in memory that give a few bytes at a time; the first reads may fail.
struct Shelf {
    failures: AtomicUsize,
}

impl Shelf {
    fn fail(&self) -> Result<(), SourceError> {
        let left = self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match left {
            Ok(_) => Err(SourceError::Unavailable("not now".to_owned())),
            Err(_) => Ok(()),
        }
    }
}

#[async_trait]
impl DocumentSource for Shelf {
    async fn next(&self, place: &str, after: Option<&str>) -> Result<Option<String>, SourceError> {
        self.fail()?;
        let names: &[&str] = match place {
            "all/" => &["one", "none", "two"],
            "empty/" => &[],
            "locked/" => return Err(SourceError::Refused("it is locked".to_owned())),
            one => return Ok(after.is_none().then(|| one.to_owned())),
        };
        let mut next = names.iter().skip_while(|name| after.is_some_and(|after| after != **name));
        Ok(next.nth(usize::from(after.is_some())).map(|name| (*name).to_owned()))
    }

    async fn read(&self, place: &str, offset: u64, most: usize) -> Result<Vec<u8>, SourceError> {
        self.fail()?;
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
    assert_eq!(letters[0].field.as_deref(), Some("source.places[1]"));
    assert_eq!(told[1].0, 5);
}

#[tokio::test]
async fn a_prefix_is_all_objects_below_it_and_what_is_wrong_names_the_object() {
    let world = World::new().await;
    let shelf = Shelf { failures: AtomicUsize::new(3) };
    let _workers = world.start_with(Some(Arc::new(shelf)));
    let places = ["empty/", "locked/", "all/"].map(str::to_owned).to_vec();
    let source = SourceSpec::Places(places);
    let key = key("places");
    world.handle.create(&key, JobSpec { source, ..spec() }).await.expect("is created");
    let status = world.ended(&key).await;
    assert_eq!(status.counts.get(Lane::Documents), 3, "{status:?}");
    let letters = world.handle.dead_letters(&key, None, 10).await.expect("letters");
    let told: Vec<_> = letters
        .iter()
        .map(|letter| (letter.field.as_deref().unwrap_or(""), letter.reason.as_str()))
        .collect();
    assert_eq!(told[0], ("source.places[0]", "no object lies below the place"));
    assert_eq!(told[1], ("source.places[1]", "it is locked"));
    assert_eq!(told[2], ("source.places[2]", "none: there is no such place"));
    assert_eq!(told.len(), 4, "and the line that is no JSON: {told:?}");
}

/// A reader that stops after so many of its reads for good; the next one goes on behind it.
#[tokio::test]
async fn a_reader_that_is_cut_off_goes_on_in_the_object_it_was_in() {
    for reads in [1, 9, 12, 17, 25] {
        let world = World::new().await;
        let shelf = Arc::new(Cut {
            shelf: Shelf { failures: AtomicUsize::new(0) },
            left: AtomicUsize::new(reads),
        });
        let workers = world.start_with(Some(shelf.clone()));
        let source = SourceSpec::Places(vec!["all/".to_owned(), "two".to_owned()]);
        let key = key("places");
        world.handle.create(&key, JobSpec { source, ..spec() }).await.expect("is created");
        while shelf.left.load(Ordering::SeqCst) > 0 {
            sleep(Duration::from_millis(1)).await;
        }
        assert!(workers.drain(5_000).await);
        shelf.left.store(usize::MAX, Ordering::SeqCst);
        let _others = world.start_with(Some(shelf));
        let status = world.ended(&key).await;
        let (documents, bad) =
            (status.counts.get(Lane::Documents), status.counts.get(Lane::BadLines));
        let superseded = status.counts.get(Lane::Superseded);
        assert_eq!((documents + superseded, bad), (4, 3), "cut after {reads}: {status:?}");
    }
}

/// A shelf that never answers again after so many reads.
struct Cut {
    shelf: Shelf,
    left: AtomicUsize,
}

#[async_trait]
impl DocumentSource for Cut {
    async fn next(&self, place: &str, after: Option<&str>) -> Result<Option<String>, SourceError> {
        self.shelf.next(place, after).await
    }

    async fn read(&self, place: &str, offset: u64, most: usize) -> Result<Vec<u8>, SourceError> {
        let left =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match left {
            Ok(_) => self.shelf.read(place, offset, most).await,
            Err(_) => pending().await,
        }
    }
}

/// What a node meets at a place that never ends.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// Lines without an end.
    Endless,
    /// No answer ever.
    Hangs,
    /// It cannot be read now, and never.
    Fails,
}

struct Troubled {
    trouble: Trouble,
    reads: AtomicUsize,
}

/// More reads than any test needs; a loop without a pause ends here.
const READS: usize = 1_000;

#[async_trait]
impl DocumentSource for Troubled {
    async fn next(&self, place: &str, after: Option<&str>) -> Result<Option<String>, SourceError> {
        Ok(after.is_none().then(|| place.to_owned()))
    }

    async fn read(&self, _: &str, offset: u64, most: usize) -> Result<Vec<u8>, SourceError> {
        let reads = self.reads.fetch_add(1, Ordering::SeqCst);
        match self.trouble {
            Trouble::Fails if reads < READS => Err(SourceError::Unavailable("broken".to_owned())),
            Trouble::Endless => {
                // A store in memory answers at once: without a pause nobody else gets a turn.
                sleep(Duration::from_millis(1)).await;
                let lines = (0..).map(|number| line(&format!("{offset}-{number}"), "text"));
                let mut bytes = Vec::new();
                for line in lines.take_while(|_| reads < READS).take(most.min(600)) {
                    bytes.extend_from_slice(line.as_bytes());
                }
                Ok(bytes)
            }
            Trouble::Hangs | Trouble::Fails => pending().await,
        }
    }
}

impl Troubled {
    async fn job(world: &World, trouble: Trouble) -> (Arc<Troubled>, IngestWorkers, JobKey) {
        let troubled = Arc::new(Troubled { trouble, reads: AtomicUsize::new(0) });
        let workers = world.start_with(Some(troubled.clone()));
        let source = SourceSpec::Places(vec!["one".to_owned()]);
        let key = key("places");
        world.handle.create(&key, JobSpec { source, ..spec() }).await.expect("is created");
        while troubled.reads.load(Ordering::SeqCst) == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        (troubled, workers, key)
    }
}

#[tokio::test]
async fn a_drain_and_a_cancel_end_the_reading_of_a_place() {
    for trouble in [Trouble::Endless, Trouble::Hangs, Trouble::Fails] {
        let world = World::new().await;
        let (_, workers, key) = Troubled::job(&world, trouble).await;
        assert!(workers.drain(20_000).await, "{trouble:?}: the drain is heard");
        let state = world.handle.status(&key).await.expect("is there").job.state;
        assert!(state.may_receive(), "{trouble:?}: another node goes on");
        let world = World::new().await;
        let (_, workers, key) = Troubled::job(&world, trouble).await;
        world.handle.cancel(&key).await.expect("is cancelled");
        world.ended(&key).await;
        assert!(workers.drain(20_000).await, "{trouble:?}: the cancel is heard");
    }
}

/// In the test's own time: each worker reads a few times, then leaves the place alone for a while.
#[tokio::test(start_paused = true)]
async fn a_place_that_cannot_be_read_is_asked_seldom() {
    let world = World::new().await;
    let (troubled, _workers, _) = Troubled::job(&world, Trouble::Fails).await;
    sleep(Duration::from_secs(60)).await;
    let reads = troubled.reads.load(Ordering::SeqCst);
    assert!((10..=100).contains(&reads), "{reads} reads in a minute");
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
    assert!(kinds.iter().all(|kind| kind.contains("mend/")), "{kinds:?}");
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
