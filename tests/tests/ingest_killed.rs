//! Bulk ingest whose worker nodes are killed again and again: every chunk has its vector, none has
//! two, and the counts are those that an independent count comes to.
//!
//! The corpus is this repository's own text; `HEADWATER_CORPUS` names a larger one (JSON lines).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use headwater_storage::retry::{Retry, RetryPolicy};
use headwater_storage::{Environment, Store};
use headwater_storage_embedded::{EmbeddedSettings, EmbeddedStore, Fsync};
use headwater_tests::cluster::{Cluster, STORE, Shape, command};
use headwater_tests::corpus::{self, Document};
use headwater_vectors::Sink;
use headwater_vectors_embedded::{EmbeddedSink, EmbeddedVectorsSettings};
use serde_json::{Value, json};

const COLLECTION: &str = "docs";
const CHUNK_TOKENS: u64 = 64;
/// Between two kills; the first comes with the first document.
const KILL_EVERY: Duration = Duration::from_secs(4);
/// A job that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(3_000);
/// So that a fast machine needs longer than one kill for this repository's text.
const TOKENS_PER_S: &str = "12000";

fn get(cluster: &Cluster, path: &str) -> Value {
    let answer = cluster.ask(STORE, "GET", path, cluster.operator(), &Value::Null).unwrap();
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// Sends the corpus and waits for the job's end, while worker nodes are killed one after the other.
fn ingest(cluster: &mut Cluster, file: &Path) -> (Value, u32) {
    let at = cluster.address(STORE).unwrap().to_string();
    let token = cluster.operator().to_owned();
    let file = file.display().to_string();
    let sender = std::thread::spawn(move || {
        let id = ["--job", "killed", "--collection", COLLECTION];
        let to = ["--at", at.as_str(), "--token", token.as_str()];
        let slow = ["--tokens-per-s", TOKENS_PER_S];
        let slow = if corpus::is_given() { &[][..] } else { &slow[..] };
        command(&[&["ingest", file.as_str()], &id[..], &to[..], slow].concat()).unwrap()
    });
    let done = Arc::new(AtomicBool::new(false));
    let (mut kills, began) = (0, Instant::now());
    let mut last: Option<Instant> = None;
    let mut job = json!({});
    let mut shown = Instant::now();
    while !done.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
        assert!(began.elapsed() < LONGEST, "the job does not end: {job}");
        let path = "/v1/ingest/jobs/killed";
        let answer = cluster.ask(STORE, "GET", path, cluster.operator(), &Value::Null).unwrap();
        job = answer.json();
        if shown.elapsed() > Duration::from_secs(5) {
            shown = Instant::now();
            println!("{:>6.1?} {kills} kills: {}", began.elapsed(), job["progress"]);
        }
        if answer.status == 200 && job["state"] == "done" {
            done.store(true, Ordering::Relaxed);
        } else if last.is_none_or(|last| last.elapsed() > KILL_EVERY)
            && job["progress"]["documents_done"].as_u64().is_some_and(|done| done > 0)
        {
            let victim = ["n2", "n3"][kills as usize % 2];
            cluster.kill_node(victim).unwrap();
            cluster.start_node(victim).unwrap();
            kills += 1;
            last = Some(Instant::now());
        }
    }
    sender.join().unwrap();
    (job, kills)
}

