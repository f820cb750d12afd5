//! After the world has healed: every job ends, and store and sink hold exactly what the bodies
//! say.

use std::collections::{BTreeMap, BTreeSet};

use headwater_actors::collection::{Collection, CollectionError, Value};
use headwater_actors::ingest::{IngestHandle, JobKey, JobStatus, Lane, PRIORITY_MAX, Standing};
use headwater_embedding::{chunk_id, plan};
use headwater_vectors::memory::MemorySink;
use headwater_vectors::{RecordId, Sink};

use super::book::{Book, Phase};
use super::client::{COLLECTION, TENANT, chunk_settings};
use super::embedder::{vector, words};
use super::lines::Content;
use super::node::Cluster;
use super::sink::names;
use crate::world::World;

/// How often it is looked whether all jobs have ended, in ms.
const LOOK_MS: u64 = 500;
/// Most dead letters of a job.
const DEAD: usize = 1_000;

/// A text's chunks by id, in order, with the tokens of each.
fn chunks(text: &str) -> Vec<(RecordId, String, usize)> {
    let cut = plan(text, &words(text), &chunk_settings());
    let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default().to_owned();
    cut.into_iter()
        .map(|chunk| {
            let part = part(chunk.range);
            (RecordId(chunk_id(&part)), part, chunk.tokens)
        })
        .collect()
}

/// What a document should hold in the end.
enum Expected {
    Write {
        text: String,
        write: u64,
    },
    /// Its last write died or was dropped on the way: any of these texts.
    AnyOf(Vec<String>),
}

/// Waits until all jobs have ended and checks everything.
pub(super) async fn check(cluster: Cluster, book: Book, memory: MemorySink) {
    let (world, options) = (cluster.world.clone(), cluster.options.clone());
    world.sleep(options.heal_ms).await;
    world.note("the world heals");
    cluster.store.heal();
    cluster.sink.heal();
    cluster.embedder.heal();
    let handle = cluster.outside();
    let mut ended = BTreeMap::new();
    while world.now_ms() < options.end_ms - 20_000 {
        world.sleep(LOOK_MS).await;
        ended = statuses(&handle, &book).await;
        let over = |status: &JobStatus| status.job.state.ended_ms.is_some();
        if ended.len() == book.bodies().len() && ended.values().all(over) {
            break;
        }
    }
    for job in book.bodies().keys() {
        match ended.get(job) {
            Some(status) if status.job.state.ended_ms.is_some() => world.count("job ended"),
            Some(status) => {
                let seen = format!("{job} is {:?}: {:?}", status.job.state, status.counts);
                world.violated("every_job_ends", seen);
            }
            None => world.violated("every_job_ends", format_args!("{job} is not there")),
        }
    }
    // The last requests of those that died arrive.
    world.sleep(options.settings.hold.late_ms).await;
    let check = Check { world: world.clone(), handle, book, memory };
    for (job, status) in &ended {
        check.counts(job, status);
        check.letters(job, status).await;
    }
    if options.plain {
        check.duplicates(&ended, options.versions);
    }
    check.contents().await;
    world.count("everything checked");
    // The workers look for work for ever.
    cluster.close();
}

async fn statuses(handle: &IngestHandle, book: &Book) -> BTreeMap<String, JobStatus> {
    let mut statuses = BTreeMap::new();
    for id in book.bodies().into_keys() {
        let key = JobKey { tenant: TENANT.to_owned(), id: id.clone() };
        if let Ok(status) = handle.status(&key).await {
            statuses.insert(id, status);
        }
    }
    statuses
}

struct Check {
    world: World,
    handle: IngestHandle,
    book: Book,
    memory: MemorySink,
}