/// Chunks by id with the documents' own places, as the API tells them and as the texts hash.
fn count(cluster: &Cluster, documents: &BTreeMap<String, Document>) -> (u64, BTreeSet<String>) {
    let (mut total, mut distinct) = (0, BTreeSet::new());
    for (id, document) in documents {
        let path = format!("/v1/collections/{COLLECTION}/documents/{id}");
        let mut covered = vec![false; document.text.len()];
        let mut from = 0;
        loop {
            let told = get(cluster, &format!("{path}?from={from}"));
            assert_eq!(told["complete"], true, "{id} is not whole");
            let places = told["places"].as_array().unwrap();
            for place in places {
                let at = |name: &str| place[name].as_u64().unwrap() as usize;
                let text = &document.text[at("start")..at("end")];
                assert_eq!(place["chunk"], corpus::chunk_id(text), "{id} {place}");
                covered[at("start")..at("end")].fill(true);
                distinct.insert(corpus::chunk_id(text));
                total += 1;
                from = place["ordinal"].as_u64().unwrap() + 1;
            }
            if from >= told["chunks"].as_u64().unwrap() {
                break;
            }
        }
        for (at, letter) in document.text.char_indices() {
            assert!(covered[at] || letter.is_whitespace(), "{id}: byte {at} is in no chunk");
        }
    }
    (total, distinct)
}

/// The ids of all vectors in the store's file.
fn stored(file: PathBuf, space: &str) -> Vec<String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let began = Instant::now();
        let environment = Environment::new(
            move || began.elapsed().as_millis() as u64,
            |ms| Box::pin(tokio::time::sleep(Duration::from_millis(ms))),
            || 7,
        );
        let settings = EmbeddedSettings { path: file, fsync: Fsync::Always, cache_bytes: 1 << 26 };
        let store = EmbeddedStore::open(&settings, environment.clone()).unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let retry = Retry::new(store, environment, RetryPolicy::default());
        let sink = EmbeddedSink::new(retry, EmbeddedVectorsSettings::default());
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let page = sink.page(space, after, 500).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            ids.extend(page.iter().map(|record| corpus::hex(&record.id.0)));
        }
        assert_eq!(sink.count(space).await.unwrap(), ids.len() as u64);
        ids
    })
}

#[test]
fn killed_workers_lose_no_chunk_and_write_none_twice() {
    let mut shape = Shape::loopback(3).unwrap();
    shape.engine = "embedded";
    shape.model = ", replicas=1, threads=1, dtype=\"auto\"";
    // A killed worker's documents go on after this.
    shape.settings.push("ingest.hold_ms=21000".to_owned());
    let mut cluster = Cluster::start(shape).unwrap();
    let documents = corpus::documents().unwrap();
    let file = PathBuf::from(cluster.path("corpus.jsonl"));
    corpus::write(&documents, &file).unwrap();
    let model = get(&cluster, "/v1/models")["data"][0]["id"].clone();
    let body = json!({
        "name": COLLECTION,
        "model": model,
        "chunking": {"tokens": CHUNK_TOKENS},
    });
    let path = "/v1/collections";
    let answer = cluster.ask(STORE, "POST", path, cluster.operator(), &body).unwrap();
    assert!(answer.status < 300, "{}", answer.text());
    let began = Instant::now();
    let (job, kills) = ingest(&mut cluster, &file);
    let (total, distinct) = count(&cluster, &documents);
    println!(
        "{} documents, {total} chunks, {} distinct, {kills} kills, {:.0?}: {}",
        documents.len(),
        distinct.len(),
        began.elapsed(),
        job["progress"]
    );
    let progress = &job["progress"];
    assert_eq!(progress["documents_done"], json!(documents.len()));
    assert_eq!(progress["dead_letters"], 0);
    assert_eq!(progress["chunks"], json!(total));
    assert_eq!(progress["duplicates"], json!(total - distinct.len() as u64));
    let versions = get(&cluster, &format!("/v1/collections/{COLLECTION}/versions"));
    let space = versions["data"][0]["space"].as_str().unwrap().to_owned();
    let store = PathBuf::from(cluster.path("n1/store.redb"));
    for name in ["n2", "n3", STORE] {
        cluster.stop_node(name).unwrap();
    }
    let ids = stored(store, &space);
    let once: BTreeSet<String> = ids.iter().cloned().collect();
    assert_eq!(ids.len(), once.len(), "an id is there twice");
    assert_eq!(once, distinct, "the vectors are not those of the chunks");
    assert!(kills > 0, "nobody was killed");
}