impl Check {
    /// What the job counted is what the witness saw and the bodies say.
    fn counts(&self, job: &str, status: &JobStatus) {
        let bodies = self.book.bodies();
        let Some(body) = bodies.get(job) else { return };
        let came_in = body.iter().take(status.received.lines as usize);
        let good = came_in.clone().filter(|line| matches!(line, Content::Document { .. }));
        let bad = came_in.filter(|line| matches!(line, Content::Bad(_)));
        let of_job = self.book.lines();
        let of_job: Vec<_> = of_job.iter().filter(|((name, _), _)| name == job).collect();
        let phases =
            |phase: Phase| of_job.iter().filter(|(_, line)| line.phase == phase).count() as u64;
        let (mut cut, mut tokens) = (0, 0);
        for ((_, number), line) in &of_job {
            let content = body.get((*number as usize).wrapping_sub(1));
            let Some(Content::Document { text, .. }) = content else { continue };
            if line.phase == Phase::Done {
                let chunks = chunks(text);
                cut += chunks.len() as u64;
                tokens += chunks.iter().map(|(.., tokens)| *tokens as u64).sum::<u64>();
            }
        }
        let counts = &status.counts;
        let skipped = counts.get(Lane::Superseded) + counts.get(Lane::Dropped);
        for (what, counted, seen) in [
            ("staged", counts.get(Lane::Staged), good.count() as u64),
            ("staged by commits", counts.get(Lane::Staged), of_job.len() as u64),
            ("bad lines", counts.get(Lane::BadLines), bad.count() as u64),
            ("documents", counts.get(Lane::Documents), phases(Phase::Done)),
            ("dead", counts.dead(), phases(Phase::Dead)),
            ("skipped", skipped, phases(Phase::Skipped)),
            ("waiting", counts.waiting(), phases(Phase::Waits) + phases(Phase::Begun)),
            ("waiting bytes", counts.waiting_bytes(), 0),
            ("chunks", counts.get(Lane::Chunks), cut),
            ("tokens", counts.get(Lane::Tokens), tokens),
            (
                "revived",
                counts.get(Lane::Revived),
                of_job.iter().map(|(_, line)| line.revived).sum(),
            ),
        ] {
            if counted != seen {
                let text = format!("{job} counted {counted} {what}, there are {seen}");
                self.world.violated("counters_match_an_independent_count", text);
            }
        }
        if counts.get(Lane::Superseded) > 0 {
            self.world.count("document superseded");
        }
        if counts.get(Lane::Dropped) > 0 {
            self.world.count("document dropped");
        }
        if status.job.state.cancelled && status.job.state.standing() == Standing::Cancelled {
            self.world.count("job cancelled and ended");
        }
        if status.job.spec.priority > PRIORITY_MAX {
            self.world.violated("every_row_can_be_read", "a priority");
        }
    }

    /// Each bad line and dead document has a letter that tells why.
    async fn letters(&self, job: &str, status: &JobStatus) {
        let key = &status.job.key;
        let letters = match self.handle.dead_letters(key, None, DEAD).await {
            Ok(letters) => letters,
            Err(error) => return self.world.violated("every_row_can_be_read", error),
        };
        let bodies = self.book.bodies();
        let lines = self.book.lines();
        let mut told = BTreeSet::new();
        for letter in &letters {
            told.insert(letter.line);
            let content =
                bodies.get(job).and_then(|body| body.get((letter.line as usize).wrapping_sub(1)));
            let phase = lines.get(&(job.to_owned(), letter.line)).map(|line| line.phase);
            let fits = match content {
                Some(Content::Bad(field)) => letter.field.as_deref() == *field,
                Some(Content::Document { id, .. }) => {
                    letter.document.as_ref() == Some(id)
                        && letter.attempts > 0
                        && phase == Some(Phase::Dead)
                }
                Some(Content::Blank) | None => false,
            };
            if !fits || letter.reason.is_empty() {
                let seen = format!("{job}: {letter:?} for {content:?}");
                self.world.violated("a_dead_letter_names_its_reason", seen);
            }
        }
        for ((name, number), line) in &lines {
            if name == job && line.phase == Phase::Dead && !told.contains(number) {
                let seen = format!("line {number} of {job} died without a letter");
                self.world.violated("a_dead_letter_names_its_reason", seen);
            }
        }
    }

    /// Each text has one owner: all other places of it are duplicates, over all jobs.
    fn duplicates(&self, statuses: &BTreeMap<String, JobStatus>, versions: u64) {
        let (bodies, lines) = (self.book.bodies(), self.book.lines());
        if lines.values().any(|line| line.phase != Phase::Done) {
            return;
        }
        let mut texts = BTreeSet::new();
        let mut places = 0;
        for content in bodies.values().flatten() {
            let Content::Document { text, .. } = content else { continue };
            for (id, ..) in chunks(text) {
                places += 1;
                texts.insert(id);
            }
        }
        let sum = |lane| statuses.values().map(|status| status.counts.get(lane)).sum::<u64>();
        let different = texts.len() as u64;
        for (what, counted, seen) in [
            ("duplicates", sum(Lane::Duplicates), places - different),
            ("vectors", sum(Lane::Vectors), different * versions),
        ] {
            if counted != seen {
                let text = format!("{counted} {what} were counted, there are {seen}");
                self.world.violated("counters_match_an_independent_count", text);
            }
        }
        self.world.count("duplicates counted by hand");
    }

    fn expected(&self) -> BTreeMap<String, Expected> {
        let bodies = self.book.bodies();
        let mut writes: BTreeMap<String, Vec<(u64, Phase, u64, String)>> = BTreeMap::new();
        for ((job, number), line) in self.book.lines() {
            let content =
                bodies.get(&job).and_then(|body| body.get((number as usize).wrapping_sub(1)));
            let Some(Content::Document { id, text, write }) = content else { continue };
            if line.began {
                let write = (line.order, line.phase, *write, text.clone());
                writes.entry(id.clone()).or_default().push(write);
            }
        }
        let expected = writes.into_iter().map(|(id, mut writes)| {
            writes.sort_by_key(|(order, ..)| *order);
            let expected = match writes.last() {
                Some((_, Phase::Done, write, text)) => {
                    Expected::Write { text: text.clone(), write: *write }
                }
                _ => Expected::AnyOf(writes.into_iter().map(|(.., text)| text).collect()),
            };
            (id, expected)
        });
        expected.collect()
    }

    /// Documents are what their last write says, their vectors are all there, and no others.
    async fn contents(&self) {
        let collections = self.handle.collections();
        let collection = match collections.get(TENANT, COLLECTION).await {
            Ok(collection) => collection,
            Err(error) => return self.world.violated("every_row_can_be_read", error),
        };
        let mut allowed: BTreeMap<RecordId, String> = BTreeMap::new();
        let mut must: BTreeSet<RecordId> = BTreeSet::new();
        for (id, expected) in self.expected() {
            match expected {
                Expected::Write { text, write } => {
                    self.document(&id, write, chunks(&text).len()).await;
                    for (chunk, part, _) in chunks(&text) {
                        must.insert(chunk);
                        allowed.insert(chunk, part);
                    }
                }
                Expected::AnyOf(texts) => {
                    let all = texts.iter().flat_map(|text| chunks(text));
                    allowed.extend(all.map(|(chunk, part, _)| (chunk, part)));
                }
            }
        }
        self.vectors(&collection, &allowed, &must).await;
    }

    async fn document(&self, id: &str, write: u64, places: usize) {
        let collections = self.handle.collections();
        match collections.document(TENANT, COLLECTION, id).await {
            Ok(found) => {
                let last = found.fields.get("write") == Some(&Value::Number(write as f64));
                if !last || !found.complete || found.chunks as usize != places {
                    let seen = format!("{found:?}, the last write is {write}, {places} chunks");
                    self.world.violated("the_latest_write_of_a_document_stands", seen);
                }
            }
            Err(CollectionError::NoDocument { .. }) => {
                self.world.violated("no_document_is_lost", format_args!("{id}, write {write}"));
            }
            Err(error) => self.world.violated("every_row_can_be_read", error),
        }
    }

    async fn vectors(
        &self,
        collection: &Collection,
        allowed: &BTreeMap<RecordId, String>,
        must: &BTreeSet<RecordId>,
    ) {
        for target in collection.targets() {
            let records = self.memory.page(&target.space.name, None, usize::MAX).await;
            let records = records.unwrap_or_default();
            let mut found = BTreeSet::new();
            for record in records {
                if !found.insert(record.id) {
                    let seen = format!("{:?} in {}", record.id, target.space.name);
                    self.world.violated("one_vector_per_chunk_and_version", seen);
                }
                let Some(part) = allowed.get(&record.id) else {
                    let (chunk, source) = (names(&[record.id]), &record.source);
                    let seen = format!("{chunk} of {source} in {}", target.space.name);
                    self.world.violated("no_foreign_vectors", seen);
                    continue;
                };
                let is_right = record.version == target.version
                    && record.vector == vector(&target.version, part);
                if !is_right {
                    let seen = format!("{record:?} of '{part}' in {}", target.space.name);
                    self.world.violated("a_vector_is_of_its_text_and_version", seen);
                }
            }
            for missing in must.difference(&found) {
                let part = allowed.get(missing).map_or("", String::as_str);
                let seen = format!("'{part}' has no vector in {}", target.space.name);
                self.world.violated("every_acknowledged_document_has_its_vectors", seen);
            }
        }
    }
}
